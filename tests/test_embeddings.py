"""Numeric embeddings: the published package computes the same, bins are those of train, every training has them."""

from __future__ import annotations

import numpy as np
import pytest
import rtdl_num_embeddings as rtdl
import torch
from toy_lists import SoftmaxCE, toy

from ltr.errors import InputError
from ltr.methods import make_method
from ltr.methods.export import fixed, ship
from ltr.rankers import fit_stacked, load_ranker, make_ranker, resolve_params, score_stacked
from ltr.rankers.embeddings import Periodic, Piecewise
from ltr.types import Split, Task

KINDS = {
    "piecewise": {"embeddings": "piecewise", "bins": 4, "embedding_size": 3},
    "periodic": {"embeddings": "periodic", "frequencies": 3, "embedding_size": 3},
}
NETS = {
    "mlp": {"hidden": (6,)},
    "transformer": {"width": 8, "blocks": 1, "d_ff": 8, "dropout": 0.0, "induced": 2},
}


def holed(seed: int) -> Split:
    """A toy whose second column misses a third of its values, and whose fourth is 0 in most rows."""
    split = toy(30, seed=seed)
    features = split.features.copy()
    features[::3, 1], features[::2, 3] = np.nan, 0
    features[::5, 3] = 0
    return Split.from_arrays(features, split.labels, split.lengths)


TRAIN, VALI, TEST = holed(0), holed(1), holed(2)


def make(name, kind, **more):
    settings = {
        "epochs": 2,
        "optimiser": "sgd",
        "learning_rate": 0.05,
    }  # Adam would blow up rounding
    return make_ranker(name, loss=SoftmaxCE(), **settings, **NETS[name], **KINDS[kind], **more)


@pytest.mark.filterwarnings("ignore:The .*-th feature has just two bin edges")
def test_piecewise_is_that_of_the_package():
    torch.manual_seed(0)
    x = torch.randn(200, 4)
    x[:, 1], x[:, 2] = (x[:, 1] > 0).float(), x[:, 2].clamp(min=0)
    bins = rtdl.compute_bins(x, n_bins=8)
    theirs, ours = rtdl.PiecewiseLinearEmbeddings(bins, 5, activation=False, version="B"), Piecewise(4, 5, 8)
    ours.prepare(x, torch.arange(4))
    assert [len(ends.unique()) for ends in ours.knots] == [len(ends) for ends in bins] == [9, 2, 6, 9]
    assert not ours.weight.any()
    torch.nn.init.normal_(theirs.linear.weight)
    with torch.no_grad():
        ours.slope.copy_(theirs.linear0.weight)
        ours.bias.copy_(theirs.linear0.bias)
        for j, ends in enumerate(bins):  # theirs keeps the last bin in the last place
            n = len(ends) - 1
            ours.weight[j, : n - 1] = theirs.linear.weight[j, : n - 1]
            ours.weight[j, n - 1] = theirs.linear.weight[j, -1]
    z = 3 * torch.randn(50, 4)  # beyond the ends, too
    torch.testing.assert_close(ours(z, z), theirs(z).flatten(-2), atol=1e-5, rtol=1e-5)


def test_periodic_is_that_of_the_package():
    torch.manual_seed(0)
    theirs = rtdl.PeriodicEmbeddings(4, 5, n_frequencies=3, frequency_init_scale=0.5, lite=False)
    ours, x = Periodic(4, 5, 3, 0.5), torch.randn(50, 4)
    with torch.no_grad():
        for own, their in ((ours.frequency, theirs.periodic.weight), (ours.weight, theirs.linear.weight)):
            own.copy_(their)
        ours.bias.copy_(theirs.linear.bias)
    torch.testing.assert_close(ours(x, x), theirs(x).flatten(-2), atol=1e-5, rtol=1e-5)


def test_missing_values_have_a_bin_of_their_own():
    ranker = make("mlp", "piecewise").fit(TRAIN, VALI)
    embed, n = ranker.net.inputs.embed, TRAIN.n_features
    assert embed.indicator.tolist() == [0, n, *range(2, n), n]
    known = ranker.transform.apply(TRAIN.features)[~np.isnan(TRAIN.features[:, 1]), 1]
    np.testing.assert_allclose(embed.knots[1], np.quantile(known, [0, 0.25, 0.5, 0.75, 1]), atol=1e-5)
    x = torch.from_numpy(ranker.transform.apply(TRAIN.features[:6]))
    e = embed(x, x).unflatten(-1, (n + 1, 3))
    assert not e[::3, 1].any() and e[1, 1].any()
    assert not torch.equal(e[0, n], e[1, n])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NETS)
def test_trains_alone_and_stacked_and_is_kept(name, kind, tmp_path):
    """Saved, loaded, exported and stacked with others it scores the same."""
    alone = [make(name, kind, seed=seed).fit(TRAIN, VALI) for seed in (0, 1)]
    alone[0].save(tmp_path / "kept")
    scores = alone[0].score(TEST)
    assert np.array_equal(load_ranker(tmp_path / "kept").score(TEST), scores)
    together = fit_stacked([make(name, kind, seed=seed) for seed in (0, 1)], TRAIN, VALI)
    assert np.array_equal(together[0].score(TEST), scores)
    np.testing.assert_allclose(score_stacked(alone, TEST), [each.score(TEST) for each in alone], atol=1e-5)
    first = fit_stacked([make(name, kind, seed=0) for _ in range(2)], TRAIN, VALI, order="first")
    np.testing.assert_allclose(first[1].score(TEST), scores, atol=1e-4)

    path = ship(fixed(alone[0]), tmp_path / "net.onnx")
    session = pytest.importorskip("onnxruntime").InferenceSession(str(path))
    n = int(TEST.lengths[0])
    given = {"features": TEST.features[None, :n], "where": np.ones((1, n), bool)}
    np.testing.assert_allclose(session.run(None, given)[0][0], scores[:n], atol=1e-4)


@pytest.mark.parametrize("kind", ["none", "concat", "film"])
def test_conditioned_nets_embed_too(kind):
    *two, third = [
        Split.from_arrays(s.features, np.stack([s.label(), 4 - s.label()], 1), s.lengths) for s in (TRAIN, VALI, TEST)
    ]
    name = {"none": "ls", "concat": "hyperdpo", "film": "hyperdpo"}[kind]
    params = {} if kind == "none" else {"conditioning": {"kind": kind}}
    net = {"hidden": (6,), **KINDS["piecewise"]}
    method = make_method(name, ranker="mlp", ranker_params=net, training={"epochs": 2}, **params)
    method.fit(Task("toy", "only", *two, third), preferences=np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert np.isfinite(method.score(third, np.array([[1.0, 0.0]]))).all()


def test_settings():
    assert resolve_params("mlp", {"embeddings": "none"}) == resolve_params("mlp", {})
    assert "embeddings" not in resolve_params("transformer", {})
    for wrong in ({"bins": 3}, {"embeddings": "periodic", "bins": 3}, {"embeddings": "piecewise", "frequencies": 2}):
        with pytest.raises(InputError, match="out of range"):
            make_ranker("mlp", **wrong)
