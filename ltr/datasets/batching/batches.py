"""Ragged splits to padded batches: length buckets, a budget of cells, and an order that only (seed, epoch) decides.

A padded batch costs what its longest list costs, so lists of like length travel together: sort by length with a
little jitter (epochs differ in who meets whom), cut where longest x lists would pass the budget, shuffle the batches.
On web-search list lengths this pads under a tenth of the cells, where random batches pad half.

The Lightning face of this file is `ListDataModule` in datamodule.py; nothing here needs Lightning.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ltr.datasets.list_context import fill_context
from ltr.datasets.memory import all_memory, free_memory
from ltr.datasets.transforms import Transform
from ltr.errors import InputError, renamed
from ltr.seeds import seed_of
from ltr.types import Batch, Split

from .bucketing import Plan, cuts, plan, sample, window_order, windows
from .windows import Windows, memory_map, read

__all__ = ["CELLS", "Batches"]

CELLS = 8_192  # padded documents of a batch: about 64 lists of 120 documents
WINDOW = 512 << 20  # bytes of features that lists are shuffled in where memory does not hold all


class Batches:
    """The lists of a split as padded batches on a device; iterate, once per epoch.

    Lists without documents are left out, every other document comes exactly once per epoch (fewer when `list_size`
    cuts). The number of batches is the same in every epoch, so step counts and schedules are exact.

    Args:
        split: the lists. Without labels the labels of a batch are NaN: whoever reads them notices.
        cells: most padded documents of a batch (batch x longest list); a longer list travels alone. Default `CELLS`,
            or no limit when `batch_size` is given. Both given, both hold.
        batch_size: most lists of a batch. (`lists` is its former name.)
        list_size: most documents of a list; None keeps all (evaluation always does). A longer one is drawn from
            without replacement anew each epoch, seeded per (seed, epoch, query). Documents keep their order.
        shuffle: jitter the lengths and shuffle the batches; otherwise longest lists first, always the same.
        jitter: relative jitter of the lengths when shuffling, in [0, 1).
        seed: of order and sampling.
        device: where batches lie.
        transform: applied to the features; once when resident, per batch otherwise.
        resident: keep the whole split on the device: True, False, or "auto": when it takes less than half of the
            device's free memory, and always where the transform has the context of lists.
        shuffle_buffer: documents within which lists are shuffled, in windows drawn from all over the split and read one
            after another (bucketing.py); two are in memory. 0: the whole split is one. None: the same, unless the split
            is a file, not resident and larger than half of all the memory there is; then windows of 512 MiB.

    Raises:
        InputError: settings out of range.
    """

    def __init__(
        self,
        split: Split,
        *,
        cells: int | None = None,
        batch_size: int | None = None,
        list_size: int | None = None,
        shuffle: bool = False,
        jitter: float = 0.05,
        seed: int = 0,
        device: str | torch.device = "cpu",
        transform: Transform | None = None,
        resident: bool | Literal["auto"] = "auto",
        shuffle_buffer: int | None = None,
        lists: int | None = None,
    ):
        if lists is not None:
            renamed("argument", "lists", "batch_size")
            batch_size = lists
        for name, value in (("cells", cells), ("batch_size", batch_size), ("list_size", list_size)):
            if value is not None and value < 1:
                raise InputError(f"{name} of a batch out of range", expected="at least 1", came=value)
        if not 0 <= jitter < 1:
            raise InputError("jitter out of range", expected="0 <= jitter < 1", came=jitter)
        if shuffle_buffer is not None and shuffle_buffer < 0:
            raise InputError("shuffle_buffer out of range", expected="0 (all) or more documents", came=shuffle_buffer)
        if resident not in (True, False, "auto"):
            raise InputError("resident is a switch", expected="True, False or 'auto'", came=resident)
        self.split, self.seed, self.shuffle, self.jitter = split, seed, shuffle, jitter
        self.list_size, self.device, self.transform = list_size, torch.device(device), transform
        self.cells = cells if cells is not None or batch_size is not None else CELLS
        self.batch_size = batch_size
        self.epoch, self.rank, self.world = 0, 0, 1
        full = split.lengths
        self._query = np.flatnonzero(full > 0)
        self._length = full[self._query] if list_size is None else np.minimum(full[self._query], list_size)
        self._full = full[self._query]
        if transform is not None and transform.context:  # of whole lists, whatever is drawn from them
            if resident is False:
                raise InputError("the context of lists is computed once, and kept", expected="resident = True")
            resident = True
        automatic, size = resident == "auto", 4 * split.n_documents * self._width
        self.resident = size < free_bytes(self.device) / 2 if automatic else bool(resident)
        self.note = ""
        too_large = automatic and not self.resident and size > all_memory() / 2
        if shuffle_buffer is None and too_large and memory_map(split.features) is not None:
            shuffle_buffer = max(1, WINDOW // (4 * self._width))
            self.note = (
                f"memory does not hold the features ({size / 2**30:.1f} GiB): lists are shuffled within windows of "
                f"{shuffle_buffer:,} documents, drawn from all over the file (training.shuffle_buffer)"
            )
        first = np.asarray(split.offsets)[self._query]
        self._window = windows(first, shuffle_buffer or None, shuffle)
        self._cuts = cuts(self._length, self.cells, self.batch_size, jitter if shuffle else 0.0, self._window)
        self._windows = None
        if not self.resident and shuffle_buffer and len(first):
            self._windows = Windows(
                split.features, first, self._full, self._window, transform, self._width, self.device
            )
        self._plan: tuple[int, Plan] | None = None
        self._held: _Held | None = None

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order and samples the next iteration takes."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._cuts) - 1

    def with_seed(self, seed: int) -> Batches:
        """The same lists in the order and with the samples of another seed; what lies in memory lies there once."""
        self._kept()
        other = copy.copy(self)
        other.seed, other._plan = seed, None
        return other

    def share(self, rank: int, world: int) -> Batches:
        """What one of `world` processes meets: its share of the lists of every batch, so that all make as many steps.

        Of n lists it gets n / world, rounded up; where they do not go round, the last row of a share is a list without
        documents, which counts nowhere.
        """
        other = copy.copy(self)
        other.rank, other.world = rank, world
        return other

    @property
    def _width(self) -> int:
        features = self.split.n_features
        return features if self.transform is None else self.transform.width(features)

    def features(self, rows: np.ndarray) -> Tensor:
        """Transformed features of these documents, `[document, column]` on the CPU."""
        if self.resident:
            held = self._kept().features
            assert held is not None
            return held[torch.from_numpy(rows).to(held.device)].cpu()
        x = np.array(self.split.features[rows], dtype=np.float32)
        return torch.from_numpy(x if self.transform is None else self.transform.apply(x))

    @property
    def n_documents(self) -> int:
        """Documents of an epoch, padding not counted."""
        return int(self._length.sum())

    def __iter__(self) -> Iterator[Batch]:
        epoch = self._planned()
        # One transfer an epoch: after it batches are cut from tensors of the device without asking the host.
        order = torch.from_numpy(self._query[epoch.order]).to(self._home)
        held = self._kept()
        base = seed_of("documents", self.seed, self.epoch)
        turns = self._turns()
        weights = None
        if self.split.weights is not None:  # padding, row -1, weighs nothing
            weights = torch.from_numpy(np.append(self.split.weights, 0.0).astype(np.float32)).to(self.device)

        def one(i: int) -> Batch:
            lists = order[epoch.cut[i] : epoch.cut[i + 1]]
            own = lists[self.rank :: self.world]
            missing = -(-len(lists) // self.world) - len(own)  # 0 or 1
            own = torch.cat([own, lists[:missing]]) if missing else own
            drawn = self._rows(own, epoch.width[i], epoch.longest[i], base)
            if self._windows is not None:
                batch = self._cut(own, *drawn, self._windows.get(epoch.window[i], turns[epoch.window[i]]))
            else:
                batch = self._mapped(own, *drawn) if held.features is None else self._cut(own, *drawn, held.features)
            batch = _without_last(batch) if missing else batch
            return batch if weights is None else replace(batch, weights=weights[batch.document])

        if self.resident or self._windows is not None:
            for i in epoch.sequence:
                yield one(i)
            return
        # The next batch is read from disk while this one is computed on.
        with ThreadPoolExecutor(1, thread_name_prefix="ltr-batches") as reader:
            coming = None
            for i in epoch.sequence:
                ready, coming = coming, reader.submit(one, i)
                if ready is not None:
                    yield ready.result()
            if coming is not None:
                yield coming.result()

    def gather(self, score: Callable[[Batch], Tensor]) -> Tensor | None:
        """Scores of every document, float32 `[documents]` or `[documents, ...]` in the split's order, on the device.

        Args:
            score: from a batch to scores `[batch, list]` or `[batch, list, ...]`.

        Returns:
            The scores; None where there is no document.
        """
        if self.list_size is not None:
            raise InputError("a cut list leaves documents without a score", do="Score with list_size=None")
        out: Tensor | None = None
        for batch in self:
            scores = score(batch)
            if out is None:
                # One row more than documents: padding carries row -1, so what is computed for it lands there.
                out = scores.new_zeros((self.split.n_documents + 1, *scores.shape[2:]), dtype=torch.float32)
            out[batch.document] = scores.detach().to(torch.float32)
        return None if out is None else out[:-1]

    def _planned(self) -> Plan:
        if self._plan is None or self._plan[0] != self.epoch:
            jitter = self.jitter if self.shuffle else None
            drawn = plan(self._length, self._full, self._cuts, self.seed, self.epoch, jitter, self._window)
            self._plan = (self.epoch, drawn)
        return self._plan[1]

    def _turns(self) -> dict[int, int]:
        """The window that follows each; after the last one the first of the next epoch."""
        count = int(self._window.max(initial=0)) + 1
        now, later = (window_order(count, self.epoch + e if self.shuffle else None).tolist() for e in (0, 1))
        return dict(zip(now, [*now[1:], later[0]], strict=True))

    # Below: one batch, on the device.

    def _kept(self) -> _Held:
        if self._held is None:
            self._held = self._hold(self._home)
        return self._held

    @property
    def _home(self) -> torch.device:
        """Where labels lie and batches are cut: beside the features."""
        return self.device if self.resident or self._windows is not None else torch.device("cpu")

    def _hold(self, home: torch.device) -> _Held:
        split = self.split
        offsets = torch.from_numpy(np.array(split.offsets, dtype=np.int64)).to(home)
        documents, objectives = split.n_documents, len(split.objectives)
        # The last row is zeros: padded cells point at it, and need no second pass over the batch.
        labels = torch.zeros((documents + 1, objectives), dtype=torch.float32, device=home)
        judged = split.labels is not None
        labels[:documents] = torch.from_numpy(np.array(split.labels, dtype=np.float32)) if judged else torch.nan
        features = None
        if self.resident:
            features = torch.zeros((documents + 1, self._width), dtype=torch.float32, device=home)
            read(split.features, [(0, documents)], self.transform, features)
            if self.transform is not None and self.transform.context and documents:
                fill_context(features[:documents], split.n_features, split.offsets)
        shift = None
        if self._windows is not None:
            shift = torch.zeros(split.n_queries, dtype=torch.int64)
            shift[torch.from_numpy(self._query)] = torch.from_numpy(self._windows.shift)
            shift = shift.to(home)
        return _Held(offsets, labels, features, shift)

    def _rows(self, query: Tensor, width: int, longest: int, base: int) -> tuple[Tensor, Tensor]:
        """Rows of the split `[batch, width]` (the last row + 1 where padded) and `where`."""
        offsets = self._kept().offsets
        first, length = offsets[query], offsets[query + 1] - offsets[query]
        if longest > width:
            position = sample(query, length, width, longest, base)
        else:
            position = torch.arange(width, device=query.device).expand(len(query), width)
        where = position < length[:, None]
        return torch.where(where, first[:, None] + position, self.split.n_documents), where

    def _cut(self, query: Tensor, rows: Tensor, where: Tensor, features: Tensor) -> Batch:
        """From all features, or those of the window; the last row is zeros."""
        held = self._kept()
        at = rows if held.shift is None else rows + held.shift[query][:, None]
        at = at if held.shift is None else torch.where(where, at, len(features) - 1)
        x = features.index_select(0, at.flatten()).view(*rows.shape, -1)
        labels = held.labels.index_select(0, rows.flatten()).view(*rows.shape, -1)
        return Batch(x, labels, where, query, rows.masked_fill(~where, -1))

    def _mapped(self, query: Tensor, rows: Tensor, where: Tensor) -> Batch:
        """From wherever the split's features lie."""
        pin = self.device.type == "cuda"
        raw = torch.empty((rows.numel(), self.split.n_features), dtype=torch.float32, pin_memory=pin)
        # "clip" writes straight into the pinned buffer; the rows beyond the end are padding and become zeros below.
        np.take(self.split.features, rows.flatten().numpy(), axis=0, out=raw.numpy(), mode="clip")
        labels = self._kept().labels.index_select(0, rows.flatten()).view(*rows.shape, -1)
        features, where_here = self._moved(raw), self._moved(where)
        if self.transform is not None:
            features = self.transform.apply(features)
        features = features.view(*rows.shape, -1).masked_fill(~where_here[..., None], 0.0)
        document = rows.masked_fill(~where, -1)
        return Batch(features, self._moved(labels), where_here, self._moved(query), self._moved(document))

    def _moved(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, non_blocking=self.device.type == "cuda")


def _without_last(batch: Batch) -> Batch:
    """The batch with the documents of its last list padded."""
    where = batch.where.clone()
    where[-1] = False
    labels, features = (x.masked_fill(~where[..., None], 0.0) for x in (batch.labels, batch.features))
    return replace(
        batch, features=features, labels=labels, where=where, document=batch.document.masked_fill(~where, -1)
    )


@dataclass(frozen=True, slots=True)
class _Held:
    """What stays in memory between batches; features only when resident, `shift` (windows.py) by query."""

    offsets: Tensor
    labels: Tensor
    features: Tensor | None
    shift: Tensor | None


def free_bytes(device: torch.device) -> int:
    """Memory a device can still give, in bytes."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()
