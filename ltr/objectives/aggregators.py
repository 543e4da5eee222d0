"""Aggregators: from the gradients of all objectives to the coefficients a_k of one step d = sum_k a_k g_k.

A registered function is `f(gramian, *, losses, preference, generator, **params) -> coefficients`, of which it names
only what it uses. Shapes: gramian `[..., objective, objective]` (M_kl = g_k . g_l), losses, preference and coefficients
`[..., objective]`; arithmetic in float64. Everything but GradDrop sees the gradients only through M, so the same
functions serve gradients of parameters, of scores, and of trees. `backward` in this room makes M and takes the step;
descent means theta <- theta - lr d.

    mgda = aggregator("mgda", 3)
    a = mgda(gramian)

Claims (proven in tests/test_aggregators.py):

    preference     "steers": needed; "optional": used where given, else equal; "scales": optional, l_k <- w_k l_k first
    means          of those that steer: "importance" or "balance" (losses along 1/w)
    simplex        a >= 0, sum 1
    conflict_free  M a >= 0: no objective gets worse, to first order
    scale_free     rescaling one gradient leaves the direction of d
    needs_losses   looks at the values of the losses too
    direction      returns d itself from the gradients `[objective, n]`, not coefficients
    stochastic     draws from the generator
    stateful       remembers earlier steps (and continues from a checkpoint)

Universal: the order of the objectives means nothing, a common factor of all gradients changes no coefficient, duplicate
gradients are fine, NaN in, NaN out. An objective whose gradient is 0 (blank on the whole batch, or of weight 0) is left
out, here and for all: its coefficient is 0, the others' are those of the task without it, their weights divided by
their sum. Otherwise MGDA would stand still, CAGrad return the mean, Nash-MTL bargain with nobody.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from ltr.catalogue import Catalogue, Entry
from ltr.errors import InputError

__all__ = ["AGGREGATORS", "Aggregator", "aggregator"]

_SHARED = ("gramian", "gradients", "losses", "preference", "generator", "objectives", "among")
AGGREGATORS = Catalogue(
    "aggregator",
    ["ltr.objectives.gradient_aggregators", "ltr.objectives.preference_aggregators"],
    shared=_SHARED,
)


class Aggregator(nn.Module):
    """An aggregator with its parameters bound and, where it remembers something, its state in buffers."""

    def __init__(self, entry: Entry, objectives: int, params: dict[str, Any] | None = None):
        super().__init__()
        self.entry, self.objectives, self.params = entry, objectives, dict(params or {})
        step = getattr(entry.function, "solve", entry.function)
        self._takes = set(inspect.signature(step).parameters) & set(_SHARED)

    @property
    def makes_direction(self) -> bool:
        """Whether it returns the step from the gradients instead of coefficients from their Gramian."""
        return bool(self.entry.claims.get("direction", False))

    @torch.no_grad()
    def forward(
        self,
        gramian: Tensor,
        *,
        losses: Tensor | None = None,
        preference: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Coefficients float64 `[..., objective]`, or the step `[n]` for one with the claim `direction`.

        Args:
            gramian: `[..., objective, objective]`; the gradients `[objective, n]` for one with the claim `direction`.
            losses: `[..., objective]`, where `needs_losses`.
            preference: `[..., objective]`, see the claim `preference`.
            generator: of those that draw; None: torch's own.
        """
        self._check(gramian, losses, preference)
        given = gramian.detach().double()
        losses = None if losses is None else losses.detach().double().to(given.device)
        weights = None if preference is None else preference.detach().to(given)
        scales = self.entry.claims["preference"] == "scales"
        if weights is not None and scales:
            given = given * weights.unsqueeze(-1)
            given = given if self.makes_direction else given * weights.unsqueeze(-2)
            losses = None if losses is None else losses * weights
        # What is no number must not become a step that is one, nor enter a state.
        finite = given.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)
        if losses is not None and self.needs_losses:
            finite = finite & losses.isfinite().all(-1, keepdim=True).unsqueeze(-1)
            losses = losses.nan_to_num()
        if self.entry.claims.get("stateful") and not finite.all():
            return given.new_full(given.shape[:-1], torch.nan)
        out = self._of_those_heard(given.where(finite, 0.0), losses, weights, generator)
        if weights is not None and scales and not self.makes_direction:
            out = out * weights
        return out.masked_fill(~finite.squeeze(-1), torch.nan)

    def _of_those_heard(
        self, gramian: Tensor, losses: Tensor | None, preference: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """`solve` among the objectives that have a gradient."""

        def solved(M: Tensor, losses: Tensor | None, w: Tensor | None, among: Tensor | None = None) -> Tensor:
            shared = {"losses": losses, "preference": w, "generator": generator, "among": among}
            return self.solve(M, **{k: v for k, v in shared.items() if k in self._takes})

        m = self.objectives
        heard = None if self.makes_direction else (gramian.diagonal(dim1=-2, dim2=-1) > 0).reshape(-1, m)
        if heard is None or self.entry.name == "linear" or bool(heard.all()):  # a weight of 0 gradients is just lost
            return solved(gramian, losses, preference)
        batch = gramian.shape[:-1]
        flat = gramian.reshape(-1, m, m)
        rows = [None if each is None else each.expand(batch).reshape(-1, m) for each in (losses, preference)]
        out = torch.zeros_like(flat[..., 0])
        for pattern in torch.unique(heard, dim=0):
            these, k = (heard == pattern).all(-1).nonzero().squeeze(-1), pattern.nonzero().squeeze(-1)
            k = k if len(k) else torch.arange(m, device=k.device)  # nobody: as the rule has it
            here = these if len(batch) > 1 else these.squeeze()  # one step: without a batch axis
            of, w = (None if each is None else each[here][..., k] for each in rows)
            if w is not None:
                total = w.sum(-1, keepdim=True)
                w = w / total.where(total > 0, 1.0)
            a = solved(flat[here][..., k, :][..., k], of, w, k)
            out[here] = out[here].index_copy(-1, k, a)
        return out.reshape(batch)

    def solve(self, gramian: Tensor, **shared: Any) -> Tensor:
        coefficients: Tensor = self.entry.function(gramian, **shared, **self.params)
        return coefficients

    def _check(self, gramian: Tensor, losses: Tensor | None, preference: Tensor | None) -> None:
        name, m, claims = self.entry.name, self.objectives, self.entry.claims
        fits = gramian.ndim == 2 and len(gramian) == m if self.makes_direction else gramian.shape[-2:] == (m, m)
        if not fits:
            expected = f"gradients [{m}, n]" if self.makes_direction else f"a Gramian [..., {m}, {m}]"
            raise InputError(f"aggregator {name!r}", expected=expected, came=tuple(gramian.shape))
        if preference is None and claims["preference"] == "steers":
            raise InputError(f"aggregator {name!r} needs a preference")
        if losses is None and "losses" in self._takes and self.needs_losses:
            raise InputError(f"aggregator {name!r} looks at the losses", do="Pass losses=...")
        for what, each in (("losses", losses), ("preference", preference)):
            if each is not None and each.shape[-1:] != (m,):
                raise InputError(f"aggregator {name!r}: {what}", expected=f"[..., {m}]", came=tuple(each.shape))

    @property
    def needs_losses(self) -> bool:
        """Whether the values of the losses must be given too, with these parameters."""
        needs = self.entry.claims.get("needs_losses", False)
        return bool(needs(self.params) if callable(needs) else needs)

    def extra_repr(self) -> str:
        return ", ".join([self.entry.name, *(f"{k}={v!r}" for k, v in self.params.items())])


@AGGREGATORS.register(
    "linear",
    formula="a = w",
    source="weighted sum, as a baseline for the others",
    preference="optional",
    means="importance",
    simplex=True,
)
def linear(gramian: Tensor, *, preference: Tensor | None = None) -> Tensor:
    """The preference itself, or 1/m each; the Gramian is not looked at."""
    m = gramian.shape[-1]
    return gramian.new_full(gramian.shape[:-1], 1 / m) if preference is None else preference.expand(gramian.shape[:-1])


def aggregator(name: str, objectives: int, **params: Any) -> Aggregator:
    """The aggregator of that name for so many objectives, with these parameters.

    Raises:
        InputError: unknown name or parameter (the near miss is named), or a value it refuses.

    >>> aggregator("mgda", 2)(torch.tensor([[1.0, -0.5], [-0.5, 1.0]]))
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    entry = AGGREGATORS[name]
    if objectives < 1:
        raise InputError("an aggregator needs objectives", expected="at least 1", came=objectives)
    params = entry.bind(params)
    if isinstance(entry.function, type):
        own: Aggregator = entry.function(objectives, **params)
        return own
    made = Aggregator(entry, objectives, params)
    # Orthogonal gradients go through once, so that a wrong value fails here and not at the first step.
    one = torch.ones(objectives)
    try:
        made(torch.eye(objectives), losses=one, preference=one / objectives, generator=torch.Generator())
    except (TypeError, RuntimeError) as problem:
        raise InputError(f"aggregator {name!r} does not take these parameters: {problem}", came=params) from problem
    return made
