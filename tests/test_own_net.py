"""A module of a user is a ranker like any other: one registered class, trained, resumed, stacked, bagged and kept."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch import nn
from toy_lists import Jittered, SoftmaxCE, toy

from ltr.errors import InputError
from ltr.rankers import RANKERS, fit_stacked, load_ranker, make_ranker, register_net, resolve_params, score_stacked

TRAIN, VALI, TEST = toy(seed=0), toy(30, seed=1), toy(40, seed=2)
TRAINING = {"epochs": 4, "patience": 1, "learning_rate": 0.02, "batch_size": 8, "clip": 1.0}


class DeepSets(nn.Module):
    """A document and the mean of its list."""

    def __init__(self, n_features: int, hidden: int = 8, dropout: float = 0.1, widths: tuple[int, ...] = ()):
        super().__init__()
        self.own, self.all = nn.Linear(n_features, hidden), nn.Linear(n_features, hidden, bias=False)
        self.norm = nn.BatchNorm1d(hidden)  # has a counter that is no float
        self.drop, self.last = nn.Dropout(dropout), nn.Linear(hidden, 1)
        self.scale = nn.Parameter(torch.ones(1))  # of its own, in no part

    def forward(self, features, where):
        mean = (features * where.unsqueeze(-1)).sum(1, keepdim=True) / where.sum(1)[:, None, None].clamp(min=1)
        hidden = self.norm(torch.relu(self.own(features) + self.all(mean)).flatten(0, 1)).view(*where.shape, -1)
        return self.scale * self.last(self.drop(hidden)).squeeze(-1)


@pytest.fixture(scope="module", autouse=True)
def registered():
    """The module under a name, for the tests of this file only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RANKERS, "_entries", {entry.name: entry for entry in RANKERS})
        register = register_net("deepsets", formula="s = w . relu(W x + mean of V x)", source="Zaheer et al. 2017")
        assert register(DeepSets) is DeepSets
        yield


def make(seed=0, loss=None, **params):
    return make_ranker("deepsets", seed=seed, loss=loss or SoftmaxCE(), **{**TRAINING, **params})


def fit(ranker, **options):
    return ranker.fit(TRAIN, VALI, accelerator="cpu", **options)


@pytest.fixture(scope="module")
def fitted():
    return fit(make())


def test_its_arguments_are_the_parameters_of_the_ranker(fitted):
    assert resolve_params("deepsets", {"hidden": 4}) == {"hidden": 4, "dropout": 0.1, "widths": []}
    with pytest.raises(InputError, match="Did you mean 'hidden'"):
        make(hiden=4)
    with pytest.raises(InputError, match="hidden.*expected an integer"):
        make(hidden="many")
    assert pickle.loads(pickle.dumps(fitted.config)) == fitted.config
    assert RANKERS["deepsets"].source == "Zaheer et al. 2017"
    assert fitted.n_parameters == 2 * 6 * 8 + 8 + 2 * 8 + 9 + 1


def test_it_trains_and_is_kept(fitted, tmp_path):
    assert fitted.best["vali"] > 0.6 and np.isfinite(fitted.score(TEST)).all()
    assert np.array_equal(fit(make()).score(TEST), fitted.score(TEST))
    assert not np.array_equal(fit(make(seed=1)).score(TEST), fitted.score(TEST))
    fitted.save(tmp_path / "kept")
    back = load_ranker(tmp_path / "kept").to("cpu")
    assert np.array_equal(back.score(TEST), fitted.score(TEST)) and back.config == fitted.config


def test_padding_does_not_reach_documents(fitted):
    """Each list alone, without padding, has the scores it had beside longer ones."""
    alone = np.concatenate([fitted.score(TEST.take([q])) for q in range(TEST.n_queries)])
    np.testing.assert_allclose(alone, fitted.score(TEST), atol=1e-5)


def test_a_stopped_training_continues(tmp_path):
    class Stop(Exception):
        pass

    def stop(event):
        if event.epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        fit(make(patience=0), folder=tmp_path, progress=stop)
    assert np.array_equal(fit(make(patience=0), folder=tmp_path).score(TEST), fit(make(patience=0)).score(TEST))


@pytest.mark.parametrize("order", ["own", "first"])
def test_stacked_training_is_training_alone(order):
    """No product of stacked weights knows this module, so members go one by one: bit for bit what they are alone."""
    members = [make(seed, Jittered(), learning_rate=rate) for seed, rate in ((3, 0.02), (4, 0.01), (3, 0.05))]
    fit_stacked(members, TRAIN, VALI, order=order, accelerator="cpu")
    for member in members:
        alone = fit(make(member.seed, Jittered(), learning_rate=member.training.learning_rate))
        assert np.array_equal(member.score(TEST), alone.score(TEST)) and member.history == alone.history
    assert np.array_equal(score_stacked(members, TEST), np.stack([member.score(TEST) for member in members]))


def test_it_can_be_bagged():
    bag = make_ranker("bagged", base="deepsets", members=2, base_params={"hidden": 4}, loss=SoftmaxCE(), **TRAINING)
    scores = bag.fit(TRAIN, VALI, accelerator="cpu").score(TEST)
    np.testing.assert_allclose(scores, np.mean([model.score(TEST) for model in bag.models], 0), atol=1e-6)


def test_a_function_will_do_and_what_will_not_is_said():
    @register_net("by-a-function", independent=True)
    def build(n_features: int, depth: int = 1):
        layers = [layer for _ in range(depth) for layer in (nn.Linear(n_features, n_features), nn.Tanh())]
        return Squeezed(*layers, nn.Linear(n_features, 1))

    assert fit(make_ranker("by-a-function", depth=2, epochs=1, loss=SoftmaxCE())).best["epoch"] == 1
    assert register_net("by-a-function")(build) is build  # a cell is run again
    with pytest.raises(InputError, match="'mlp' is a ranker of the suite"):
        register_net("mlp")(build)
    with pytest.raises(InputError, match="parameter 'depth' of net 'bare' needs an annotation and a default"):
        register_net("bare")(lambda n_features, depth: None)

    register_net("unsqueezed")(lambda n_features: Blind(nn.Linear(n_features, 1)))
    with pytest.raises(InputError, match=r"net 'unsqueezed' must give one score a document.*came \(2, 3, 1\)"):
        fit(make_ranker("unsqueezed", loss=SoftmaxCE()))


class Blind(nn.Sequential):
    def forward(self, features, where):
        return super().forward(features)


class Squeezed(Blind):
    def forward(self, features, where):
        return super().forward(features, where).squeeze(-1)
