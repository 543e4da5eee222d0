"""The catalogue of losses, what a mean over lists means, and a loss with its parameters bound.

A registered function is

    f(scores, labels, where=None, *, weights=None, generator=None, **params) -> values

    scores      [..., list]  floating point, higher is better
    labels      [..., list]  one objective; grades or real numbers
    where       [..., list]  bool, True for a real document; None: all are real
    weights     [..., list]  a multiplier per document; values are linear in it, and its pages say what it multiplies
    generator   source of the random choices a loss makes; None: the deterministic rule its page states
    values      [...]        one value a list, float32 or float64; 0, connected to the graph, if it does not count

Claims every entry makes are proven by `tests/battery.py`; the words it knows:

    needs            which lists count: those with a "document", a "gain" (label above 0), a "pair" (of unequal labels),
                     a "contrast" (one label above 0 and one not)
    shift_invariant  adding a constant to all scores of a list changes nothing
    convex           in the scores of a list
    ordinal          only the order of the labels matters
    bounds           what the value is never below, for the same scores: "1-ndcg" (gain exp2, no cut-off),
                     "1-mrr" 1 - sum y_i / r_i / sum y_i, "rank sum" sum y_i (r_i - 1), "rank sum regret" (the same
                     minus its smallest value)
    stochastic       what the generator decides: "label ties", "score ties", or True for every call
    surrogate        the gradient is what is defined, and it is not that of the value
    sorts            False: its smallest values are not at scores that sort the list (else they are)
    wraps            the parameter that names another loss, which decides which lists count
    memory           "square": matrices of the size of a list are formed, a few lists at a time (else memory is linear)
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from ltr.catalogue import Catalogue, Entry
from ltr.errors import InputError, unknown_name
from ltr.ops import exact, some

__all__ = ["LOSSES", "Loss", "Needs", "choice", "counts", "describe", "loss", "reduce", "require_gains"]

LOSSES = Catalogue(
    "loss",
    [
        f"ltr.losses.{family}"
        for family in ("lambdas", "listwise", "neuralsort", "pairwise", "plackett", "pointwise", "smooth", "sortnet")
    ],
    shared=("scores", "labels", "where", "weights", "generator"),
)
Needs = Literal["document", "gain", "pair", "contrast"]


def counts(labels: Tensor, where: Tensor | None = None, needs: Needs = "document") -> Tensor:
    """Which lists a loss is defined on, bool `[...]`.

    >>> counts(torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0]]), needs="pair")
    tensor([False, False,  True])
    """
    if needs == "gain":
        return some(labels > 0 if where is None else (labels > 0) & where)
    where = torch.ones_like(labels, dtype=torch.bool) if where is None else where
    if needs == "document":
        return some(where)
    if needs == "contrast":
        return some((labels > 0) & where) & some((labels <= 0) & where)
    if needs == "pair":
        if labels.shape[-1] == 0:
            return where.any(-1)
        labels = exact(labels)
        high = labels.masked_fill(~where, -torch.inf).amax(-1)
        low = labels.masked_fill(~where, torch.inf).amin(-1)
        return high > low
    raise unknown_name("needs", str(needs), ("document", "gain", "pair", "contrast"))


def reduce(values: Tensor, labels: Tensor, where: Tensor | None = None, needs: Needs = "document") -> Tensor:
    """Mean of a loss over the lists that count; 0, still connected to the graph, when none does.

    Args:
        values: `[...]`, one value a list, as a loss returns them.
        labels, where: `[..., list]`, as the loss got them.
        needs: the loss's claim; see `counts`.
    """
    these = counts(labels, where, needs)
    return values.where(these, 0.0).sum() / these.sum().clamp(min=1)


def choice(name: str, value: Any, known: tuple[str, ...]) -> None:
    """Refuses a value of parameter `name` that is not among the known ones, naming the near miss."""
    if value not in known:
        raise unknown_name(name, str(value), known)


def require_gains(labels: Tensor, loss: str, exp2: bool = False) -> None:
    """Refuses labels that are no gains: negative ones, and with exponential gain those that overflow.

    Looked at on the CPU only; on a GPU the look would make every step wait for the device.
    """
    if labels.device.type != "cpu" or labels.numel() == 0:
        return
    low, high = labels.aminmax()
    if low < 0:
        raise InputError(
            f"{loss} turns labels into gains, and a gain cannot be negative",
            expected="labels >= 0",
            came=low.item(),
            do="Padding is said by where, never by a label of -1; shift or clip an objective that can be negative.",
        )
    if exp2 and high > 100:
        raise InputError(
            f"{loss} with gain 2^y - 1 overflows on these labels",
            expected="grades up to about 31",
            came=high.item(),
            do="Use a linear gain for an objective that is a quantity, not a grade.",
        )


@dataclass(frozen=True)
class Loss:
    """A loss with its parameters bound; `loss(name, **params)` makes one.

    Attributes:
        name: its name in the catalogue.
        params: the parameters that were given (defaults are the function's).
    """

    name: str
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def entry(self) -> Entry:
        return LOSSES[self.name]

    @property
    def needs(self) -> Needs:
        """Which lists count: "document", "gain", "pair" or "contrast"."""
        wraps = self.entry.claims.get("wraps")
        if wraps in self.params:
            return LOSSES[self.params[wraps]].claims["needs"]
        return self.entry.claims["needs"]

    def __call__(
        self,
        scores: Tensor,
        labels: Tensor,
        where: Tensor | None = None,
        *,
        weights: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """One value a list, `[...]`."""
        return self.entry.function(scores, labels, where, weights=weights, generator=generator, **self.params)

    def reduce(self, values: Tensor, labels: Tensor, where: Tensor | None = None) -> Tensor:
        """Mean over the lists that count for this loss."""
        return reduce(values, labels, where, self.needs)

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{k}={v!r}' for k, v in self.params.items())})"


def loss(name: str, **params) -> Loss:
    """The loss of that name with these parameters, as a callable that also carries `name`, `needs` and `reduce`.

    Raises:
        InputError: unknown loss, unknown parameter (the near miss is named), or a value the loss refuses.

    >>> loss("ranknet", normalise="none")(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(8.3854)
    """
    bound = Loss(name, LOSSES[name].bind(params))
    # A list of two documents goes through once, so that a wrong value fails here and not an hour later.
    try:
        bound(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0]))
    except (TypeError, RuntimeError) as problem:
        raise InputError(f"loss {name!r} does not take these parameters: {problem}", came=params) from problem
    return bound


def describe() -> list[dict[str, Any]]:
    """The catalogue as rows: name, formula, source, summary, parameters with their defaults, claims."""
    return [
        {
            "name": entry.name,
            "formula": entry.formula,
            "source": entry.source,
            "summary": (inspect.getdoc(entry.function) or "").split("\n", 1)[0],
            "parameters": {k: p.default for k, p in entry.parameters.items()},
            "claims": dict(entry.claims),
        }
        for entry in LOSSES
    ]
