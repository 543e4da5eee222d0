"""Batches: every document once, little padding, an order of (seed, epoch) only, and memory equal to disk."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ltr.datasets import transforms
from ltr.datasets.batching.batches import Batches
from ltr.datasets.batching.bucketing import cuts, plan, sample
from ltr.errors import InputError
from ltr.types import Split

FIELDS = ("features", "labels", "where", "query", "document")


def web_lengths(queries: int, seed: int = 0) -> np.ndarray:
    r = np.random.default_rng(seed)
    return np.clip(np.round(np.exp(r.normal(np.log(104), 0.55, queries))), 1, 900).astype(int)


def split_of(lengths, features: int = 3, objectives: int = 2) -> Split:
    """Every number says which row it belongs to."""
    rows = np.arange(np.sum(lengths), dtype=np.float32)
    x = rows[:, None] + np.arange(features, dtype=np.float32) / 8
    y = (rows[:, None] * 7 + np.arange(objectives)) % 5
    return Split.from_arrays(x, y, lengths, objectives=[f"o{k}" for k in range(objectives)])


def documents(batch) -> np.ndarray:
    return batch.document[batch.where].cpu().numpy()


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("size", [{"cells": 500}, {"batch_size": 7}, {"cells": 400, "batch_size": 3}])
def test_every_document_once_and_aligned(device, resident, shuffle, size):
    split = split_of([5, 1, 0, 90, 40, 41, 39, 700, 3, 3, 3, 0, 12], objectives=3)
    batches = Batches(split, shuffle=shuffle, resident=resident, device=device, **size)
    seen, count = [], 0
    for batch in batches:
        count += 1
        seen.append(documents(batch))
        b, n = batch.where.shape
        assert batch.features.shape == (b, n, 3) and batch.labels.shape == (b, n, 3)
        assert all(getattr(batch, f).device.type == torch.device(device).type for f in FIELDS)
        assert batch.where.sum(1).max() == n  # padded to its own longest list
        assert b == 1 or b * n <= size.get("cells", np.inf)
        assert b <= size.get("batch_size", np.inf)
        rows = batch.document.cpu().numpy()
        where = batch.where.cpu().numpy()
        assert ((rows == -1) == ~where).all()
        assert np.array_equal(batch.features.cpu().numpy()[where], split.features[rows[where]])
        assert np.array_equal(batch.labels.cpu().numpy()[where], split.labels[rows[where]])
        assert (batch.features.cpu().numpy()[~where] == 0).all() and (batch.labels.cpu().numpy()[~where] == 0).all()
        for q, list_rows, kept in zip(batch.query.tolist(), rows, where, strict=True):
            assert np.array_equal(list_rows[kept], np.arange(split.offsets[q], split.offsets[q + 1]))
    assert np.array_equal(np.sort(np.concatenate(seen)), np.arange(split.n_documents))
    assert count == len(batches)


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=40),
    cells=st.none() | st.integers(1, 300),
    lists=st.none() | st.integers(1, 9),
    jitter=st.floats(0, 0.5),
    epoch=st.integers(0, 5),
)
def test_budget_holds_in_every_epoch_with_the_same_number_of_batches(lengths, cells, lists, jitter, epoch):
    n = np.array(lengths)
    cut = cuts(n, cells, lists, jitter)
    drawn = plan(n, n, cut, seed=0, epoch=epoch, jitter=jitter)
    assert sorted(drawn.order.tolist()) == list(range(len(n))) and sorted(drawn.sequence) == list(range(len(cut) - 1))
    for a, b, width in zip(cut, cut[1:], drawn.width, strict=False):
        assert width == n[drawn.order[a:b]].max()
        assert lists is None or b - a <= lists
        assert cells is None or b - a == 1 or (b - a) * width <= cells


def padding(batches: Batches) -> float:
    """Padded cells of an epoch, as a fraction of all."""
    where = [batch.where for batch in batches]
    assert sum(int(each.sum()) for each in where) == batches.n_documents
    return 1 - batches.n_documents / sum(each.numel() for each in where)


def test_padding_on_web_search_lengths():
    """Under a tenth at the size of a WEB10K fold and well below it; random batches of the same lists pad half."""
    split = split_of(web_lengths(6_000), features=1, objectives=1)
    for size in ({}, {"batch_size": 64}, {"cells": 32_768}, {"batch_size": 64, "list_size": 240}):
        batches = Batches(split, shuffle=True, **size)
        for epoch in range(3):
            batches.set_epoch(epoch)
            assert padding(batches) < 0.10, (size, epoch)
    assert padding(Batches(split_of(web_lengths(2_000), features=1, objectives=1), shuffle=True)) < 0.10
    lengths = np.random.default_rng(0).permutation(split.lengths)[: 93 * 64].reshape(93, 64)
    assert 1 - lengths.sum() / (lengths.max(1).sum() * 64) > 0.45


@pytest.mark.parametrize("name", transforms.NAMES)
@pytest.mark.parametrize("settings_", [{"shuffle": True, "list_size": 20}, {}])
def test_resident_equals_memory_mapped(tmp_path, device, name, settings_):
    r = np.random.default_rng(0)
    lengths = r.integers(0, 60, 40)
    x = np.exp(r.normal(0, 3, (lengths.sum(), 9))).astype(np.float32)
    x[::7, 2] = np.nan  # an indicator column comes with it
    np.save(tmp_path / "x.npy", x)
    y = r.integers(0, 5, (len(x), 2)).astype(np.float32)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    offsets = np.concatenate([[0], lengths.cumsum()])
    split = Split(mapped, y, offsets, np.arange(len(lengths)).astype(str), objectives=("a", "b"))
    fitted = transforms.fit(name, split.features)
    made = [Batches(split, cells=300, device=device, transform=fitted, resident=r, **settings_) for r in (True, False)]
    for batches in made:
        batches.set_epoch(2)
    for one, other in zip(*made, strict=True):
        for field in FIELDS:
            assert torch.equal(getattr(one, field), getattr(other, field)), field


def test_order_depends_on_seed_and_epoch_only():
    split = split_of(web_lengths(60))

    def epoch_of(seed, epoch, before=()):
        batches = Batches(split, shuffle=True, cells=1_500, list_size=50, seed=seed)
        for earlier in before:
            batches.set_epoch(earlier)
            list(batches)
        batches.set_epoch(epoch)
        return [documents(b).tolist() for b in batches]

    assert epoch_of(1, 4) == epoch_of(1, 4, before=(0, 1, 2))
    assert epoch_of(1, 4) != epoch_of(1, 5)
    assert epoch_of(1, 4) != epoch_of(2, 4)
    still = Batches(split, cells=1_500)
    first = [b.query.tolist() for b in still]
    still.set_epoch(9)
    assert first == [b.query.tolist() for b in still]


def test_who_meets_whom_changes_between_epochs():
    """The jitter mixes neighbours: batches are not the same sets in another order."""
    batches = Batches(split_of(web_lengths(300)), shuffle=True, batch_size=10)
    sets = []
    for epoch in (0, 1):
        batches.set_epoch(epoch)
        sets.append({frozenset(b.query.tolist()) for b in batches})
    assert len(sets[0] & sets[1]) < len(sets[0]) / 4


def test_sampled_documents_depend_on_seed_epoch_and_query_not_on_the_batch():
    split = split_of([100, 60, 30, 200, 10])

    def chosen(epoch=0, seed=0, **size):
        batches = Batches(split, list_size=20, shuffle=True, seed=seed, **size)
        batches.set_epoch(epoch)
        return {
            q: rows[kept].tolist()
            for b in batches
            for q, rows, kept in zip(b.query.tolist(), b.document.numpy(), b.where.numpy(), strict=True)
        }

    alone, together = chosen(batch_size=1), chosen(batch_size=5)
    assert alone == together
    for q, rows in alone.items():
        n = int(split.lengths[q])
        assert len(set(rows)) == min(n, 20) and rows == sorted(rows)
        assert split.offsets[q] <= rows[0] and rows[-1] < split.offsets[q + 1]
    for other in (chosen(epoch=1, batch_size=5), chosen(seed=1, batch_size=5)):
        assert all((alone[q] != other[q]) == (split.lengths[q] > 20) for q in alone)


def test_sampling_is_uniform():
    """Each of 50 documents stays in 10/50 of the epochs; 4.5 sigma over 50 documents and 4,000 draws."""
    length = torch.full((1,), 50)
    query = torch.zeros(1, dtype=torch.int64)
    draws = torch.cat([sample(query + q, length, 10, 50, base) for q in range(40) for base in range(100)])
    frequency = torch.bincount(draws.flatten(), minlength=50) / 4_000
    assert (frequency - 0.2).abs().max() < 4.5 * (0.2 * 0.8 / 4_000) ** 0.5
    pairs = ((draws == 3).any(1) & (draws == 17).any(1)).float().mean()
    assert abs(pairs - (10 * 9) / (50 * 49)) < 4.5 * (0.037 * 0.963 / 4_000) ** 0.5


def test_scores_come_back_to_their_documents(device):
    split = split_of([3, 50, 0, 7, 7, 20])
    batches = Batches(split, cells=60, shuffle=True, device=device)
    one = batches.gather(lambda b: b.features[..., 0].masked_fill(~b.where, torch.nan))
    assert np.array_equal(one.cpu().numpy(), np.arange(split.n_documents))
    two = batches.gather(lambda b: torch.where(b.where[..., None], b.features[..., :2], torch.nan))
    assert np.array_equal(two.cpu().numpy(), split.features[:, :2])
    with pytest.raises(InputError, match="list_size=None"):
        Batches(split, list_size=5).gather(lambda b: b.features[..., 0])


def test_unjudged_documents_have_no_label_value():
    split = Split.from_arrays(np.zeros((5, 2)), group=[2, 3])
    (batch,) = Batches(split)
    assert batch.labels[batch.where].isnan().all() and (batch.labels[~batch.where] == 0).all()


def test_empty_splits_have_no_batches():
    for lengths in ([], [0, 0]):
        split = Split.from_arrays(np.zeros((0, 2)), np.zeros((0, 1)), lengths)
        for resident in (True, False):
            batches = Batches(split, shuffle=True, resident=resident)
            assert len(batches) == 0 and list(batches) == []
            assert batches.gather(lambda b: b.features[..., 0]) is None


def test_resident_auto_weighs_free_memory(monkeypatch):
    split = split_of([10, 10], features=4)  # 320 bytes
    for free, expected in ((641, True), (640, False)):
        monkeypatch.setattr("ltr.datasets.batching.batches.free_bytes", lambda device, free=free: free)
        assert Batches(split).resident is expected
        assert Batches(split, resident=not expected).resident is not expected


class TestWindows:
    """A split that memory does not hold: windows of blocks from all over the file, each shuffled as if it were all."""

    def split(self, tmp_path, lengths):
        made = split_of(lengths)
        np.save(tmp_path / "x.npy", np.concatenate([np.full((5, 3), -1, np.float32), made.features]))
        return made.having(features=np.load(tmp_path / "x.npy", mmap_mode="r")[5:])

    def test_every_document_once_aligned_and_as_if_resident(self, tmp_path, device):
        lengths = np.random.default_rng(0).integers(0, 30, 300)
        split = self.split(tmp_path, lengths)
        transform = transforms.fit("standardise", split.features)
        for kept in ({"shuffle": True, "list_size": 20}, {"shuffle": False}):
            for made in (None, transform):
                common = {"cells": 300, "shuffle_buffer": 1_000, "transform": made, "device": device, **kept}
                mapped, resident = (Batches(split, resident=r, **common) for r in (False, True))
                counts = set()
                for epoch in range(3):
                    mapped.set_epoch(epoch)
                    resident.set_epoch(epoch)
                    seen = []
                    for one, other in zip(mapped, resident, strict=True):
                        for field in FIELDS:
                            assert torch.equal(getattr(one, field), getattr(other, field)), field
                        seen.append(documents(one))
                    counts.add(len(seen))
                    seen = np.sort(np.concatenate(seen))
                    assert len(np.unique(seen)) == len(seen) == np.minimum(lengths, kept.get("list_size", 99)).sum()
                assert counts == {len(mapped)}

    def test_who_meets_whom(self, tmp_path):
        """Batches stay within a window, a window has lists from all over, windows come in another order each epoch,
        and the order is one of (seed, epoch)."""
        split = self.split(tmp_path, [10] * 4_000)

        def queries(epoch, seed=0, size=10_000):
            batches = Batches(split, batch_size=20, shuffle=True, seed=seed, resident=False, shuffle_buffer=size)
            batches.set_epoch(epoch)
            return batches._window, [b.query.tolist() for b in batches]

        window, first = queries(0)
        assert first == queries(0)[1] and first != queries(0, seed=1)[1]
        lists = np.bincount(window)
        assert len(lists) == 5 and lists.min() > 700
        for w in range(len(lists)):  # a quarter from each quarter of the file, give or take
            assert (np.bincount(np.flatnonzero(window == w) // 1_000) > lists[w] / 8).all()
        orders = set()
        for epoch, seed in ((0, 0), (0, 1), (1, 0), (2, 0)):
            met = [set(window[batch].tolist()) for batch in queries(epoch, seed)[1]]
            assert all(len(each) == 1 for each in met)
            changes = [w for w, before in zip(met, [None, *met], strict=False) if w != before]
            assert len(changes) == len(lists)
            orders.add(str(changes))
        assert len(orders) == 3  # of three epochs, whatever the seed
        assert queries(2, size=10**9)[1] == queries(2, size=0)[1]  # one window is the plain order

    def test_what_decides_and_what_is_said(self, tmp_path, monkeypatch):
        split = self.split(tmp_path, [10, 10])  # 240 bytes
        module = "ltr.datasets.batching.batches"
        monkeypatch.setattr(f"{module}.free_bytes", lambda device: 100)
        for memory, past in ((479, True), (480, False)):
            monkeypatch.setattr(f"{module}.all_memory", lambda memory=memory: memory)
            made = Batches(split)
            assert (made._windows is not None, bool(made.note)) == (past, past)
            assert len(list(made)) == 1
            assert not Batches(split_of([10, 10])).note  # in memory already
            assert not Batches(split, shuffle_buffer=0).note and not Batches(split, shuffle_buffer=5).note

    def test_side_by_side(self, tmp_path):
        """Two seeds in step share the windows in memory; out of step each still has its own documents."""
        split = self.split(tmp_path, [10] * 400)
        one = Batches(split, batch_size=10, shuffle=True, resident=False, shuffle_buffer=1_000)
        other = one.with_seed(1)
        for a, b in zip(one, other, strict=True):
            assert all(np.array_equal(x.features[x.where], split.features[documents(x)]) for x in (a, b))
            assert len(one._windows._held) <= 2 and one._windows is other._windows
        late = iter(other)
        next(late)
        for a in one:
            assert np.array_equal(a.features[a.where], split.features[documents(a)])
        b = next(late)
        assert np.array_equal(b.features[b.where], split.features[documents(b)])


def test_stopping_early_leaves_no_reader_behind():
    import threading

    batches = Batches(split_of([10] * 20), lists=2, resident=False)  # the former name of batch_size
    assert batches.batch_size == 2
    for _ in batches:
        break
    assert not [t for t in threading.enumerate() if t.name.startswith("ltr-batches")]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"cells": 0}, "cells"),
        ({"batch_size": -1}, "batch_size"),
        ({"list_size": 0}, "list_size"),
        ({"jitter": 1.0}, "jitter"),
        ({"resident": "yes"}, "resident"),
        ({"shuffle_buffer": -1}, "shuffle_buffer"),
    ],
)
def test_settings_out_of_range(bad, message):
    with pytest.raises(InputError, match=message):
        Batches(split_of([3]), **bad)


def test_batches_need_no_lightning():
    code = "import sys, ltr.datasets.batching.batches, ltr.datasets.transforms; assert 'lightning' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


class TestLightning:
    """The Lightning face: no warnings, the right epoch, and a resumed run that meets the same batches."""

    # Lightning 2.6 builds torch's LeafSpec, which torch 2.13 deprecates, whenever it wraps a loader.
    pytestmark = pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.`:FutureWarning")

    def fit(self, tmp_path, epochs, *, checkpoint=None, keep=False):
        import lightning

        from ltr.datasets.batching.datamodule import ListDataModule

        class Net(lightning.LightningModule):
            def __init__(self):
                super().__init__()
                self.layer = torch.nn.Linear(3, 1)
                self.seen = []

            def training_step(self, batch, index):
                self.seen.append((self.current_epoch, documents(batch).tolist()))
                return self.layer(batch.features).square().masked_fill(~batch.where[..., None], 0.0).mean() * 1e-9

            def validation_step(self, batch, index):
                assert not self.trainer.sanity_checking or index < 2

            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), 1e-9)

        split = split_of(web_lengths(40))
        train = Batches(split, shuffle=True, cells=1_000, list_size=60, seed=3)
        trainer = lightning.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        net = Net()
        trainer.fit(net, datamodule=ListDataModule(train, Batches(split)), ckpt_path=checkpoint)
        if keep:
            trainer.save_checkpoint(tmp_path / "half.ckpt")
        assert len(net.seen) == len(train) * (epochs - (net.seen[0][0] if net.seen else 0))
        return net.seen

    def test_every_epoch_and_resume(self, tmp_path):
        whole = self.fit(tmp_path, 4)
        assert [e for e, _ in whole] == sorted(e for e, _ in whole) and {e for e, _ in whole} == {0, 1, 2, 3}
        half = self.fit(tmp_path, 2, keep=True)
        rest = self.fit(tmp_path, 4, checkpoint=tmp_path / "half.ckpt")
        assert half + rest == whole
        epochs = [sorted(d for e, batch in whole if e == epoch for d in batch) for epoch in range(4)]
        assert epochs[0] != epochs[1]  # another sample of the long lists
        assert len({len(e) for e in epochs}) == 1

    def test_validation_sees_whole_lists(self):
        from ltr.datasets.batching.datamodule import ListDataModule

        split = split_of([5, 6])
        for wrong in ({"shuffle": True}, {"list_size": 3}):
            with pytest.raises(InputError, match="whole lists"):
                ListDataModule(Batches(split), Batches(split, **wrong))
