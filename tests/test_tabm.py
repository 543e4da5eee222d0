"""TabM: the published package computes the same, and the loss is that of its members or of their mean."""

from __future__ import annotations

import numpy as np
import pytest
import tabm
import torch
from toy_lists import SoftmaxCE, toy

from ltr.datasets.batching.batches import Batches
from ltr.methods.export import fixed, ship
from ltr.rankers import fit_stacked, make_ranker
from ltr.rankers.config import TabMConfig
from ltr.rankers.embeddings import Inputs
from ltr.rankers.nets import build
from ltr.rankers.tabm import scored

ARCHITECTURES = {"plain": "tabm", "mini": "tabm-mini", "packed": "tabm-packed"}
TRAIN, VALI, TEST = toy(20, seed=0), toy(20, seed=1), toy(20, seed=2)


def taken_over(net, theirs) -> None:
    """The weights of the package's model, put into ours; its packed matrices are the other way round."""
    state = {name.removeprefix("backbone."): value for name, value in theirs.state_dict().items()}
    affine = state.pop("affine.weight", None)
    turned = lambda value: value.mT if value.dim() == 3 else value  # noqa: E731
    ours = {"head.weight": turned(state["output.weight"]), "head.bias": state["output.bias"]}
    for i in range(len(net.layers)):
        for part in ("weight", "bias", "r", "s"):
            if (value := state.get(f"blocks.{i}.0.{part}")) is not None:
                ours[f"layers.{i}.{part}"] = turned(value)
    if affine is not None:
        ours["layers.0.r"] = affine
    net.load_state_dict(ours)


@pytest.mark.parametrize("form", ARCHITECTURES)
def test_it_is_that_of_the_package(form):
    torch.manual_seed(0)
    net = build(TabMConfig(hidden=(8, 8), members=4, form=form), 5).eval()
    init = None if form == "packed" else "random-signs"
    theirs = tabm.TabM.make(
        n_num_features=5, d_out=1, n_blocks=2, d_block=8, k=4, arch_type=ARCHITECTURES[form], start_scaling_init=init
    ).eval()
    if form != "packed":
        assert set(net.layers[0].r.unique().tolist()) == {-1.0, 1.0}
    taken_over(net, theirs)
    features, where = torch.randn(3, 6, 5), torch.arange(6) < torch.tensor([[6], [4], [1]])
    scores = net.member_scores(features, where)
    torch.testing.assert_close(scores[:, where], theirs(features[where]).squeeze(-1).mT, atol=1e-5, rtol=1e-5)
    assert not scores[:, ~where].any()
    torch.testing.assert_close(net(features, where), scores.mean(0))


def test_an_input_with_an_embedding_has_one_factor():
    torch.manual_seed(0)
    config = TabMConfig(hidden=(4,), members=3, embeddings="periodic", embedding_size=2)
    r = build(config, 5).layers[0].r.unflatten(1, (5, 2))
    assert Inputs(config, 5).width == 10
    assert torch.equal(r[..., 0], r[..., 1]) and len(r.unique()) == 15


def test_the_loss_is_that_of_the_members_or_of_their_mean():
    torch.manual_seed(0)
    batch, loss = next(iter(Batches(TRAIN))), SoftmaxCE()
    of = {}
    for on in ("members", "mean"):
        net = build(TabMConfig(hidden=(4,), members=3, loss_on=on), 6)
        scores, lists = scored(net, batch)
        labels = lists.labels[..., 0]
        of[on] = loss.reduce(loss(scores, labels, lists.where), labels, lists.where)
        labels = batch.labels[..., 0]
        each = [net(batch.features, batch.where)] if on == "mean" else net.member_scores(batch.features, batch.where)
        by_hand = [loss.reduce(loss(s, labels, batch.where), labels, batch.where) for s in each]
        torch.testing.assert_close(of[on], sum(by_hand) / len(by_hand))


def test_stacked_and_exported(tmp_path):
    make = lambda seed: make_ranker(  # noqa: E731
        "tabm",
        loss=SoftmaxCE(),
        seed=seed,
        hidden=(4,),
        members=3,
        epochs=2,
        dropout=0.2,
        embeddings="piecewise",
        bins=3,
    )
    alone = make(1).fit(TRAIN, VALI)
    scores = alone.score(TEST)
    assert np.array_equal(fit_stacked([make(0), make(1)], TRAIN, VALI)[1].score(TEST), scores)
    session = pytest.importorskip("onnxruntime").InferenceSession(str(ship(fixed(alone), tmp_path / "net.onnx")))
    n = int(TEST.lengths[0])
    given = {"features": TEST.features[None, :n], "where": np.ones((1, n), bool)}
    np.testing.assert_allclose(session.run(None, given)[0][0], scores[:n], atol=1e-4)
    weights = sum(p.numel() for p in alone.net.parameters())
    shared = sum(layer.weight.numel() for layer in alone.net.layers)
    documents = TRAIN.n_documents * len(alone.history)
    assert alone.cost["operations"] == 6 * (weights + 2 * shared) * documents
