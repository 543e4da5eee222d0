"""The catalogue of losses, what a mean over lists means, and a loss with its parameters bound.

Everybody calls a loss as

    f(scores, labels, where=None, *, weights=None, generator=None, **params) -> values

    scores      [..., list]  floating point, higher is better
    labels      [..., list]  one objective; grades or real numbers
    where       [..., list]  bool, True for a real document; None: all are real
    weights     [..., list]  a multiplier per document; values are linear in it, and its pages say what it multiplies
    generator   source of the random choices a loss makes; None: the deterministic rule its page states
    values      [...]        one value a list, float32 or float64; 0, connected to the graph, if it does not count

and writes what is its own: `f(scores, labels, where, weights, **params)`. The entry has checked the shapes, made the
types equal, filled the pads with 0 (`ops.lists`) and looked at the labels where the loss says that they are `gains`; it
refuses a text that is none of its `Literal`, puts the arguments and the value that all share into the docstring, and
passes what only some losses need to those that
name it:

    generator   as above; a loss that does not name it draws nothing
    padded      whether a mask was given; without one there are no pads, and no passes over the list to keep them out

Claims every entry makes are proven by `tests/battery.py`; the words it knows:

    needs            which lists count: those with a "document", a "pair" (of unequal labels), or a "contrast" (one
                     label above 0 and one not). Where all labels are equal there is nothing to rank: only regressions,
                     which estimate labels or their differences, learn from a "document"
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
    gains            labels are gains and must not be negative: "exp2" 2^y - 1, "linear", or True, as its `gain` says
    memory           "square": matrices of the size of a list are formed, a few lists at a time (else memory is linear)
"""

from __future__ import annotations

import functools
import inspect
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from ltr import ops
from ltr.catalogue import Catalogue, Entry
from ltr.errors import InputError, unknown_name

from .own import adapted, fingerprint, name_of

__all__ = [
    "LOSSES",
    "Loss",
    "Needs",
    "check_choices",
    "choices_of",
    "counts",
    "describe",
    "documented",
    "loss",
    "normalised_gains",
    "own_parameters",
    "reduce",
    "require_gains",
    "signed",
]

_FAMILIES = (
    *("calibrated", "diversity", "lambdas.lambdarank", "lambdas.lambdaloss", "lambdas.binary", "listwise"),
    *("neuralsort", "pairwise", "plackett", "pointwise", "smooth.measures", "smooth.gumbel", "sortnet"),
)
_ONLY_IF_NAMED = ("generator", "padded")
Needs = Literal["document", "pair", "contrast"]
ListLoss = Callable[..., Tensor]


class LossCatalogue(Catalogue):
    """Losses, each behind the entry that prepares its tensors."""

    def register(  # type: ignore[override]  # `gains` is a claim that the entry looks at
        self, name: str, *, needs: Needs, formula: str = "", source: str = "", gains: bool | str = False, **claims: Any
    ) -> Callable[[ListLoss], ListLoss]:
        """Decorator: keeps the loss under `name` and returns it as everybody calls it."""
        claims = {"needs": needs, **claims, **({"gains": gains} if gains else {})}
        keep = super().register(name, formula=formula, source=source, **claims)

        def made(body: ListLoss) -> ListLoss:
            entry = keep(_prepared(name, body, gains))
            entry.__doc__ = documented(body, needs, "; labels >= 0" * bool(gains))
            return entry

        return made


def _prepared(name: str, body: ListLoss, gains: bool | str) -> ListLoss:
    """What a loss writes, as what everybody calls."""
    own = own_parameters(body, ("scores", "labels", "where", "weights", *_ONLY_IF_NAMED))
    named = [key for key in _ONLY_IF_NAMED if key in inspect.signature(body).parameters]
    default = own["gain"].default if "gain" in own else None
    known: dict[str, tuple[str, ...]] = {}

    def entry(
        scores: Tensor,
        labels: Tensor,
        where: Tensor | None = None,
        *,
        weights: Tensor | None = None,
        generator: torch.Generator | None = None,
        **params: Any,
    ) -> Tensor:
        check_choices(params, known)
        some_named = {"generator": generator, "padded": where is not None}
        scores, labels, where, weights = ops.lists(scores, labels, where, weights)
        if gains:
            kind = params.get("gain", default) if gains is True else gains
            require_gains(labels, name, exp2=kind == "exp2")
        return body(scores, labels, where, weights, **{key: some_named[key] for key in named}, **params)

    made = signed(entry, body, own)
    known |= choices_of(made)
    return made


_VALUE = {
    "document": "",
    "pair": "; 0 where all labels are equal",
    "contrast": "; 0 where none or all of the labels are above 0",
}


def documented(body: ListLoss, needs: str, more: str = "") -> str:
    """The docstring of a loss with what all of them share: the arguments before its own, and the value it gives."""
    text = inspect.getdoc(body) or ""
    text = text.replace("Args:\n", f"Args:\n    scores, labels, where: `[..., list]`{more}.\n", 1)
    if "Returns:\n" in text:
        return text
    said, prompt, example = text.partition(">>> ")
    return f"{said.rstrip()}\n\nReturns:\n    `[...]`, one value a list{_VALUE.get(needs, '')}.\n\n{prompt}{example}"


def own_parameters(function: Callable[..., Any], shared: Sequence[str]) -> dict[str, inspect.Parameter]:
    """The parameters of a function beyond those that all of its kind share."""
    return {k: p for k, p in inspect.signature(function).parameters.items() if k not in shared}


def signed(
    entry: ListLoss, body: Callable[..., Any], own: Mapping[str, inspect.Parameter], *, first: bool = False
) -> ListLoss:
    """`entry` under the name and docstring of `body`, with the parameters `own` in place of its `**...`.

    They stand last, or `first` of those that are left to their defaults.
    """
    # Resolved here: each kind of annotation speaks of the module it is written in.
    hints = typing.get_type_hints(body) | typing.get_type_hints(entry)
    shared = inspect.signature(entry).parameters.values()
    parameters = [p for p in shared if p.kind is not p.VAR_KEYWORD]
    optional = [i for i, p in enumerate(parameters) if p.kind is p.KEYWORD_ONLY and p.default is not p.empty]
    at = optional[0] if first and optional else len(parameters)
    parameters[at:at] = [p.replace(kind=p.KEYWORD_ONLY) for p in own.values()]
    parameters = [p.replace(annotation=hints[p.name]) for p in parameters]
    functools.update_wrapper(entry, body)
    entry.__signature__ = inspect.Signature(parameters, return_annotation=Tensor)  # type: ignore[attr-defined]
    entry.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": Tensor}
    return entry


LOSSES = LossCatalogue(
    "loss",
    [f"ltr.losses.{family}" for family in _FAMILIES],
    shared=("scores", "labels", "where", "weights", "generator"),
)


def counts(labels: Tensor, where: Tensor | None = None, needs: Needs = "document") -> Tensor:
    """Which lists a loss is defined on, bool `[...]`.

    >>> counts(torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0]]), needs="pair")
    tensor([False, False,  True])
    """
    if needs == "pair":
        return ops.differ(labels, where)
    where = torch.ones_like(labels, dtype=torch.bool) if where is None else where
    if needs == "document":
        return ops.some(where)
    if needs == "contrast":
        return ops.some((labels > 0) & where) & ops.some((labels <= 0) & where)
    raise unknown_name("needs", str(needs), typing.get_args(Needs))


def reduce(values: Tensor, labels: Tensor, where: Tensor | None = None, needs: Needs = "document") -> Tensor:
    """Mean of a loss over the lists that count; 0, still connected to the graph, when none does.

    Args:
        values: `[...]`, one value a list, as a loss returns them.
        labels, where: `[..., list]`, as the loss got them.
        needs: the loss's claim; see `counts`.
    """
    these = counts(labels, where, needs)
    return values.where(these, 0.0).sum() / these.sum().clamp(min=1)


def choices_of(entry: ListLoss) -> dict[str, tuple[str, ...]]:
    """The texts that parameters of a loss may be, for those whose annotation is a `Literal` of texts."""
    found = {name: typing.get_args(p.annotation) for name, p in inspect.signature(entry).parameters.items()}
    return {name: known for name, known in found.items() if known and all(isinstance(each, str) for each in known)}


def check_choices(params: Mapping[str, Any], choices: Mapping[str, tuple[str, ...]]) -> None:
    """Refuses a text that is not among the known ones, naming the near miss."""
    for name, known in choices.items():
        if name in params and params[name] not in known:
            raise unknown_name(name, str(params[name]), known)


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


def normalised_gains(
    labels: Tensor, where: Tensor, weights: Tensor | None, gain: ops.Gain, k: int | None
) -> tuple[Tensor, Tensor]:
    """G `[..., list]`, gains over the ideal DCG at k, and the 1 of 1 - NDCG `[...]`, for lists of `ops.lists`.

    Weights multiply G, and the 1 too, which is spread over the documents by their gains.
    """
    ideal = ops.ideal_dcg(labels, where, gain=gain, k=k).unsqueeze(-1)
    worth = ops.gains(labels, gain)
    total = worth.sum(-1, keepdim=True)
    share = worth / total.where(total > 0, 1.0)
    worth = worth / ideal.where(ideal > 0, 1.0)
    if weights is not None:
        worth, share = worth * weights, share * weights
    return worth, share.sum(-1)


@dataclass(frozen=True, repr=False)
class BoundLoss(ABC):
    """The name of a loss and the parameters that were given (defaults are the function's)."""

    name: str
    params: dict[str, Any] = field(default_factory=dict)

    @property
    @abstractmethod
    def entry(self) -> Entry:
        """What its catalogue says of it."""

    @property
    def needs(self) -> Needs:
        """Which lists count: "document", "pair" or "contrast"."""
        wraps = self.entry.claims.get("wraps")
        entry = LOSSES[self.params[wraps]] if wraps in self.params else self.entry
        needs: Needs = entry.claims["needs"]
        return needs

    def reduce(self, values: Tensor, labels: Tensor, where: Tensor | None = None) -> Tensor:
        """Mean over the lists that count for this loss."""
        return reduce(values, labels, where, self.needs)

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{k}={v!r}' for k, v in self.params.items())})"


@dataclass(frozen=True, repr=False)
class Loss(BoundLoss):
    """A loss with its parameters bound; `loss(name, **params)` makes one."""

    @property
    def entry(self) -> Entry:
        return LOSSES[self.name]

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
        options = {"weights": weights, "generator": generator, **self.params}
        values: Tensor = self.entry.function(scores, labels, where, **options)
        return values

    @property
    def fingerprint(self) -> str:
        """Of the source of a loss of a user's; empty for those of the suite."""
        return str(self.entry.claims.get("own", ""))


def loss(
    name: str | Loss | Callable[..., Tensor], function: Callable[..., Tensor] | None = None, **params: Any
) -> Loss:
    """The loss of that name with these parameters, as a callable that also carries `name`, `needs` and `reduce`.

    Args:
        name: in the catalogue; or a function or module of yours, which goes by its own name from then on, wherever a
            loss is named. It gets `(scores, labels)`, `[batch, list]` with pads 0, and of where (also as a third
            argument without default), weights and generator what it asks for; it returns one value a list, `[batch]`.
        function: yours, under `name`. Again replaces it; a name of the suite's own is refused.
        params: its keyword arguments; for a function of yours also `needs`, the lists that count: those with a
            "document" (default), a "gain", a "pair" or a "contrast".

    Raises:
        InputError: unknown loss, unknown parameter (the near miss is named), or a value the loss refuses.

    >>> loss("ranknet", normalise="none")(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(8.3854)
    >>> def squares(scores, labels, where, power=2):
    ...     return ((scores - labels).abs() ** power).sum(-1) / where.sum(-1)
    >>> loss(squares, power=1)(torch.tensor([[1.0, 0.0], [4.0, 2.0]]), torch.tensor([[2, 0], [2, 0]]))
    tensor([0.5000, 2.0000])
    """
    if isinstance(name, Loss):
        bound = name
        name, params = bound.name, {**bound.params, **params}
    elif not isinstance(name, str):
        function = name
        name = name_of(function)
    if function is not None:
        needs = params.pop("needs", "document")
        check_choices({"needs": needs}, {"needs": typing.get_args(Needs)})
        words = (inspect.getdoc(function) or "a loss of one's own").split("\n", 1)[0]
        register = LOSSES.register(name, formula=words, needs=needs, own=fingerprint(function))
        register(adapted(function, name))
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
