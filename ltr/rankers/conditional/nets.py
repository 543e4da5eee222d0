"""Nets that score for a preference: one net, every trade-off between the objectives.

    forward(features [batch, list, feature], where [batch, list], preferences [preference, objective])
        -> scores float32 [batch, preference, list]

Preferences may also differ from list to list, `[batch, preference, objective]`. Where w enters is a setting
(`ConditioningConfig`); whatever lies before that place is computed once for all K preferences of a list:

    head      everything but K dot products a document
    mixture   everything but K weighted sums of m numbers a document; "outputs" likewise
    film      the first layer, or all up to the end of the first block; with only = "last", all up to the activation of
              the last hidden layer, or all blocks
    concat    the first product, which is most of an MLP on 136 features
    prompt    the projection of the documents; with only = "last", all blocks but one, and the documents' part of its
              attention
    readout   everything but K products a document and K x R tokens a list (steering.py)
    prefix    the documents' part of the first block's attention; with only = "last", of the last one, and all before it

`forward` is for training and for few preferences. `score_many` (many_preferences.py) needs no gradients, and takes
what comes from w into the weights wherever a product can do its work.

"mixture" and "outputs" have w in their output, by a formula. Into all others w goes as m w - 1, which is 0 in the
middle of the simplex.
What comes from w starts at 0 in "film", "head", "prefix" and "readout" (the net is then the same for every w, and
learns where it must differ), and in "concat" where the net starts from a reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ltr import ops
from ltr.errors import InputError
from ltr.rankers.nets import MLP, Linear, ListTransformer, attention_mask, build

from .config import STEERING, ConditioningConfig
from .many_preferences import score_many
from .steering import PreferenceMap, Steering
from .tensors import asked, output

__all__ = ["AT_THE_END", "DOCUMENTS_ONCE", "Conditioned", "PreferenceMap", "mixture"]

_FORMULA = ("mixture", "outputs")  # kinds with an output an objective, which w weighs
AT_THE_END = ("none", "head", *_FORMULA)  # kinds in which w meets the net after its last hidden layer
DOCUMENTS_ONCE = (*AT_THE_END, "readout")  # kinds that send the documents through the net once for all preferences


def mixture(scores: Tensor, where: Tensor, preferences: Tensor) -> Tensor:
    """log n sum_k w_k p^k, p^k the softmax of the k-th scores over a list of n: `[batch, preference, list]`, pads 0.

    The factor n makes it 0 where all p^k are uniform.

    Args:
        scores: `[batch, objective, list]`.
        where: `[batch, list]`.
        preferences: `[batch or 1, preference, objective]`.

    >>> s = torch.tensor([[[2.0, 0.0, 0.0], [0.0, 0.0, 2.0]]])
    >>> mixture(s, torch.ones(1, 3, dtype=torch.bool), torch.tensor([[[1.0, 0.0], [0.5, 0.5]]])).round(decimals=2)
    tensor([[[ 0.8600, -1.1400, -1.1400],
             [ 0.2900, -1.1400,  0.2900]]])
    """
    mask, n = where.unsqueeze(1), where.sum(-1).clamp(min=1).to(scores)
    apart = ops.log_softmax(scores, mask.expand_as(scores)) + n.log()[:, None, None]
    log_w = preferences.log()
    mixed = torch.logsumexp(log_w.unsqueeze(-1) + apart.unsqueeze(1), -2) - torch.logsumexp(log_w, -1).unsqueeze(-1)
    return mixed.masked_fill(~mask, 0.0)


class Conditioned(nn.Module):
    """A net of `nets.py` and the map from preferences to what they change in it.

    Args:
        net: config of the net: linear, mlp or transformer.
        conditioning: where w enters, and how the net starts.
        n_features, n_objectives: sizes of the inputs.
        scale: the net's output is multiplied by it; 1 / beta makes it learn implicit rewards in their own units.

    Raises:
        InputError: a net that cannot be conditioned this way.
    """

    net: Any  # a Linear, MLP or ListTransformer; `listwise` says whether it is the last

    def __init__(self, net, conditioning: ConditioningConfig, n_features: int, n_objectives: int, scale: float = 1.0):
        super().__init__()
        self.config, self.n_objectives, self.scale = conditioning, n_objectives, scale
        made = build(net, n_features)
        self.net = made
        name = type(net).__name__.removesuffix("Config").lower()
        if not isinstance(made, Linear | MLP | ListTransformer):
            raise InputError(f"a {name} net cannot be conditioned", expected="linear, mlp or transformer")
        self.listwise = isinstance(made, ListTransformer)
        if getattr(net, "induced", None) is not None and conditioning.kind in ("prompt", *STEERING):
            raise InputError(
                f"{conditioning.kind} steers by attention between documents, and these meet through points only",
                do="Leave induced out, or take another conditioning.",
            )
        inputs, kind = conditioning.n_inputs(n_objectives), conditioning.kind
        make = lambda outputs, silent: PreferenceMap(inputs, conditioning.hidden, outputs, silent)  # noqa: E731
        layers: Any = self.net.blocks if self.listwise else getattr(getattr(self.net, "tower", None), "linears", ())
        self.entry = max(len(layers) - 1, 0) if conditioning.only == "last" else 0  # the layer or block w enters first
        self.widths = self._film_widths()[self.entry :] if kind == "film" else ()
        if kind == "concat":
            first = self._first_width()
            if first is None:
                raise InputError(
                    f"concat cannot condition a {name} net without hidden layers: w would add the same to every score",
                    do="Take film or head.",
                )
            self.shift = nn.Linear(inputs, first, bias=False)
        elif kind == "film":
            self.film = make(2 * sum(self.widths), True)
        elif kind == "prompt":
            if not isinstance(made, ListTransformer):
                raise InputError(
                    f"prompts stand among the documents of a list, and a {name} net sees one document at a time",
                    do="Take a transformer, or another conditioning.",
                )
            self.prompt = make(conditioning.prompts * made.project.out_features, False)
        elif kind in STEERING:
            if not isinstance(made, ListTransformer):
                raise InputError(
                    f"{kind} steers by attention over a list, and a {name} net sees one document at a time",
                    do="Take a transformer, or head, which meets the last hidden layer of any net.",
                )
            if kind == "prefix" and not len(made.blocks):
                raise InputError("prefix steers attention blocks, and this transformer has none", do="Take readout.")
            pairs = conditioning.n_pairs if kind == "prefix" else 0
            self.steering = Steering(made, inputs, conditioning.hidden, conditioning.prompts, pairs, self.entry)
        elif kind == "head":
            self.head = make(self.net.head.linear.in_features, True)
        elif kind in _FORMULA:
            self.corners = nn.Linear(self.net.head.linear.in_features, n_objectives)
            nn.init.zeros_(self.corners.weight)
            nn.init.zeros_(self.corners.bias)
        self._silence()

    # ------------------------------------------------------------------------------------------------------ scoring

    def forward(
        self,
        features: Tensor,
        where: Tensor,
        preferences: Tensor,
        *,
        beta: Tensor | None = None,
        reference: Tensor | None = None,
    ) -> Tensor:
        """Scores float32 `[batch, preference, list]`, pads 0.

        Args:
            features: `[batch, list, feature]`.
            where: `[batch, list]`.
            preferences: `[preference, objective]` or `[batch, preference, objective]`.
            beta: `[preference]` or `[batch, preference]`, for a net with `temperature`; with one an objective,
                `[preference, objective]` or `[batch, preference, objective]`.
            reference: `[batch, list]` s_ref, for a net that is augmented.
        """
        shared = self.shared(features, where)
        w = self._inputs(shared, preferences, beta)
        scores = self._score(shared, where, w)
        if scores.shape[1] != w.shape[1]:
            scores = scores.expand(-1, w.shape[1], -1)
        return output(scores, where, self.scale, self.config.start == "augmented", reference)

    @torch.no_grad()
    def score_many(
        self,
        features: Tensor,
        where: Tensor,
        preferences: Tensor,
        *,
        beta: Tensor | None = None,
        reference: Tensor | None = None,
    ) -> Tensor:
        """The scores of `forward` for `[preference, objective]`, float32 `[preference, document]` without the pads.

        Without gradients, for a net in evaluation mode; documents in the order of `features[where]`.
        """
        if preferences.dim() != 2:
            raise InputError("many preferences are the same for all lists", came=tuple(preferences.shape))
        shared = self.shared(features, where)
        scores = score_many(self, shared, where, self._inputs(shared, preferences, beta)[0])
        if self.scale != 1.0:
            scores *= self.scale
        return scores if self.config.start != "augmented" else scores.add_(asked(reference)[where])

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Takes over the weights of a net of the same config; what comes from w, and an augmented head, start at 0."""
        self.net.load_state_dict(weights)
        if self.config.kind == "concat":
            nn.init.zeros_(self.shift.weight)
        self._silence()

    def _silence(self) -> None:
        if self.config.start == "augmented":
            nn.init.zeros_(self.net.head.linear.weight)
            nn.init.zeros_(self.net.head.linear.bias)
        if self.config.frozen:
            for name, parameter in self.net.named_parameters():
                parameter.requires_grad_(name.startswith("head.") and self.config.kind not in STEERING)

    def _inputs(self, like: Tensor, preferences: Tensor, beta: Tensor | None) -> Tensor:
        """`[batch or 1, preference, input]`."""
        m = self.n_objectives
        w = preferences if preferences.dim() == 3 else preferences.unsqueeze(0)
        if w.dim() != 3 or w.shape[-1] != m or w.shape[0] not in (1, like.shape[0]):
            expected = f"[preference, {m}] or [{like.shape[0]}, preference, {m}]"
            raise InputError("preferences do not fit the batch", expected=expected, came=tuple(preferences.shape))
        if self.config.temperature != (beta is not None):
            raise InputError("beta is given to a net that is conditioned on the temperature, and to no other")
        # In a formula w stays what it is.
        w = w.float() if self.config.kind in _FORMULA else m * w.to(like) - 1
        if beta is None:
            return w
        told, shape = (1, ()) if self.config.temperature_by is None else (m, (m,))
        given, beta = tuple(beta.shape), beta if beta.dim() == 2 + len(shape) else beta.unsqueeze(0)
        if beta.shape[1:] != (w.shape[1], *shape) or beta.shape[0] not in (1, like.shape[0]):
            each = f"beta is one a preference{' and objective' if shape else ''}"
            raise InputError(each, expected=(*w.shape[:2], *shape), came=given)
        beta, lists = beta.to(w).log().view(len(beta), -1, told), max(len(w), len(beta))
        return torch.cat([w.expand(lists, -1, -1), beta.expand(lists, -1, -1)], -1)

    # ---------------------------------------------------------------------------------- before and after w has entered

    def shared(self, features: Tensor, where: Tensor) -> Tensor:
        """All that lies before the place where w enters, `[batch, 1, list, width]`."""
        kind, net, mask = self.config.kind, self.net, where.unsqueeze(1)
        x = net.inputs(features).unsqueeze(1)
        if isinstance(net, Linear):
            return x
        if not self.listwise:
            if kind in AT_THE_END:
                return net.tower(x, mask)
            for i in range(self.entry):
                x = net.tower.leave(net.tower.layer(i, x, mask))
            return net.tower.layer(self.entry, x, mask) if len(net.tower.linears) else x
        if kind == "concat" and len(net.tower.linears):
            return net.tower.layer(0, x, mask)
        x = net.project(net.tower(x, mask))
        first = {"film": self.entry + 1, "prompt": self.entry, "concat": 0, **dict.fromkeys(STEERING, 0)}
        before = first.get(kind, len(net.blocks))
        for block in net.blocks[:before]:
            x = self._through(block, x, mask)
        return net.norm(x) if kind in AT_THE_END else x

    def _score(self, x: Tensor, where: Tensor, w: Tensor) -> Tensor:
        kind, net, mask = self.config.kind, self.net, where.unsqueeze(1)
        if kind == "head":
            with torch.autocast(x.device.type, enabled=False):
                h = x.squeeze(1).float()
                scores = net.head.linear(h).mT + self.head(w.float()) @ h.mT
                return net.head.bound(scores).masked_fill(~mask, 0.0)
        if kind in _FORMULA:
            return self._mixed(x.squeeze(1), where, w)
        if kind in STEERING:
            return self.steering(net, x, where, w)
        if kind == "concat":
            x = self._concatenated(x, mask, self.shift(w).unsqueeze(-2))
        elif kind == "film":
            changes = self.film(w).unsqueeze(-2).split([2 * width for width in self.widths], -1)
            x = self._modulated(x, mask, [each.chunk(2, -1) for each in changes])
        elif kind == "prompt":
            x = self._prompted(x, mask, self.prompt(w).unflatten(-1, (self.config.prompts, -1)))
        return net.head(x, mask)

    def _mixed(self, h: Tensor, where: Tensor, w: Tensor) -> Tensor:
        """From what lies before the last layer, `[batch, list, width]`."""
        with torch.autocast(h.device.type, enabled=False):
            h, m = h.float(), self.n_objectives
            scores = self.net.head.bound(self.net.head.linear(h) + self.corners(h)).mT
            if self.config.kind == "outputs":
                return (w @ scores).masked_fill(~where.unsqueeze(1), 0.0)
            mixed = mixture(scores, where, w[..., :m])
            # Told beta, it knows what to do with it: the scaling law.
            return mixed / w[..., m:].exp() if self.config.temperature else mixed

    # What follows takes what comes from w as [batch or 1, preference, 1 (or prompt), width].

    def _concatenated(self, z: Tensor, mask: Tensor, shift: Tensor) -> Tensor:
        net, z = self.net, z + shift
        if len(net.tower.linears):
            z = net.tower.leave(z)
            for i in range(1, len(net.tower.linears)):
                z = net.tower.leave(net.tower.layer(i, z, mask))
            z = net.project(z) if self.listwise else z
        if not self.listwise:
            return z
        for block in net.blocks:
            z = self._through(block, z, mask)
        return net.norm(z)

    def _modulated(self, z: Tensor, mask: Tensor, film: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        def modulate(i: int, z: Tensor) -> Tensor:
            gamma, delta = film[i - self.entry]
            return torch.addcmul(delta, z, 1 + gamma)

        net, later = self.net, self.entry + 1
        z = modulate(self.entry, z)
        if self.listwise:
            for i, block in enumerate(net.blocks[later:], later):
                z = modulate(i, self._through(block, z, mask))
            return net.norm(z)
        if isinstance(net, Linear) or len(net.tower.linears) == 0:
            return z
        z = net.tower.leave(z)
        for i in range(later, len(net.tower.linears)):
            z = net.tower.leave(modulate(i, net.tower.layer(i, z, mask)))
        return z

    def _prompted(self, x: Tensor, mask: Tensor, prompts: Tensor) -> Tensor:
        net, n = self.net, prompts.shape[-2]
        prompts = prompts.to(x.dtype).expand(x.shape[0], -1, -1, -1)
        x = torch.cat([prompts, x.expand(-1, prompts.shape[1], -1, -1)], -2)
        mask = torch.cat([mask.new_ones(*mask.shape[:-1], n), mask], -1)
        for block in net.blocks[self.entry :]:
            x = self._through(block, x, mask)
        return net.norm(x[..., n:, :])

    @staticmethod
    def _through(block: nn.Module, x: Tensor, mask: Tensor) -> Tensor:
        """A block of the transformer on lists `[batch, preference, list, width]`."""
        keys = attention_mask(mask.expand(x.shape[:-1]).flatten(0, 1))
        return block(x.flatten(0, 1), keys).unflatten(0, x.shape[:2])

    def _first_width(self) -> int | None:
        if isinstance(self.net, Linear):
            return None
        linears = self.net.tower.linears
        if len(linears):
            return linears[0].out_features
        return self.net.project.out_features if self.listwise else None

    def _film_widths(self) -> tuple[int, ...]:
        if self.listwise:
            return (self.net.project.out_features,) * max(len(self.net.blocks), 1)
        linears = () if isinstance(self.net, Linear) else self.net.tower.linears
        return tuple(each.out_features for each in linears) or (self.net.head.linear.in_features,)
