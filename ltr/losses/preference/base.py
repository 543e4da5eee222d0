"""Preference losses: a loss on how far scores have moved from those of a frozen reference scorer.

    u = beta (s - s_ref) - margins        the implicit reward of a document: Rafailov et al., NeurIPS 2023 (DPO)

A constant added to a list cancels in all of them, so the scores of rankers stand where language models have
log-probabilities. A preference loss sees theta through u alone: at s = s_ref it knows nothing, and scores that are best
at beta are, at c beta, best with their distance to s_ref divided by c. Its signature is that of a loss and three names:

    f(scores, labels, where=None, *, reference=None, margins=None, weights=None, generator=None, beta=1.0, **params)

    reference   [..., list]  s_ref, a constant; None: 0, the loss without a reference
    margins     [..., list]  rewards already spoken for (MODPO, SPO), constants; None: 0
    beta        > 0, a number or one `[...]` a list, a constant: how dear it is to leave the reference. Language models,
                whose scores are sums over tokens, use .1; the scores of a ranker are logits, hence 1

A loss writes `f(u, labels, where, weights, **params)`: the entry has made u and prepared the lists as that of `LOSSES`
does. To those that name them it passes `generator`, `beta` as it was given, `scores` `[..., list]`, and `reference`
`[..., list]` or None; u is then without it.

Every loss of `LOSSES` has such a form: its own value on u, under the name NAME-dpo, here or by `dpo(loss)`. So the list
losses of the literature need no second copy; the families beside this one register what is new mathematics.

    ListNet-DPO (HyperDPO, 2410.08316; lambda-DPO, 2506.19780)   listnet-dpo, target "lin" for targets given as labels
    PL-DPO (HyperDPO's Plackett-Luce form; OPO's list_mle)       listmle-dpo, normalise="none"
    OPO family (2410.04346)                                      any smooth measure of the catalogue, NAME-dpo
    LiPO-lambda (2402.01878)                                     lipo: lambdarank on u, mean over pairs
    hinge on u (SLiC, OPO's hinge)                               hinge-dpo
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ltr import ops
from ltr.catalogue import Catalogue, Entry
from ltr.errors import InputError, unknown_name
from ltr.losses.base import (
    LOSSES,
    BoundLoss,
    ListLoss,
    Loss,
    check_choices,
    choices_of,
    documented,
    own_parameters,
    signed,
)

__all__ = ["PREFERENCE_LOSSES", "PreferenceLoss", "dpo", "implicit_rewards", "preference_loss", "preference_losses"]

_FAMILIES = ("dpo", "modpo", "hpo", "mallows", "spo", "mrpo")
_ONLY_IF_NAMED = ("generator", "beta", "scores", "reference")


class PreferenceCatalogue(Catalogue):
    """Preference losses, each behind the entry that makes u."""

    def register_rewards(self, name: str, **facts: Any) -> Callable[[ListLoss], ListLoss]:
        """`register` for a loss that is written as a function of u; returns it as everybody calls it."""
        keep = self.register(name, **facts)

        def made(body: ListLoss) -> ListLoss:
            kept: ListLoss = keep(_prepared(body))
            more = ".\n    reference, margins, beta: see `ltr.losses.preference.base`"
            kept.__doc__ = documented(body, facts["needs"], more)
            return kept

        return made


PREFERENCE_LOSSES = PreferenceCatalogue(
    "preference loss",
    [f"ltr.losses.preference.{family}" for family in _FAMILIES],
    shared=(*LOSSES.shared, "reference", "margins"),
)
_SUFFIX = "-dpo"
# True of s because true of u; a bound is one on the ranking by u.
_KEPT = ("needs", "shift_invariant", "convex", "ordinal", "stochastic", "surrogate", "wraps", "memory")


def per_list(value: float | Tensor, like: Tensor, name: str) -> float | Tensor:
    """A number above 0, or one `[...]` a list, detached and ready to multiply `like` `[..., list]`."""
    value = value.detach() if isinstance(value, Tensor) else value
    if isinstance(value, Tensor) and value.ndim:
        try:
            fits = torch.broadcast_shapes(value.shape, like.shape[:-1]) == like.shape[:-1]  # type: ignore[no-untyped-call]
        except RuntimeError:
            fits = False
        if not fits:
            expected = f"a number or one a list, [...] = {tuple(like.shape[:-1])}"
            raise InputError(f"{name} does not fit the lists", expected=expected, came=tuple(value.shape))
        value = value.to(like.dtype).unsqueeze(-1)
    on_host = not isinstance(value, Tensor) or value.device.type == "cpu"  # on a GPU a look would wait for the device
    if on_host and not bool((torch.as_tensor(value) > 0).all()):
        raise InputError(f"{name} must be above 0", came=value if not isinstance(value, Tensor) else value.tolist())
    return value


def one_each(value: float | Tensor, like: Tensor, name: str) -> float | Tensor:
    """As `per_list`, ready to multiply values `[...]` of the lists `like` `[..., list]`."""
    value = per_list(value, like, name)
    return value.squeeze(-1) if isinstance(value, Tensor) and value.ndim else value


def constant(tensor: Tensor, like: Tensor, where: Tensor, name: str) -> Tensor:
    """`tensor` `[..., list]` checked, detached, in the type of `like`, pads 0."""
    if tensor.shape != like.shape:
        expected = f"[..., list] = {tuple(like.shape)} as scores"
        raise InputError(f"{name} and scores differ in shape", expected=expected, came=tuple(tensor.shape))
    return tensor.detach().to(like.dtype).masked_fill(~where, 0.0)


def implicit_rewards(
    scores: Tensor,
    reference: Tensor | None = None,
    where: Tensor | None = None,
    *,
    beta: float | Tensor = 1.0,
    margins: Tensor | None = None,
) -> Tensor:
    """u = beta (s - s_ref) - margins, `[..., list]`, pads 0; the gradient flows through the scores only.

    >>> s, s_ref = torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([0.5, 0.5, 1.0, 0.0])
    >>> implicit_rewards(s, s_ref, beta=2.0)
    tensor([ 1.4000, -0.2000,  1.8000, -0.6000])
    """
    shape = scores.shape
    scores, _, where_, _ = ops.lists(scores, torch.zeros_like(scores), where)
    if shape[-1] == 0:
        return scores[..., :0]
    u = scores
    if reference is not None:
        u = u - constant(reference, scores, where_, "reference")
    u = per_list(beta, scores, "beta") * u
    if margins is not None:
        u = u - constant(margins, scores, where_, "margins")
    return u


@dataclass(frozen=True, repr=False)
class PreferenceLoss(BoundLoss):
    """A preference loss with its parameters bound; `preference_loss(name, **params)` makes one.

    `name` stands in `PREFERENCE_LOSSES`, or is NAME-dpo with NAME in `LOSSES`.
    """

    @property
    def entry(self) -> Entry:
        return preference_entry(self.name)

    def __call__(
        self,
        scores: Tensor,
        labels: Tensor,
        where: Tensor | None = None,
        *,
        reference: Tensor | None = None,
        margins: Tensor | None = None,
        weights: Tensor | None = None,
        generator: torch.Generator | None = None,
        **tensors: Any,
    ) -> Tensor:
        """One value a list, `[...]`. `tensors`: parameters that change from batch to batch (beta, dispersion, ...)."""
        options = {"reference": reference, "margins": margins, "weights": weights, "generator": generator}
        values: Tensor = self.entry.function(scores, labels, where, **options, **{**self.params, **tensors})
        return values


def preference_losses() -> list[str]:
    """Every name `preference_loss` knows: what is registered here, then the losses of the catalogue on u."""
    return [*PREFERENCE_LOSSES.names(), *(n + _SUFFIX for n in LOSSES.names() if n + _SUFFIX not in PREFERENCE_LOSSES)]


def preference_entry(name: str) -> Entry:
    if name in PREFERENCE_LOSSES:
        return PREFERENCE_LOSSES[name]
    base = name.removesuffix(_SUFFIX)
    if base == name or base not in LOSSES:
        raise unknown_name("preference loss", name, preference_losses())
    return _on_rewards(base, LOSSES[base].function)


@functools.cache
def _on_rewards(name: str, _: ListLoss) -> Entry:
    """A loss of scores as a loss of implicit rewards; made anew where a user's function has taken over the name."""
    base = LOSSES[name]

    def function(
        scores: Tensor,
        labels: Tensor,
        where: Tensor | None = None,
        *,
        reference: Tensor | None = None,
        margins: Tensor | None = None,
        weights: Tensor | None = None,
        generator: torch.Generator | None = None,
        beta: float | Tensor = 1.0,
        **params: Any,
    ) -> Tensor:
        u = implicit_rewards(scores, reference, where, beta=beta, margins=margins)
        value: Tensor = base.function(u, labels, where, weights=weights, generator=generator, **params)
        return value

    claims = {k: v for k, v in base.claims.items() if k in _KEPT}
    formula = f"{base.formula}; s replaced by u = beta (s - s_ref) - margins"
    kind, shared = PREFERENCE_LOSSES.kind, PREFERENCE_LOSSES.shared
    made = signed(function, base.function, base.parameters)
    return Entry(base.name + _SUFFIX, made, formula, base.source, claims, kind, shared)


def _prepared(body: ListLoss) -> ListLoss:
    """What a preference loss writes, as what everybody calls."""
    own = own_parameters(body, ("u", "labels", "where", "weights", *_ONLY_IF_NAMED))
    named = [key for key in _ONLY_IF_NAMED if key in inspect.signature(body).parameters]
    known: dict[str, tuple[str, ...]] = {}

    def entry(
        scores: Tensor,
        labels: Tensor,
        where: Tensor | None = None,
        *,
        reference: Tensor | None = None,
        margins: Tensor | None = None,
        weights: Tensor | None = None,
        generator: torch.Generator | None = None,
        beta: float | Tensor = 1.0,
        **params: Any,
    ) -> Tensor:
        check_choices(params, known)
        apart = "reference" in named
        u = implicit_rewards(scores, None if apart else reference, where, beta=beta, margins=margins)
        given: dict[str, Any] = {"generator": generator, "beta": beta}
        if "scores" in named:
            given["scores"] = ops.lists(scores, labels, where)[0]
        u, labels, where, weights = ops.lists(u, labels, where, weights)
        if apart:
            given["reference"] = None
            if reference is not None and reference.shape[-1]:
                given["reference"] = constant(reference, u, where, "reference")
        return body(u, labels, where, weights, **{key: given[key] for key in named}, **params)

    made = signed(entry, body, own)
    known |= choices_of(made)
    return made


def preference_loss(name: str, **params: Any) -> PreferenceLoss:
    """The preference loss of that name with these parameters; any loss of `LOSSES` answers to NAME-dpo.

    Raises:
        InputError: unknown name, unknown parameter (the near miss is named), or a value the loss refuses.

    >>> s, y = torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2])
    >>> s_ref = torch.tensor([0.5, 0.5, 1.0, 0.0])
    >>> preference_loss("listnet-dpo", beta=2.0, target="lin")(s, y, reference=s_ref)
    tensor(2.5066)
    >>> preference_loss("listmle-dpo", beta=2.0, normalise="none")(s, y, reference=s_ref)
    tensor(6.5189)
    """
    bound = PreferenceLoss(name, preference_entry(name).bind(params))
    # A list of two documents goes through once, so that a wrong value fails here and not an hour later.
    if not any(isinstance(value, Tensor) for value in params.values()):
        try:
            bound(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0]))
        except (TypeError, RuntimeError) as problem:
            raise InputError(
                f"preference loss {name!r} does not take these parameters: {problem}", came=params
            ) from problem
    return bound


def dpo(loss: str | Loss, beta: float | Tensor = 1.0, **params: Any) -> PreferenceLoss:
    """Turns a loss of the catalogue into its form with a reference: the same function of beta (s - s_ref) - margins.

    Args:
        loss: a name in `LOSSES`, or a loss with its parameters; a name in `PREFERENCE_LOSSES` is that loss itself.
        beta: > 0; a number or `[...]`, one a list.
        params: of the loss; they come before those it carries.

    >>> dpo("listnet", beta=2.0, target="lin")
    listnet-dpo(beta=2.0, target='lin')
    """
    name, bound = (loss.name, loss.params) if isinstance(loss, Loss) else (loss, {})
    own = name in PREFERENCE_LOSSES
    if not own and name not in LOSSES:
        raise unknown_name("loss", name, [*LOSSES.names(), *PREFERENCE_LOSSES.names()])
    return preference_loss(name if own else name + _SUFFIX, **{"beta": beta, **bound, **params})
