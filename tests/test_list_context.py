"""Rank and z-score within the list as inputs, and attention through points: each beside a slow form of itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from toy_lists import SoftmaxCE, toy

from ltr.datasets.batching.batches import Batches
from ltr.datasets.list_context import fill_context, list_context
from ltr.datasets.transforms import Transform, fit
from ltr.errors import InputError
from ltr.methods.export import fixed, ship
from ltr.rankers import load_ranker, make_ranker
from ltr.rankers.conditional.config import ConditioningConfig
from ltr.rankers.conditional.nets import Conditioned
from ltr.rankers.config import TransformerConfig
from ltr.rankers.induced import InducedAttention
from ltr.rankers.layers import attention_mask
from ltr.types import Split


def by_hand(x: np.ndarray) -> np.ndarray:
    """Context of one list `[document, feature]`."""
    sd = x.std(0, dtype=np.float64)
    z = np.divide(x - x.mean(0, dtype=np.float64), sd, out=np.zeros(x.shape), where=sd > 0)
    return np.concatenate([(rankdata(x, axis=0) - 0.5) / len(x) - 0.5, z], 1)


def lists() -> Split:
    split = toy(70, seed=0)
    features = np.round(split.features)  # ties
    features[:, 2] = 0.0
    features[::4, 1] = np.nan
    return Split.from_arrays(features, split.labels, np.insert(split.lengths, 3, 0))


def test_context_is_rank_and_z_score():
    split = lists()
    transform = fit("standardise", split.features, context=True)
    whole = np.zeros((split.n_documents, transform.width(6)), np.float32)
    x = whole[:, :7] = transform.apply(split.features)
    fill_context(torch.from_numpy(whole), 6, split.offsets)
    for a, b in zip(split.offsets, split.offsets[1:], strict=False):
        if a < b:
            np.testing.assert_allclose(whole[a:b, 7:], by_hand(x[a:b, :6]), atol=1e-5)
    assert not whole[:, 15].any(), "the z-score of a constant is 0"
    # A list that is sampled keeps the context it has as a whole.
    for batch in Batches(split, transform=transform, list_size=4):
        assert np.array_equal(batch.features[batch.where], whole[batch.document[batch.where]])
    with pytest.raises(InputError, match="computed once"):
        Batches(split, transform=transform, resident=False)


def test_padding_has_no_part_in_the_context():
    x, where = torch.randn(2, 5, 3), torch.tensor([[True] * 5, [True, True, False, False, False]])
    x[1, 2:] = torch.tensor([1e6, -1e6, torch.inf])[:, None]
    found = list_context(x, where)
    np.testing.assert_allclose(found[1, :2], by_hand(x[1, :2].numpy()), atol=1e-5)
    assert not found[~where].any()


def test_a_ranker_with_context_is_kept_and_exported(tmp_path):
    split = lists()
    common = {"loss": SoftmaxCE(), "hidden": (4,), "epochs": 2}
    ranker = make_ranker("mlp", context="list", embeddings="piecewise", bins=3, **common).fit(split, split)
    scores = ranker.score(split)
    ranker.save(tmp_path / "kept")
    assert np.array_equal(load_ranker(tmp_path / "kept").score(split), scores)
    back = Transform.load(tmp_path / "kept" / "transform.npz")
    assert back.same(ranker.transform) and back.context
    assert not back.same(Transform(back.name, back.arrays, back.missing))
    alone = Split.from_arrays(split.features, None, np.ones(split.n_documents, dtype=int))
    assert not np.allclose(ranker.score(alone), scores, atol=1e-3), "it sees the list"
    assert make_ranker("mlp", context="none").training == make_ranker("mlp").training
    session = pytest.importorskip("onnxruntime").InferenceSession(str(ship(fixed(ranker), tmp_path / "net.onnx")))
    n = int(split.lengths[0])
    given = {
        "features": np.pad(split.features[None, :n], ((0, 0), (0, 2), (0, 0))),
        "where": np.arange(n + 2)[None] < n,
    }
    np.testing.assert_allclose(session.run(None, given)[0][0, :n], scores[:n], atol=1e-4)


def test_induced_attention_is_two_attentions():
    torch.manual_seed(0)
    net, x = InducedAttention(6, 2, 3), torch.randn(2, 5, 6)
    where = torch.tensor([[True] * 5, [True, True, True, False, False]])
    expected = torch.zeros(2, 5, 6)
    for b, n in enumerate((5, 3)):
        k, v, q = net.documents(x[b, :n]).chunk(3, -1)
        h = [(net.points[:, s] @ k[:, s].T / 3**0.5).softmax(-1) @ v[:, s] for s in (slice(0, 3), slice(3, 6))]
        own, told = net.told(torch.cat(h, -1)).chunk(2, -1)
        y = [(q[:, s] @ own[:, s].T / 3**0.5).softmax(-1) @ told[:, s] for s in (slice(0, 3), slice(3, 6))]
        expected[b, :n] = net.out(torch.cat(y, -1))
    torch.testing.assert_close(net(x, attention_mask(where))[where], expected[where])
    torch.testing.assert_close(net(x[where], [5, 3]), expected[where])
    for kind in ("prompt", "prefix", "readout"):
        with pytest.raises(InputError, match="attention between documents"):
            Conditioned(TransformerConfig(induced=2), ConditioningConfig(kind), 5, 2)
