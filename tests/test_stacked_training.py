"""Stacked training: every member is what training it alone gives; kept, continued and saved like any training."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from ltr.datasets import load
from ltr.errors import InputError
from ltr.losses import loss
from ltr.losses.preference.base import dpo, preference_loss
from ltr.methods import load_method, make_method
from ltr.methods.criteria import Aggregated, Fixed, Importance, Margins, OneLabel, Scalarised
from ltr.methods.stacked import StackedCriterion, can_stack
from ltr.objectives import aggregator, lattice, scalarisation
from ltr.rankers import make_ranker
from ltr.rankers.conditional.config import ConditioningConfig
from ltr.rankers.conditional.ranker import ConditionedRanker
from ltr.rankers.config import MLPConfig, TrainingConfig, TransformerConfig
from ltr.rankers.ensembles.net_stack import NetStack, member_of, stack
from ltr.rankers.ensembles.stacked import fit_stacked, score_stacked
from ltr.rankers.nets import build

W = lattice(2, 4)
NETS = {
    "linear": ("linear", {}),
    "mlp": ("mlp", {"hidden": (8, 4)}),
    "normed": ("mlp", {"hidden": (8,), "norm": "batch"}),
    "transformer": ("transformer", {"width": 8, "blocks": 1, "heads": 2, "d_ff": 8, "dropout": 0.0}),
}
TRAINING = TrainingConfig(epochs=3, patience=0, batch_size=8, learning_rate=0.01)


@pytest.fixture(scope="module")
def task():
    return load("synthetic:queries=30,objectives=2,features=50")


@pytest.fixture(scope="module", autouse=True)
def small_squads():
    """Two members a squad, so that there are several squads here."""
    from ltr.rankers.ensembles import net_stack as net_stack_module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(net_stack_module, "_WIDTH", {"cpu": 16})
        yield


def plain(name="mlp", training=TRAINING, seed=0, **options):
    net, params = NETS[name]
    return ConditionedRanker(net, params, ConditioningConfig("none", "scratch"), training, seed=seed, **options)


def criteria(preferences=W, by="listnet-dpo"):
    return [Importance(preference_loss(by), Fixed(tuple(w))) for w in preferences]


def alone(task, rankers, each, preferences=W, **options):
    return [
        ranker.fit(task.train, task.vali, criterion=criterion, preferences=w[None], accelerator="cpu", **options)
        for ranker, criterion, w in zip(rankers, each, preferences, strict=True)
    ]


def together(task, rankers, each, preferences=W, **options):
    criterion = StackedCriterion(each)
    options = {"preferences": preferences, "accelerator": "cpu", **options}
    return fit_stacked(rankers, task.train, task.vali, criterion=criterion, **options)


def centred(scores, split):
    """Scores less the mean of their list: a list loss leaves the constant to rounding, which Adam follows."""
    starts, lengths = split.offsets[:-1], split.lengths
    return scores - np.repeat(np.add.reduceat(scores, starts) / lengths, lengths)


def same(ours, theirs, split, tolerance=2e-3, **options):
    """Scores of both kinds of rankers agree, and so do their histories."""
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        s, t = (
            centred(r.score(split, *([] if hasattr(r, "loss") else [W[:1]]), **options).ravel(), split) for r in (a, b)
        )
        np.testing.assert_allclose(s, t, atol=tolerance * t.std(), err_msg=f"member {i}")
        assert [row["epoch"] for row in a.history] == [row["epoch"] for row in b.history]
        for key in ("loss", "vali"):
            x, y = ([row[key] for row in r.history] for r in (a, b))
            np.testing.assert_allclose(x, y, atol=2e-3, err_msg=f"{key} of member {i}")
        assert a.best["epoch"] == b.best["epoch"]


# ---------------------------------------------------------------------------------------------------------- the nets


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("mode", [True, False], ids=["train", "eval"])
def test_a_stack_scores_and_differentiates_as_its_nets(name, mode, device):
    kind, params = NETS[name]
    config = make_ranker(kind, **params).config
    torch.manual_seed(0)
    nets = [build(config, 7).to(device).train(mode) for _ in range(3)]
    x, where = torch.randn(4, 5, 7, device=device), torch.rand(4, 5, device=device) < 0.7
    where[1] = False
    pull = torch.randn(3, 4, 5, device=device)
    stacked = stack(nets).train(mode)
    scores = stacked(x[None], where)
    each = torch.stack([net(x, where) for net in nets])
    torch.testing.assert_close(scores, each)
    (scores * pull).sum().backward()
    (each * pull).sum().backward()
    for i, net in enumerate(nets):
        for key, parameter in net.named_parameters():
            torch.testing.assert_close(dict(stacked.named_parameters())[key].grad[i], parameter.grad, msg=key)
        for key, value in net.state_dict().items():  # running statistics moved alike
            torch.testing.assert_close(member_of(stacked.state_dict(), i)[key], value, msg=key)


def test_dasalc_and_layer_norm_have_a_stacked_form():
    from ltr.rankers.config import DASALCConfig

    x, where = torch.randn(4, 5, 7), torch.ones(4, 5, dtype=torch.bool)
    for config in (
        DASALCConfig(hidden=(8, 8), blocks=1, heads=2, head_size=3, dropout=0.0, noise=0.0),
        MLPConfig(hidden=(8, 4), norm="layer", activation="gelu", output="tanh"),
        TransformerConfig(layers=(6,), width=8, blocks=2, heads=2, d_ff=8, output="sigmoid"),
        TransformerConfig(width=8, blocks=0),
    ):
        nets = [build(config, 7).eval() for _ in range(2)]
        torch.testing.assert_close(stack(nets).eval()(x[None], where), torch.stack([n(x, where) for n in nets]))


def test_members_draw_their_own_dropout_and_hear_one_noise():
    x, where = torch.randn(4, 5, 7), torch.ones(4, 5, dtype=torch.bool)
    torch.manual_seed(0)
    net = build(MLPConfig(hidden=(64,), dropout=0.5), 7)
    a, b = stack([net, net]).train()(x[None], where)
    assert not torch.allclose(a, b)
    noisy = build(MLPConfig(hidden=(8,), noise=1.0), 7)
    a, b = stack([noisy, noisy]).train()(x[None], where)
    torch.testing.assert_close(a, b)


def test_nets_of_two_shapes_are_no_stack():
    with pytest.raises(InputError, match="one shape"):
        stack([build(MLPConfig(hidden=(8,)), 7), build(MLPConfig(hidden=(4,)), 7)])
    tied = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    with pytest.raises(InputError, match="shares parameters"):
        stack([tied] * 2)


def test_a_squad_goes_on_without_some_of_its_members():
    nets = [build(MLPConfig(hidden=(4,), norm="batch"), 7) for _ in range(3)]
    squad = NetStack(nets, [5, 6, 7])
    optimiser = torch.optim.Adam(squad.parameters(), lr=0.1)
    x, where = torch.randn(4, 5, 7), torch.ones(4, 5, dtype=torch.bool)
    squad(x, where).square().sum().backward()
    optimiser.step()
    with torch.no_grad():
        before = squad.eval()(x, where)
        squad.keep([5, 7], optimiser)
        torch.testing.assert_close(squad(x, where), before[:, [0, 2]])
    squad(x, where).square().sum().backward()
    optimiser.step()  # its state has the shape of those who are left
    squad.keep([], optimiser)
    assert squad.members == [] and all(len(p) == 0 for p in squad.parameters())


# ------------------------------------------------------------------------------------- a member is what it is alone


@pytest.mark.parametrize("name", NETS)
def test_members_equal_training_alone(task, name):
    # A bias before a batch norm has no gradient but rounding; Adam makes steps of it, and the running mean lags behind.
    training = TRAINING if name != "normed" else dataclasses.replace(TRAINING, optimiser="sgd", learning_rate=0.3)
    stacked = together(task, [plain(name, training) for _ in W], criteria())
    same(stacked, alone(task, [plain(name, training) for _ in W], criteria()), task.test)
    assert stacked[0].cost["stacked"] == len(W)


@pytest.mark.parametrize(
    "changes",
    [
        {"weight_decay": 0.1},
        {"optimiser": "adamw", "weight_decay": 0.5},
        {"optimiser": "sgd", "learning_rate": 0.5},
        {"clip": 0.05},
        {"schedule": "cosine", "warmup": 1.5},
        {"transform": "none", "list_size": 20},
    ],
    ids=str,
)
def test_members_equal_training_alone_whatever_the_settings(task, changes):
    training = dataclasses.replace(TRAINING, **changes)
    if "transform" in changes:
        training = dataclasses.replace(training, transform="log1p")
    stacked = together(task, [plain(training=training) for _ in W], criteria())
    same(stacked, alone(task, [plain(training=training) for _ in W], criteria()), task.test)


def test_each_member_stops_when_it_would_alone_and_keeps_its_best_epoch(task):
    training = dataclasses.replace(TRAINING, epochs=12, patience=2, learning_rate=0.05)
    stacked = together(task, [plain("linear", training) for _ in W], criteria())
    each = alone(task, [plain("linear", training) for _ in W], criteria())
    same(stacked, each, task.test)
    assert len({len(ranker.history) for ranker in stacked}) > 1  # or nothing was tried


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
def test_members_may_have_their_own_learning_rate(task, optimiser):
    trainings = [
        dataclasses.replace(TRAINING, learning_rate=r, optimiser=optimiser, weight_decay=0.1)
        for r in (0.01, 0.001, 0.003)
    ]
    w = W[1:4]
    stacked = together(task, [plain(training=t) for t in trainings], criteria(w), w)
    same(stacked, alone(task, [plain(training=t) for t in trainings], criteria(w), w), task.test)
    assert [ranker.training.learning_rate for ranker in stacked] == [0.01, 0.001, 0.003]


def test_members_start_from_a_reference_and_its_weights(task):
    base = make_ranker("mlp", hidden=(8, 4), training=TRAINING, loss=loss("listnet"))
    base.fit(task.train, task.vali, accelerator="cpu")
    references = base.score(task.train), base.score(task.vali)
    options = {"references": references, "weights": base.net.state_dict(), "controls": (1.0, 4.0)}

    def rankers():
        how = ConditioningConfig("none", "augmented")
        return [ConditionedRanker("mlp", {"hidden": (8, 4)}, how, TRAINING, scale=2.0) for _ in W]

    each = [Importance(dpo("listnet", beta=0.5), Fixed(tuple(w))) for w in W]
    stacked, others = together(task, rankers(), each, **options), alone(task, rankers(), each, **options)
    same(stacked, others, task.test, reference=base.score(task.test))


CRITERIA = {
    "drawn labels": lambda w: OneLabel(preference_loss("listnet-dpo"), Fixed(tuple(w))),
    "drawn ties": lambda w: Importance(preference_loss("listmle-dpo"), Fixed(tuple(w))),
    "another loss": lambda w: Importance(preference_loss("ranknet-dpo"), Fixed(tuple(w))),
    "chebyshev": lambda w: Scalarised(
        preference_loss("listnet-dpo"), Fixed(tuple(w)), scalarisation("chebyshev", 2), (1.0, 1.0), (2.0, 2.0)
    ),
    "bounds": lambda w: Scalarised(
        preference_loss("listnet-dpo"),
        Fixed(tuple(w)),
        scalarisation("epsilon-constraint", 2, bounds=(float(w[1]),)),
        (1.0, 1.0),
        (2.0, 2.0),
    ),
    "margins": lambda w: Margins(preference_loss("modpo-list"), Fixed(tuple(w))),
}


@pytest.mark.parametrize("name", CRITERIA)
def test_every_criterion_of_one_preference(task, name):
    w = W[1:4]
    make = CRITERIA[name]
    stacked = together(task, [plain() for _ in w], [make(each) for each in w], w)
    same(stacked, alone(task, [plain() for _ in w], [make(each) for each in w], w), task.test)


NOISY = {
    "linear": ("linear", {}),
    "mlp": ("mlp", {"hidden": (8, 4)}),
    "dropout": ("mlp", {"hidden": (8,), "dropout": 0.3, "noise": 0.1, "norm": "batch"}),
    "transformer": ("transformer", {"width": 8, "blocks": 1, "d_ff": 8, "dropout": 0.2, "attention_dropout": 0.1}),
}


@pytest.mark.parametrize("name", NOISY)
@pytest.mark.parametrize("by", ["listnet", "listmle"])
def test_seeds_of_plain_rankers(task, name, by):
    """Each with its own order of the lists, dropout, noise and draws of the loss: bit for bit what it is alone."""
    net, params = NOISY[name]
    training = dataclasses.replace(TRAINING, epochs=6, patience=1, learning_rate=0.05, list_size=20, clip=1.0)
    make = lambda seed: make_ranker(net, **params, training=training, loss=loss(by), seed=seed)  # noqa: E731
    options = {"objective": "quality", "accelerator": "cpu"}
    stacked = fit_stacked([make(s) for s in (3, 4, 5, 3)], task.train, task.vali, **options)
    for ranker in stacked:
        alone = make(ranker.seed).fit(task.train, task.vali, **options)
        np.testing.assert_array_equal(ranker.score(task.test), alone.score(task.test))
        assert ranker.history == alone.history and ranker.best == alone.best and ranker.objective == "quality"
    scores = score_stacked(stacked[:3], task.test)
    assert np.abs(np.corrcoef(scores) - 1)[np.triu_indices(3, 1)].min() > 1e-3


def test_seeds_may_share_one_order(task):
    """Then only the first is what it is alone."""
    make = lambda seed: make_ranker("mlp", hidden=(8,), training=TRAINING, loss=loss("listnet"), seed=seed)  # noqa: E731
    stacked = fit_stacked([make(s) for s in (3, 4)], task.train, task.vali, order="first", accelerator="cpu")
    each = [make(s).fit(task.train, task.vali, accelerator="cpu") for s in (3, 4)]
    same(stacked[:1], each[:1], task.test)
    assert stacked[1].history != each[1].history


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("seeds", [(0, 0, 0), (0, 1, 0)], ids=["one seed", "two seeds"])
def test_candidates_have_their_own_rate_decay_and_loss(task, optimiser, seeds):
    common = dataclasses.replace(TRAINING, optimiser=optimiser, clip=0.5, warmup=1.5, schedule="cosine")
    rates = (0.01, 0.3), (0.003, 0.0), (0.01, 0.1)
    trainings = [dataclasses.replace(common, learning_rate=rate, weight_decay=decay) for rate, decay in rates]
    losses = [loss("listnet"), loss("ranknet"), loss("listnet")]
    make = lambda: [  # noqa: E731
        make_ranker("mlp", hidden=(8,), training=t, loss=each, seed=s)
        for t, each, s in zip(trainings, losses, seeds, strict=True)
    ]
    stacked = fit_stacked(make(), task.train, task.vali, accelerator="cpu")
    for ranker, other in zip(stacked, make(), strict=True):
        other.fit(task.train, task.vali, accelerator="cpu")
        np.testing.assert_array_equal(ranker.score(task.test), other.score(task.test))
        assert ranker.history == other.history


def test_an_interrupted_stack_of_seeds_continues_bit_for_bit(task, tmp_path):
    training = dataclasses.replace(TRAINING, epochs=9, patience=2, learning_rate=0.05)
    make = lambda: [  # noqa: E731
        make_ranker("mlp", hidden=(8,), dropout=0.2, training=training, loss=loss("listnet"), seed=s) for s in (0, 1, 2)
    ]

    class Stop(Exception):
        pass

    def stop(event):
        if event.epoch == 5:
            raise Stop

    fit = lambda **options: fit_stacked(make(), task.train, task.vali, accelerator="cpu", **options)  # noqa: E731
    whole = fit()
    assert len({len(ranker.history) for ranker in whole}) > 1  # somebody left before the others
    with pytest.raises(Stop):
        fit(folder=tmp_path, progress=stop)
    resumed = fit(folder=tmp_path)
    np.testing.assert_array_equal(score_stacked(resumed, task.test), score_stacked(whole, task.test))
    assert [r.history for r in resumed] == [r.history for r in whole]


# --------------------------------------------------------------------------------------- kept, continued, saved


def test_same_seed_same_scores(task):
    a, b = (score_stacked(together(task, [plain() for _ in W], criteria()), task.test) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    other = score_stacked(together(task, [plain(seed=1) for _ in W], criteria()), task.test)
    assert np.any(other != a)


def test_members_are_ordinary_rankers(task, tmp_path):
    stacked = together(task, [plain() for _ in W], criteria())
    both = score_stacked(stacked, task.test)
    for i, ranker in enumerate(stacked):
        ranker.save(tmp_path / str(i))
    back = [ConditionedRanker.load(tmp_path / str(i)) for i in range(len(W))]
    np.testing.assert_array_equal(score_stacked(back, task.test), both)
    one = np.stack([ranker.score(task.test, W[:1])[0] for ranker in back])
    np.testing.assert_allclose(one, both, rtol=1e-4, atol=1e-5)
    assert back[2].best == stacked[2].best and back[2].history == stacked[2].history


def test_without_validation_the_last_epoch_is_kept(task):
    rankers = fit_stacked(
        [plain() for _ in W], task.train, criterion=StackedCriterion(criteria()), preferences=W, accelerator="cpu"
    )
    assert all(r.best == {"epoch": 3, "vali": None} for r in rankers)
    one = plain().fit(task.train, criterion=criteria()[1], preferences=W[1:2], accelerator="cpu")
    a, b = (centred(r.score(task.test, W[:1])[0], task.test) for r in (rankers[1], one))
    np.testing.assert_allclose(a, b, atol=2e-3 * b.std())


@pytest.mark.parametrize("patience", [0, 2])
def test_an_interrupted_stack_continues(task, tmp_path, patience):
    training = dataclasses.replace(TRAINING, epochs=9, patience=patience, learning_rate=0.05, clip=1.0)

    class Stop(Exception):
        pass

    def stop(event):
        if event.epoch == 6:
            raise Stop

    fit = lambda **options: together(task, [plain("linear", training) for _ in W], criteria(), **options)  # noqa: E731
    whole = fit()
    with pytest.raises(Stop):
        fit(folder=tmp_path, progress=stop)
    resumed = fit(folder=tmp_path)
    np.testing.assert_array_equal(score_stacked(resumed, task.test), score_stacked(whole, task.test))
    assert [r.history for r in resumed] == [r.history for r in whole]
    again = fit(folder=tmp_path)  # nothing is left to do
    np.testing.assert_array_equal(score_stacked(again, task.test), score_stacked(whole, task.test))
    with pytest.raises(InputError, match="another training"):
        together(task, [plain("linear", training) for _ in W], criteria(by="ranknet-dpo"), folder=tmp_path)


def test_progress_is_that_of_the_stack(task):
    heard = []
    together(task, [plain() for _ in W], criteria(), progress=heard.append)
    assert [event.epoch for event in heard] == [1, 2, 3]
    assert all(0 < event.vali < 1 and event.loss > 0 for event in heard)


# ------------------------------------------------------------------------------------------------------- the methods


@pytest.mark.parametrize("name", ["ls", "sla", "dpo-ls", "modpo", "smooth-chebyshev", "mod", "soup"])
def test_methods_give_with_and_without_a_stack_the_same(task, name, tmp_path):
    training = {"epochs": 3, "learning_rate": 0.01, "batch_size": 8, "patience": 0}
    w = np.eye(2) if name in ("mod", "soup") else W[1:4]
    fit = lambda stacked: make_method(  # noqa: E731
        name, ranker_params={"hidden": [8]}, training=training, stacked=stacked
    ).fit(task, preferences=w, accelerator="cpu")
    stacked, loop = fit(True), fit(False)
    assert [model.cost.get("stacked") for model in stacked.models] == [len(w)] * len(w)
    assert "stacked" not in loop.models[0].cost
    assert stacked.models_trained == loop.models_trained
    for a, b in zip(stacked.score(task.test, w), loop.score(task.test, w), strict=True):
        a, b = centred(a, task.test), centred(b, task.test)
        np.testing.assert_allclose(a, b, atol=5e-3 * b.std())
    stacked.save(tmp_path / "m")
    np.testing.assert_array_equal(load_method(tmp_path / "m").score(task.test, w), stacked.score(task.test, w))


def test_gradients_that_are_combined_stay_one_after_another(task):
    make = lambda w: Aggregated(preference_loss("listnet-dpo"), Fixed(tuple(w)), aggregator("epo", 2))  # noqa: E731
    assert not can_stack([make(w) for w in W])
    assert can_stack(criteria()) and not can_stack(criteria()[:1])


def test_what_is_no_stack_is_said(task):
    with pytest.raises(InputError, match="needs a ranker"):
        fit_stacked([], task.train)
    with pytest.raises(InputError, match="training.epochs"):
        together(task, [plain(), plain(training=dataclasses.replace(TRAINING, epochs=5))], criteria()[:2])
    with pytest.raises(InputError, match="differ in name, config"):
        together(task, [plain(), plain("linear")], criteria()[:2])
    with pytest.raises(InputError, match="conditioned on no preference"):
        together(task, [ConditionedRanker("mlp", training=TRAINING)] * 2, criteria()[:2])
    with pytest.raises(InputError, match="nets of one kind"):
        together(task, [plain(), make_ranker("mlp")], criteria()[:2])
    with pytest.raises(InputError, match="one preference a member"):
        together(task, [plain(), plain()], criteria())
    with pytest.raises(InputError, match="not fitted"):
        score_stacked([plain(), plain()], task.test)
    with pytest.raises(InputError, match="diverged"):
        huge = TrainingConfig(epochs=3, batch_size=8, learning_rate=1e30, optimiser="sgd", transform="standardise")
        together(task, [plain(training=huge) for _ in W], criteria(by="mse-dpo"))


def test_former_names_say_the_new_ones(capsys, monkeypatch):
    import ltr.rankers

    monkeypatch.setattr("ltr.errors._SAID", set())
    assert ltr.rankers.fit_fleet is fit_stacked and ltr.rankers.score_fleet is score_stacked
    assert "'fit_fleet' is called 'fit_stacked' now" in capsys.readouterr().err
    with pytest.raises(AttributeError, match="nosuch"):
        ltr.rankers.nosuch  # noqa: B018
