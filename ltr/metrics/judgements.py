"""Labels of query lists, checked once, and everything about them that no score changes."""

from __future__ import annotations

import re
import sys
from collections.abc import Hashable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ltr.errors import InputError
from ltr.types import unmasked

from .backends import Array, Backend, Lists, NumpyBackend, TorchBackend, kept
from .measures import discount

if TYPE_CHECKING:
    from .copies import Copies

__all__ = ["Judgements", "list_weights"]

_LARGEST = float(np.finfo(np.float32).max)  # what a label or a weight of data may be; sums of more could overflow


class Judgements:
    """Labels of query lists, checked once, and everything about them that no score changes.

    Args:
        labels: `[documents]`, finite and not negative.
        offsets: `[lists + 1]`; list q is documents `offsets[q]:offsets[q + 1]`.
        doc_ids: `[documents]`, for ties=docid; compared as text.
        weights: `[lists]`, 0 and up, for weights=query.
        device: where to compute; the labels' own device by default.
    """

    def __init__(
        self, labels: Any, offsets: Any, doc_ids: Any = None, *, weights: Any = None, device: Any = None
    ) -> None:
        xp = self.xp = _arrays(device if device is not None else device_of(labels))
        offsets, labels = to_numpy(offsets), shaped("labels", labels)
        _check_offsets(offsets, len(labels))
        self.lists = Lists(xp, xp.ints(offsets))
        self.labels = xp.floats(to_numpy(labels) if isinstance(xp, NumpyBackend) else labels)
        self.bounds = offsets
        self._memo: dict[Hashable, Any] = {}
        self.kept_copies: dict[Hashable, list[Copies]] = {}  # by `evaluate`
        if self.lists.size and (bad := ~(self.labels >= 0) | (self.labels > _LARGEST)).any():
            raise InputError(
                f"label of {self.place(bad)}",
                expected=f"a finite number from 0 to {_LARGEST:.3g}",
                came=float(self.labels[bad][0]),
                do="Leave unjudged and padded documents out; a label is never a marker",
            )
        if doc_ids is not None and len(doc_ids) != len(labels):
            raise InputError("one document id a document", expected=f"{len(labels)} ids", came=len(doc_ids))
        self._doc_ids = doc_ids
        self._weights = None if weights is None else list_weights(weights, len(self.lists))

    def weights(self) -> Array:
        """What each list counts, float64 `[lists]`."""
        if self._weights is None:
            raise InputError("weights=query needs weights of the queries", do="Name their column: --weights, weights=")
        return self.xp.floats(self._weights)

    def place(self, bad: Array) -> str:
        """ "document 3 of query 7" for the first True, both counted from 0."""
        at = int(self.xp.nonzero(bad)[0])
        query = int(np.searchsorted(self.bounds, at, side="right")) - 1
        return f"document {at - int(self.bounds[query])} of query {query}"

    @kept
    def values(self, name: Any) -> Array:
        """What each document is worth, float64 `[documents]`.

        Args:
            name: "exp2" (2^y - 1), "linear" (y), ("rel", t) (1 where y >= t), ("stop", G) ((2^y - 1) / 2^G),
                ("share", G) (y / G), ("intent", discount, k) (1 over the DCG@k of all documents of category y).
        """
        match name:
            case "linear":
                return self.labels
            case "exp2":
                self._at_most(52, "gain=exp2", "2^y - 1 is not exact above it; use gain=linear or rescale the labels")
                return self._powers() - 1
            case ("rel", threshold):
                return self.xp.floats(self.labels >= threshold)
            case ("stop", grade):
                self._at_most(grade, f"ERR(max_grade={grade})", "Set max_grade to the highest label of the dataset")
                return (self._powers() - 1) / 2.0**grade
            case ("share", grade):
                self._at_most(grade, f"max_grade={grade}", "Set max_grade to the label that stands for certainty")
                return self.labels / grade
            case ("intent", kind, k):
                place, same = self.lists.descending(self.labels)
                intents, rank = self.lists.groups(same), np.arange(1.0, self.lists.longest + 1)
                best = self.xp.floats(np.cumsum(discount(kind, rank) * (rank <= (k or np.inf))))
                worth = self.xp.zeros(self.lists.size)
                worth[place] = (1 / best[intents.lengths - 1])[intents.query]
                return self.xp.where(self.labels > 0, worth, 0.0)
        raise KeyError(name)

    def _powers(self) -> Array:
        """2^y; from a table where labels are grades, as they nearly always are."""
        grades = self.xp.ints(self.labels)
        if (grades == self.labels).all():
            return self.xp.floats(2.0 ** np.arange(53))[grades]
        return 2.0**self.labels

    def _at_most(self, limit: float, who: str, do: str) -> None:
        bad = self.labels > limit
        if bad.any():
            raise InputError(
                f"label of {self.place(bad)} is too large for {who}",
                expected=f"at most {limit}",
                came=float(self.labels[bad][0]),
                do=do,
            )

    @cached_property
    def _ideal(self) -> tuple[Array, Array]:
        """Every list by falling label, as `Lists.descending` returns it."""
        return self.lists.descending(self.labels)

    @kept
    def ideal_gains(self, gain: str) -> Array:
        """Gains in ideal order, `[documents]`."""
        return self.values(gain)[self._ideal[0]]

    @kept
    def ideal_dcg(self, gain: str, kind: str, k: int | None) -> Array:
        """DCG@k of the best order, `[lists]`."""
        top = self.lists.top(k)
        weight = top.by_rank(("discount", kind), lambda rank: discount(kind, rank))
        return top.sum(self.ideal_gains(gain)[top.slots] * weight)

    @kept
    def ideal_running_dcg(self, gain: str, kind: str) -> Array:
        """DCG of the best order down to each slot, `[documents]`."""
        weight = self.lists.by_rank(("discount", kind), lambda rank: discount(kind, rank))
        return self.lists.running(self.ideal_gains(gain) * weight)

    @kept
    def relevant(self, rel: float) -> Array:
        """Documents of label `rel` or higher in each list, `[lists]`."""
        return self.lists.sum(self.values(("rel", rel)))

    @kept
    def blank(self, kind: str, rel: float | None = None) -> Array:
        """Lists, bool `[lists]`, without a positive label ("gain"), a label >= rel ("relevant"), labels on both sides
        of rel ("contrast"), labels that differ ("pair"), or a "document"."""
        if kind == "gain":
            what = self.lists.sum(self.xp.floats(self.labels > 0))
        elif kind == "pair":
            what = self.pairs
        elif kind == "document":
            what = self.lists.lengths
        else:
            what = self.relevant(1 if rel is None else rel)
            if kind == "contrast":
                what = what * (self.lists.lengths - what)
        return what == 0

    @cached_property
    def _label_groups(self) -> Lists:
        return self.lists.groups(self._ideal[1])

    @cached_property
    def label_levels(self) -> Array:
        """int64 `[documents]`: 0 for the best label of its list, 1 for the next lower one, ..."""
        group = self._label_groups.query
        levels = self.xp.arange(self.lists.size)
        levels[self._ideal[0]] = group - group[self.lists.first]
        return levels

    @cached_property
    def level_bits(self) -> int:
        return int(self.label_levels.max()).bit_length() if self.lists.size else 0

    @kept
    def label_nodes(self, bit: int) -> tuple[Lists, Array]:
        """Documents in ideal order that agree in list and in all bits of their level above this one.

        Returns:
            (nodes as `Lists`, int64 `[documents]` first slot of the half of each slot's node whose bit is 1).
        """
        level = self.label_levels[self._ideal[0]]
        above = level >> (bit + 1)
        same = self.xp.concat(above[:1] != above[:1], above[1:] == above[:-1])
        nodes = self.lists.groups(same & (self.lists.position > 0))
        zeros = self.xp.ints(nodes.sum(1 - ((level >> bit) & 1)))
        return nodes, nodes.first + zeros[nodes.query]

    @cached_property
    def pairs(self) -> Array:
        """Pairs of documents with different labels in each list, float64 `[lists]`."""
        return self.lists.sum(self._label_groups.first - self.lists.first)  # documents of higher label, summed

    @kept
    def tie_order(self, rule: str) -> Array:
        """Rows rearranged inside their lists, so that a stable sort by score breaks ties by the rule."""
        return self.lists.descending(self._tie_key(rule))[0]

    def _tie_key(self, rule: str) -> Array:
        if rule == "worst":
            return -self.labels
        if seed := re.fullmatch(r"random\((\d+)\)", rule):
            return self.xp.floats(np.random.default_rng(int(seed[1])).random(self.lists.size))
        if self._doc_ids is None:
            raise InputError("ties=docid needs the documents' ids", do="Give doc_ids=... to evaluate or Judgements")
        text = np.asarray(self._doc_ids).astype(str)
        return self.xp.floats(np.unique(text, return_inverse=True)[1])


def list_weights(weights: Any, lists: int) -> np.ndarray[Any, Any]:
    """What each list counts, float64 `[lists]`; finite, from 0."""
    own = shaped("weights of the lists", weights)
    own = to_numpy(own).astype(np.float64)
    if own.shape != (lists,) or not ((own >= 0) & (own <= _LARGEST)).all():
        wrong = own[~((own >= 0) & (own <= _LARGEST))]
        expected = f"{lists} finite numbers from 0"
        raise InputError("weights of the lists", expected=expected, came=float(wrong[0]) if len(wrong) else own.shape)
    return own


def device_of(*inputs: Any) -> str:
    """The accelerator one of the tensors lives on, else "cpu"."""
    torch = sys.modules.get("torch")  # nobody can hand in a tensor before torch is imported
    for x in inputs:
        if torch is not None and isinstance(x, torch.Tensor) and x.device.type != "cpu":
            return str(x.device)
    return "cpu"


def _arrays(device: Any) -> Backend:
    if isinstance(device, NumpyBackend | TorchBackend):
        return device
    # Apple's GPU has no float64: its tensors are brought home.
    return NumpyBackend() if str(device).startswith(("cpu", "mps")) else TorchBackend(device)


def to_numpy(x: Any) -> np.ndarray[Any, Any]:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        x = x.detach().cpu()
        x = (x.float() if x.dtype in (torch.bfloat16, torch.float16) else x).numpy()
    return np.asarray(x)


def shaped(what: str, x: Any, leading: bool = False) -> Array:
    """A numeric `[documents]` array or tensor, `[..., documents]` with `leading` axes."""
    torch = sys.modules.get("torch")
    x = x.detach() if torch is not None and isinstance(x, torch.Tensor) else np.asarray(unmasked(x))
    if x.ndim == 0 or (x.ndim > 1 and not leading):
        raise InputError(
            f"{what} of the wrong shape",
            expected="[documents], all lists one after another",
            came=tuple(x.shape),
            do="Padded lists: take the real documents, x[where]",
        )
    if isinstance(x, np.ndarray) and x.dtype.kind not in "fiub":
        if x.size == 0:
            return x.astype(np.float64)
        raise InputError(f"{what} are not numbers", expected="floats or integers", came=str(x.dtype))
    return x


def _check_offsets(offsets: np.ndarray[Any, Any], documents: int) -> None:
    if offsets.ndim != 1 or len(offsets) == 0 or offsets.dtype.kind not in "iu":
        raise InputError("offsets of the wrong kind", expected="whole numbers [lists + 1]", came=offsets)
    if offsets[0] != 0 or offsets[-1] != documents:
        do = "Of sizes of lists: np.cumsum([0, *sizes])" if offsets.sum() == documents else ""
        came = f"{offsets[0]} ... {offsets[-1]}"
        raise InputError("offsets do not cover the documents", expected=f"0 ... {documents}", came=came, do=do)
    down = np.flatnonzero(offsets[1:] < offsets[:-1])
    if len(down):
        pair = offsets[down[0] : down[0] + 2].tolist()
        raise InputError(f"list {down[0]} ends before it starts", expected="offsets that never fall", came=pair)
