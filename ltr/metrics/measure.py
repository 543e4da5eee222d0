"""A measure is a value whose repr is its identity and parses back.

"NDCG" is not one function: gain, lists without a relevant document, ties, discount and cut-off change the number by
more than most published improvements. So all of them stand in the name:

    >>> measure("nDCG@10")
    nDCG(gain=exp2,empty=skip)@10
    >>> measure("AP(ties=order, empty=0)") == measure("AP(empty=0,ties=order)")
    True

The name always shows gain and empty where the measure has them, and the other arguments where they are not the
default. Arguments, in the order of the name:

    gain=exp2        2^y - 1, or linear: y
    empty=skip       what a list counts on which the measure is undefined or can only be 0 (no relevant document; for
                     OPA no two labels that differ): skip = left out (NaN), 0 or 1
    ties=mean        documents of equal score: mean = the expectation over all their orders; order = rows as given;
                     worst = least relevant first; docid = by document id descending, as trec_eval does;
                     random(SEED) = one random order, the same for every scorer
    discount=log2    1 / log2(1 + rank), or letor: 1 at ranks 1 and 2, then 1 / log2(rank)
    short=count      a list shorter than the cut-off counts as it is, or 0: it scores 0 (the LETOR 4.0 script)
    rel=1            the lowest label that counts as relevant
    p=0.8            persistence of RBP
    alpha=0.5        how much less a further document of a category counts to alphaNDCG and ERR-IA
    max_grade=4      the grade whose document stops the reader of ERR with probability 1 - 2^-max_grade, and which is
                     certainty to NegBrier, NegLogLoss and NegECE
    link=sigmoid     what a score says of a share there, see calibration.py; or identity
    bins=10          of NegECE
    weights=query    of any measure: a list counts by its weight (`Split.query_weights`). Its value is multiplied by
                     its weight over the mean weight of the lists that count, so that plain means and tests of
                     values are the weighted ones
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ltr.errors import InputError, near_miss, unknown_name

from .backends import Array
from .judgements import to_numpy
from .measures import MEASURES

if TYPE_CHECKING:
    from .ranked_lists import RankedLists

__all__ = ["Asked", "Measure", "measure"]

_CHOICES = {
    "gain": ("exp2", "linear"),
    "empty": ("skip", "0", "1"),
    "ties": ("mean", "order", "worst", "docid", "random(SEED)"),
    "discount": ("log2", "letor"),
    "short": ("count", "0"),
    "link": ("sigmoid", "identity"),
}
_DEFAULTS = {
    "gain": "exp2",
    "empty": "skip",
    "ties": "mean",
    "discount": "log2",
    "short": "count",
    "rel": 1.0,
    "p": 0.8,
    "max_grade": 4,
    "alpha": 0.5,
    "link": "sigmoid",
    "bins": 10,
}
_ALWAYS_SHOWN = ("gain", "empty")
_ALIASES = {"map": "AP", "mrr": "RR", "precision": "P", "prec": "P", "recall": "R", "ap_cut": "AP", "recip_rank": "RR"}
_ALIASES |= {"map_cut": "AP", "ndcg_cut": "nDCG", "mean_ndcg": "MeanNDCG"}


@dataclass(frozen=True, repr=False)
class Measure:
    """One measure with all its conventions; an argument the measure does not have is None.

    Raises:
        InputError: for an unknown name, an argument the measure does not have, a value out of its range, or a
            cut-off that is missing or that the measure does not take.
    """

    name: str
    cutoff: int | None = None
    # Any, not Optional: a kernel reads only the arguments its measure registered, which are never None.
    gain: Any = None
    empty: Any = None
    ties: Any = None
    discount: Any = None
    short: Any = None
    rel: Any = None
    p: Any = None
    max_grade: Any = None
    alpha: Any = None
    link: Any = None
    bins: Any = None
    weights: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", _ours(self.name))
        if self.weights not in (None, "query"):
            raise InputError(f"argument weights of {self.name}", expected="query", came=self.weights)
        claims = MEASURES[self.name].claims
        for key in _DEFAULTS:
            value = getattr(self, key)
            if key not in claims["arguments"]:
                if value is not None:
                    raise _no_argument(self.name, key)
            elif value is None:
                object.__setattr__(self, key, _DEFAULTS[key])
            else:
                object.__setattr__(self, key, _checked(self.name, key, value))
        self._check_cutoff(claims["cutoff"])

    def _check_cutoff(self, rule: str) -> None:
        k = self.cutoff
        if k is not None and (isinstance(k, bool) or not isinstance(k, int) or k < 1):
            raise InputError(f"cut-off of {self.name}", expected="a whole number from 1", came=k)
        if k is None and rule == "required":
            raise InputError(f"{self.name} needs a cut-off", expected=f"for example {self.name}@10")
        if k is not None and rule == "none":
            raise InputError(f"{self.name} takes no cut-off", came=f"{self.name}@{k}")
        if k is None and self.short == "0":
            raise InputError("short=0 compares a list with the cut-off", expected=f"e.g. {self.name}(short=0)@10")

    @property
    def arguments(self) -> dict[str, str | float]:
        """The measure's arguments with their values, in the order of the name."""
        return {key: getattr(self, key) for key in _DEFAULTS if getattr(self, key) is not None}

    def at(self, cutoff: int | None) -> Measure:
        """The same measure at another cut-off."""
        return replace(self, cutoff=cutoff)

    def __repr__(self) -> str:
        shown = [
            f"{key}={_text(value)}"
            for key, value in self.arguments.items()
            if key in _ALWAYS_SHOWN or value != _DEFAULTS[key]
        ]
        shown += ["weights=query"] if self.weights else []
        brackets = f"({','.join(shown)})" if shown else ""
        return self.name + brackets + ("" if self.cutoff is None else f"@{self.cutoff}")

    __str__ = __repr__


Asked: TypeAlias = str | Measure | Callable[..., float]  # what names a measure


def _ours(name: str) -> str:
    """The measure of a name, which may be in other letters or the one other libraries use."""
    if name in MEASURES:
        return name
    folded = {known.lower(): known for known in MEASURES.names()} | _ALIASES
    if name.lower() not in folded:
        other = re.fullmatch(r"(\w+?)[_.](\d+)", name.lower())  # as trec_eval writes it: ndcg_cut_10
        error = unknown_name("measure", name, MEASURES.names())
        raise error.but(do=f"Did you mean {folded[other[1]]}@{other[2]}?") if other and other[1] in folded else error
    return folded[name.lower()]


_SHAPE = re.compile(r"\s*(?P<name>[A-Za-z][\w-]*)\s*(?:\((?P<arguments>.*)\))?\s*(?:@\s*(?P<cutoff>[^\s()]+))?\s*")


def measure(text: Asked) -> Measure:
    """The measure a text names, `NAME(argument=value,...)@cutoff`; what is left out takes its default.

    Args:
        text: a name of ours in any case, or a usual one of others (MAP, MRR, Recall, Precision); the measure's repr is
            ours. Or a function of yours `f(scores, labels) -> float` of one list, arrays `[documents]` in the order of
            the rows; NaN leaves the list out. Its name is a measure from then on, everywhere a name is taken; a second
            function of that name replaces the first.

    >>> measure("nDCG(gain=linear)@5").empty
    'skip'
    >>> measure("map@5")
    AP(empty=skip)@5
    >>> def top_label(scores, labels):
    ...     return labels[scores.argmax()]
    >>> measure(top_label)
    top_label
    >>> measure(repr(measure("RBP(p=0.95)"))) == measure("RBP(p=0.95)")
    True

    Raises:
        InputError: for a text of another shape, an unknown name or argument (the near miss is named), or a value out
            of range.
    """
    if isinstance(text, Measure):
        return text
    if callable(text):
        return _own(text)
    shape = _SHAPE.fullmatch(text) if isinstance(text, str) else None
    if shape is None:
        raise InputError("not a measure", expected="NAME(argument=value,...)@cutoff, as in nDCG@10", came=text)
    chosen: dict[str, Any] = {}
    if shape["cutoff"]:
        if not shape["cutoff"].isdecimal() or len(shape["cutoff"]) > 18:
            raise InputError(f"cut-off in {text!r}", expected="a whole number from 1", came=shape["cutoff"])
        chosen["cutoff"] = int(shape["cutoff"])
    for part in _parts(shape["arguments"] or ""):
        key, equals, value = (x.strip() for x in part.partition("="))
        if not equals or not value:
            raise InputError(f"argument in {text!r}", expected="name=value", came=part.strip())
        if key not in (*_DEFAULTS, "weights"):
            name = _ours(shape["name"])
            raise unknown_name(f"argument of {name}", key, MEASURES[name].claims["arguments"])
        if key in chosen:
            raise InputError(f"argument {key} stands twice in {text!r}")
        chosen[key] = value
    return Measure(shape["name"], **chosen)


def _own(function: Callable[..., float]) -> Measure:
    """A function of a user under its own name."""
    name = getattr(function, "__name__", type(function).__name__)
    if not _SHAPE.fullmatch(name):
        raise InputError("a measure needs a name", expected="a function made with def", came=name)

    def each_list(ranked: RankedLists, measure: Measure) -> Array:
        xp, bounds = ranked.xp, to_numpy(ranked.lists.offsets)
        scores, labels = to_numpy(ranked.scores), to_numpy(ranked.judged.labels)
        lists = zip(bounds[:-1], bounds[1:], strict=True)
        # Copies: what a function does to its arguments would be done to the scores and labels of everybody.
        values = [_told(name, function(scores[a:b].copy(), labels[a:b].copy())) if b > a else np.nan for a, b in lists]
        return xp.floats(np.array(values, dtype=np.float64))

    words = (inspect.getdoc(function) or "a function of one's own").split("\n", 1)[0]
    MEASURES.register(name, formula=words, own=True, arguments=(), cutoff="none", blank="own")(each_list)
    return Measure(name)


def _told(name: str, value: Any) -> float:
    """What a user's function said of a list."""
    number = float(value) if isinstance(value, int | float | np.number | np.bool_) else np.array(value)
    if np.ndim(number) or np.asarray(number).dtype.kind not in "fiub" or np.isinf(number):
        raise InputError(
            f"measure {name!r} of a list", expected="a finite number, or NaN to leave the list out", came=value
        )
    return float(number)


def _parts(arguments: str) -> list[str]:
    """Cut at commas."""
    return arguments.split(",") if arguments.strip() else []


def _no_argument(name: str, key: str) -> InputError:
    return InputError(
        f"{name} has no argument {key!r}", do=f"Arguments of {name}: {', '.join(MEASURES[name].claims['arguments'])}"
    )


def _checked(name: str, key: str, value: Any) -> str | float:
    """The value of an argument in its one form, from its text or its number."""
    where = f"argument {key} of {name}"
    if key in _CHOICES:
        value = str(value)
        if key == "ties" and (seed := re.fullmatch(r"random\(\s*(\d{1,18})\s*\)", value)):
            return f"random({int(seed[1])})"
        if value not in _CHOICES[key] or "SEED" in value:
            hit = near_miss(value, _CHOICES[key])
            raise InputError(
                where, expected=" | ".join(_CHOICES[key]), came=value, do=f"Did you mean {hit!r}?" if hit else ""
            )
        return str(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(where, expected="a number", came=value) from None
    ranges = {
        "rel": ("a number above 0", 0 < number < float("inf")),
        "p": ("a number between 0 and 1, both excluded", 0 < number < 1),
        "alpha": ("a number above 0, at most 1", 0 < number <= 1),
        "max_grade": ("a whole number from 1 to 52", number in range(1, 53)),
        "bins": ("a whole number from 1 to 1000", number in range(1, 1001)),
    }
    expected, fits = ranges[key]
    if not fits:
        raise InputError(where, expected=expected, came=value)
    return int(number) if key in ("max_grade", "bins") else number


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


assert {f.name for f in fields(Measure)} == {"name", "cutoff", "weights", *_DEFAULTS}
