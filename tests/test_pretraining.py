"""Pretraining without labels, and tasks whose training lists are labelled for some queries only."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_lists import toy

import ltr
from ltr.bench.suite import load_suite
from ltr.bench.suite.narrow import narrowed, restricted
from ltr.bench.suite.plan import main_jobs
from ltr.datasets.few_labels import few_labels
from ltr.errors import InputError
from ltr.rankers import make_ranker
from ltr.rankers.ensembles.pretrained import pretrain
from ltr.rankers.training.job import ObjectiveJob
from ltr.rankers.training.pretraining import contrastive_loss, corrupted, denoising_loss
from ltr.runs import execute, resolve
from ltr.runs.config import DataConfig, LossChoice, MethodChoice, RankerChoice, RunConfig
from ltr.runs.systems import system_of
from ltr.schema import write_toml
from ltr.types import Task

TASK = Task("toy", "one", toy(30, seed=0), toy(10, seed=1), toy(10, seed=2))
FEW = few_labels(TASK, 0.2, seed=0)
SETTINGS = {"base_params": {"hidden": [4]}, "epochs": 2, "learning_rate": 0.02, "batch_size": 8}
WHERE = torch.tensor([[True, True, True, False], [True, True, False, False], [True, False, False, False]])


def views(size: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(size)
    return [torch.randn(*WHERE.shape, size, generator=generator) for _ in range(2)]


def fitted(task=FEW, folder=None, **params):
    ranker = make_ranker("pretrained", loss="listnet", seed=3, **{**SETTINGS, **params})
    lists = {"unlabelled": task.unlabelled, "folder": folder, "progress": False}
    return ranker.fit(task.train, task.vali, accelerator="cpu", **lists)


def weights(ranker) -> dict[str, torch.Tensor]:
    return ranker.net.state_dict()


def test_contrast_is_the_obvious_loop():
    one, other = views(3)
    found = contrastive_loss(one, other, WHERE, 0.5)
    for values, first, second, where in zip(found, one, other, WHERE, strict=True):
        z = [v / v.norm() for v in [*first[where], *second[where]]]
        n, total = len(z) // 2, 0.0
        for a in range(2 * n):
            near = {b: math.exp(float(z[a] @ z[b]) / 0.5) for b in range(2 * n) if b != a}
            total -= math.log(near[(a + n) % (2 * n)] / sum(near.values()))
        assert float(values) == pytest.approx(total / (2 * n), abs=1e-5)
    assert float(found[2]) == pytest.approx(0, abs=1e-6)  # a document alone has no negative


def test_denoising_is_the_obvious_loop():
    x, decoded = views(5)
    for values, a, b, where in zip(denoising_loss(decoded, x, WHERE), x, decoded, WHERE, strict=True):
        errors = [(float(a[i, j]) - float(b[i, j])) ** 2 for i in range(4) if where[i] for j in range(5)]
        assert float(values) == pytest.approx(sum(errors) / len(errors), rel=1e-5)


def test_padding_has_no_part_in_the_losses():
    """Neither in their values nor in their gradients, which stay finite; a list without documents costs nothing."""
    where = torch.cat([WHERE, torch.zeros(1, 4, dtype=torch.bool)])
    x, other = (torch.cat([v, v[:1]]).requires_grad_() for v in views(5))
    for loss in (lambda a, b: contrastive_loss(a, b, where, 0.1), lambda a, b: denoising_loss(a, b, where)):
        values = loss(x, other)
        assert values[-1].item() == 0
        for gradient in torch.autograd.grad(values.sum(), (x, other)):
            assert gradient.isfinite().all() and (gradient[~where] == 0).all()
        moved = [torch.where(where.unsqueeze(-1), v, 9.0) for v in (x, other)]
        torch.testing.assert_close(loss(*moved), values)


def test_values_are_replaced_by_those_of_other_documents():
    x = torch.arange(400.0).view(4, 20, 5) + 1
    where = torch.arange(20) < torch.tensor([20, 15, 3, 9])[:, None]
    swapped = corrupted(x, where, 0.4, "swap", torch.Generator().manual_seed(0))
    changed = swapped != x
    assert not changed[~where].any() and 0.3 < changed[where].float().mean() < 0.45  # a value may meet itself
    for j in range(5):
        assert set(swapped[where][:, j].tolist()) <= set(x[where][:, j].tolist())
    zeros = corrupted(x, where, 0.4, "zero", torch.Generator().manual_seed(0)) == 0
    assert 0.3 < zeros.float().mean() < 0.5


def test_labels_that_may_not_be_used_are_not():
    """Shuffled labels of the other lists, and in the first training of any list and validation, change no weight."""
    other = np.ones(TASK.train.n_documents, bool)
    kept = np.isin(TASK.train.query_ids, FEW.train.query_ids)
    other[np.repeat(kept, TASK.train.lengths)] = False
    labels = TASK.train.labels.copy()
    labels[other] = np.random.default_rng(0).permutation(labels[other])
    assert (labels != TASK.train.labels).any()
    shuffled = few_labels(replace(TASK, train=TASK.train.having(labels=labels)), 0.2, seed=0)
    for pretext in ("contrast", "denoising"):
        for base, params in (("mlp", {"hidden": [4]}), ("transformer", {"width": 4, "blocks": 1, "d_ff": 4})):
            one, two = (fitted(t, pretext=pretext, base=base, base_params=params) for t in (FEW, shuffled))
            np.testing.assert_array_equal(one.score(TASK.test), two.score(TASK.test))
            assert math.isfinite(one.best["pretraining_loss"])
    given = ((TASK.train.labels, TASK.vali), (labels[::-1], None))
    jobs = (ObjectiveJob(train=TASK.train.having(labels=y), vali=v, accelerator="cpu") for y, v in given)
    one, two = (weights(pretrain(fitted().config, fitted().training, job)) for job in jobs)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_second_training_begins_where_the_first_ended(tmp_path):
    """Steps of next to no length leave the pretrained weights; the first training has moved them, all but the last
    layer, by every unlabelled list."""
    still = fitted(epochs=1, learning_rate=1e-20, pretraining={"epochs": 3, "learning_rate": 0.02})
    job = ObjectiveJob(train=FEW.train, vali=None, seed=3, accelerator="cpu", unlabelled=FEW.unlabelled)
    begun = pretrain(still.config, still.training, job)
    end, start = weights(still.models[0]), weights(begun)
    for name in start:
        torch.testing.assert_close(end[name], start[name], rtol=0, atol=1e-12)
    fresh = make_ranker("mlp", hidden=[4])
    fresh.build(FEW.train.n_features, 3)
    moved = [name for name, value in weights(fresh).items() if not torch.equal(value, start[name])]
    assert moved == [name for name in start if not name.startswith("head.")]
    assert still.models[0].transform.same(begun.transform)
    np.testing.assert_allclose(begun.history[-1]["loss"], still.best["pretraining_loss"])
    alone = fitted(replace(FEW, unlabelled=None))
    assert not alone.models[0].transform.same(begun.transform)
    once, twice = (fitted(folder=tmp_path).score(TASK.test) for _ in range(2))  # from finished checkpoints
    np.testing.assert_array_equal(once, twice)
    np.testing.assert_array_equal(once, fitted().score(TASK.test))


def test_every_system_of_a_seed_has_the_same_labels(tmp_path):
    task, half = ltr.load("synthetic:queries=60,features=50"), LossChoice("listnet")
    data = {share: DataConfig("synthetic:queries=60,features=50", labelled=share) for share in (0.1, 0.5)}
    systems = [
        {"ranker": RankerChoice("feature")},
        {"ranker": RankerChoice("lightgbm")},
        {"ranker": RankerChoice("pretrained"), "loss": half},
        {"method": MethodChoice("ls")},
    ]
    found = {}
    for seed in (0, 1):
        for share, where in data.items():
            for each in systems:
                both = replace(where, objectives=("relevance", "quality")) if "method" in each else where
                config = resolve(RunConfig(both, seed=seed, measures=("nDCG@10",) * (1 + ("method" in each)), **each))
                chosen = system_of(config).labelled(task).train.query_ids.tolist()
                assert found.setdefault((seed, share), chosen) == chosen
    assert len(found[0, 0.1]) == 4 and len(found[0, 0.5]) == 18
    assert set(found[0, 0.1]) < set(found[0, 0.5]) and found[0, 0.5] != found[1, 0.5]

    config = RunConfig(data[0.1], RankerChoice("pretrained"), half, measures=("nDCG@10",))
    config = replace(config, training=replace(resolve(config).training, epochs=1))
    record = execute(config, tmp_path / "run")
    assert record.status == "done" and record.notes[0] == "labels of 4 of 36 training lists are used"
    assert record.data["splits"]["train"]["queries"] == 4 and record.data["splits"]["unlabelled"]["queries"] == 36
    whole = execute(replace(config, data=replace(config.data, labelled=None)), tmp_path / "whole")
    assert whole.hashes["store"] == record.hashes["store"] and "unlabelled" not in whole.data["splits"]


def test_a_suite_of_shares(tmp_path):
    given = {
        "title": "t",
        "datasets": ["synthetic"],
        "labelled": [0.05, 1.0],
        "systems": [{"label": "Net", "ranker": "mlp", "losses": ["listnet"]}, {"label": "Best", "ranker": "feature"}],
    }
    write_toml(tmp_path / "s.toml", given)
    jobs = main_jobs(load_suite(tmp_path / "s.toml"), {"synthetic": ["Fold1"]})
    labels = [(job.system, job.config.data.labelled) for job in jobs]
    shares = ((0.05, "5 % labelled"), (1.0, "100 % labelled"))
    assert labels == [(f"{label}, {text}", share) for label in ("Net listnet", "Best") for share, text in shares]
    suite = load_suite(tmp_path / "s.toml")
    every = [v.label for v in suite.variants()]
    assert restricted(suite, every) == suite
    some = narrowed(suite, ["net listnet, 5"])
    assert [v.label for v in some.variants()] == ["Net listnet, 5 % labelled"]
    for wrong in ([0.0], [1.5], [0.5, 0.5]):
        write_toml(tmp_path / "s.toml", {**given, "labelled": wrong})
        with pytest.raises(InputError, match="labelled of a suite"):
            load_suite(tmp_path / "s.toml")


def test_what_cannot_be_is_refused():
    for wrong, said in (
        ({"base": "linear"}, "mlp, transformer, dasalc"),
        ({"corruption_rate": 0.0}, "a chance"),
        ({"temperature": 0.0}, "above 0"),
        ({"pretraining": {"transform": "none"}}, "training.transform"),
        ({"pretraining": {"epocs": 1}}, "Did you mean 'epochs'"),
    ):
        with pytest.raises(InputError, match=said):
            make_ranker("pretrained", **wrong)
    with pytest.raises(InputError, match="learns nothing from unlabelled"):
        make_ranker("feature").fit(FEW.train, unlabelled=FEW.unlabelled)
    with pytest.raises(InputError, match="other features"):
        make_ranker("pretrained", loss="listnet").fit(FEW.train, unlabelled=toy(4, features=3))
    for share in (0.0, 1.1):
        with pytest.raises(InputError, match="share"):
            few_labels(TASK, share, 0)
        with pytest.raises(InputError, match="share"):
            DataConfig("mq2008", labelled=share)
    with pytest.raises(InputError, match="neither pairs nor debias"):
        DataConfig("mq2008", labelled=0.5, debias="em")
