"""The contract every multi-objective method inherits by standing in the catalogue, on the small synthetic task."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest
import torch
from toy_lists import toy

from ltr.datasets import load
from ltr.errors import InputError
from ltr.methods import METHODS, load_method, make_method
from ltr.methods.terms import MixedWeights
from ltr.objectives import lattice
from ltr.rankers import HEADLINE, make_ranker
from ltr.rankers.conditional.ranker import ConditionedRanker
from ltr.rankers.training.validation import measured, weighted_mean
from ltr.types import Split, Task

TRAINING = {"epochs": 5, "learning_rate": 0.03, "batch_size": 12, "patience": 0}  # 15 steps
NET = {"ranker_params": {"hidden": [8]}, "training": TRAINING}
LONGER = {**TRAINING, "epochs": 12, "learning_rate": 0.02, "batch_size": 8}  # 60
ONE_SHOT = {**NET, "training": LONGER}  # one net for all preferences, for the steps of three
TREES = {"lightgbm": {"rounds": 20, "min_data_in_leaf": 5, "leaves": 8}}
W = lattice(2, 2)
MEASURES = (HEADLINE, HEADLINE)


@pytest.fixture(scope="module", autouse=True)
def on_the_test_device():
    """accelerator="auto" means the device of the tests here."""
    from ltr.rankers import devices

    pick, device = devices.pick_device, torch.device(os.environ.get("LTR_TEST_DEVICE", "cpu"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "pick_device", lambda asked="auto": device if asked == "auto" else pick(asked))
        yield


@pytest.fixture(scope="module")
def task():
    return load("synthetic:queries=60,objectives=2,features=50")


@pytest.fixture(scope="module")
def base(task):
    from ltr.losses import loss

    ranker = make_ranker("mlp", hidden=(8,), training=TRAINING, loss=loss("listnet"))
    return ranker.fit(task.train, task.vali)


@pytest.fixture(scope="module", params=METHODS.names())
def name(request):
    if METHODS[request.param].claims.get("trees"):
        pytest.importorskip("lightgbm", reason="extra 'trees' is not installed")
    return request.param


def fit(name, task, base, seed=0, preferences=W, **params):
    claims = METHODS[name].claims
    asked = preferences if claims["preference"] == "fixed" else None
    one_for_all = claims["models"] == "one" and claims["preference"] == "continuous"
    settings = TREES if claims.get("trees") else ONE_SHOT if one_for_all else NET if claims.get("learns", True) else {}
    method = make_method(name, seed=seed, **{**settings, **params})
    return method.fit(task, base if claims["base"] else None, preferences=asked)


@pytest.fixture(scope="module")
def fitted(name, task, base):
    return fit(name, task, base)


@pytest.fixture(scope="module")
def alone(task):
    """One plain net an objective, as `single` trains it."""
    from ltr.losses import loss

    return [
        make_ranker("mlp", hidden=(8,), training=TRAINING, loss=loss("listnet")).fit(
            task.train, task.vali, objective=objective
        )
        for objective in task.objectives
    ]


# ------------------------------------------------------------------------------------------------------ the contract


def test_scores_are_one_row_a_preference(fitted, task):
    scores = fitted.score(task.test, W)
    assert scores.shape == (3, task.test.n_documents)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert fitted.score(task.test, W[1]).shape == (1, task.test.n_documents)


def test_tensors_hold_the_same_scores_where_the_nets_are(fitted, name, task):
    scores = fitted.score_tensor(task.test, W)
    assert scores.dtype == torch.float32 and scores.is_contiguous()
    assert scores.device.type == str(getattr(fitted.models[0], "device", "cpu")).split(":")[0]
    np.testing.assert_array_equal(scores.cpu().numpy(), fitted.score(task.test, W))


def test_counts_what_it_trained(fitted, name):
    claims = METHODS[name].claims
    models = {"preference": len(W), "objective": 2, "one": 1}[claims["models"]]
    assert len(fitted.models) == models
    assert fitted.models_trained == models + 2 * claims.get("payoff", False)
    assert ("ideal" in fitted.memory) == claims.get("payoff", False)
    assert fitted.cost["seconds"] > 0
    least = 0 if not claims.get("learns", True) else 8 * 5 if claims.get("trees") else 50 * 8 + 8 + 9
    assert fitted.cost["n_parameters"] >= models * least and (least or not fitted.cost["n_parameters"])


def test_same_seed_same_scores_and_no_look_at_the_test_split(fitted, name, task, base):
    """Fitted anew, with a test split of nothing but NaN."""
    nothing = {"labels": np.full_like(task.test.labels, np.nan), "features": np.full_like(task.test.features, np.nan)}
    poison = dataclasses.replace(task, test=dataclasses.replace(task.test, **nothing))
    np.testing.assert_array_equal(fit(name, poison, base).score(task.test, W), fitted.score(task.test, W))


def test_the_seed_matters(fitted, name, task, base):
    other = fit(name, task, base, seed=1, preferences=W[1:2])
    differs = np.any(other.score(task.test, W[1]) != fitted.score(task.test, W[1]))
    assert differs == METHODS[name].claims.get("draws", True)


def test_save_and_load(fitted, name, task, tmp_path):
    fitted.save(tmp_path / "m")
    back = load_method(tmp_path / "m")
    np.testing.assert_array_equal(back.score(task.test, W), fitted.score(task.test, W))
    assert (back.name, back.config, back.objectives, back.cost) == (name, fitted.config, fitted.objectives, fitted.cost)
    for weights in (tmp_path / "m").rglob("*.pt"):
        torch.load(weights, weights_only=True)
    fitted.save(tmp_path / "m")  # over itself


def test_scores_follow_shuffled_documents(fitted, task):
    draw = np.random.default_rng(5)
    test = task.test
    rows = np.concatenate([a + draw.permutation(b - a) for a, b in zip(test.offsets, test.offsets[1:], strict=False)])
    shuffled = Split.from_arrays(test.features[rows], None, test.lengths)
    np.testing.assert_allclose(fitted.score(shuffled, W), fitted.score(test, W)[:, rows], rtol=1e-4, atol=1e-4)


def test_scoring_needs_no_labels(fitted, task):
    unjudged = dataclasses.replace(task.test, labels=None)
    np.testing.assert_array_equal(fitted.score(unjudged, W), fitted.score(task.test, W))


def test_corners_are_near_the_single_objective_rankers(fitted, name, task, alone):
    """At a corner a method does on that objective what a net trained on it alone does, within noise."""
    claims = METHODS[name].claims
    if claims["preference"] == "ignored":
        pytest.skip("one point, and it is no corner")
    reached = measured(task.train, fitted.score(task.train, np.eye(2)), MEASURES)
    for k, ranker in enumerate(alone):
        best = measured(task.train, ranker.score(task.train)[None], MEASURES)[0]
        other = measured(task.train, alone[1 - k].score(task.train)[None], MEASURES)[0]
        # Train lists, where the nets learned: on 12 test lists the noise alone is as large as the difference.
        assert reached[k, k] > best[k] - claims.get("corners", 0.35) * (best[k] - other[k])


def test_scores_are_the_sum_of_its_terms(fitted, name, task):
    """Before any control: sum_i share_i s_i, and what the shares leave of 1 goes to the reference."""
    s_ref = fitted.base.score(task.test) if fitted.base is not None else None
    options = {} if s_ref is None else {"control": 1.0}
    augmented = s_ref is not None and fitted.config.augmented
    for w, scores in zip(W, fitted.score(task.test, W, **options), strict=True):
        total, left = 0.0, 1.0
        for share, net, told, beta, *_ in fitted.terms(w):
            net = net.made() if isinstance(net, MixedWeights) else net
            given = {"reference": s_ref if augmented else None, "beta": beta}
            conditioned = isinstance(net, ConditionedRanker)
            each = net.score(task.test, told[None], **given)[0] if conditioned else net.score(task.test)
            total = total + share * each
            left -= share
        total = total if s_ref is None else total + left * s_ref
        np.testing.assert_allclose(scores, total, rtol=1e-4, atol=1e-5 * np.ptp(total))


def test_an_invalid_preference_is_an_error(fitted, task):
    for wrong, message in (
        ([[-0.1, 1.1]], "negative"),
        ([[0.4, 0.4]], "sum to 0.8"),
        ([[1.0]], "one weight an objective"),
        ([[np.nan, 1.0]], "not a number"),
        ([[0.2, 0.3, 0.5]], "one weight an objective"),
    ):
        with pytest.raises(InputError, match=message):
            fitted.score(task.test, wrong)


def test_other_preferences(fitted, name, task):
    between = [[0.3, 0.7]]
    if METHODS[name].claims["preference"] == "fixed":
        with pytest.raises(InputError, match="one model a preference"):
            fitted.score(task.test, between)
        return
    three = fitted.score(task.test, [[1.0, 0.0], *between, [0.0, 1.0]])
    same = np.array_equal(three[0], three[2])
    assert same == (METHODS[name].claims["preference"] == "ignored")


def test_a_preference_alone_scores_as_among_others(fitted, task):
    scores = fitted.score(task.test, W)
    for k, w in enumerate(W):
        # Control after training multiplies the rounding of s - s_ref, so what counts is the size of the scores.
        np.testing.assert_allclose(fitted.score(task.test, w)[0], scores[k], rtol=1e-5, atol=1e-6 * np.ptp(scores[k]))


def test_control_moves_along_the_line_from_the_reference(fitted, task):
    """s_ref + lambda (s - s_ref): 0 is the reference ranking, 1 what was trained."""
    if not fitted.claims["base"]:
        pytest.skip("starts from no reference ranker")
    s_ref = fitted.base.score(task.test)
    at = lambda x: fitted.score(task.test, W, control=x)  # noqa: E731
    np.testing.assert_allclose(at(0.0), np.broadcast_to(s_ref, (3, len(s_ref))), atol=1e-6)
    np.testing.assert_allclose(at(3.0) - s_ref, 3 * (at(1.0) - s_ref), rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(fitted.score(task.test, W), at(fitted.memory["control"]))


# ---------------------------------------------------------------------------------------------------- what is claimed


WITH_BASE = [e.name for e in METHODS if e.claims["base"]]


@pytest.mark.parametrize("name", [n for n in WITH_BASE if METHODS[n].claims.get("scaling", True)])
def test_scaling_law(name, task, base):
    """T6: the augmented form trained at beta / lambda scores as control lambda does at beta."""
    one = fit(name, task, base, controls=(2.0, 4.0))
    half = fit(name, task, base, controls=(1.0, 2.0), beta=0.5)
    assert one.memory["control"] == 2 * half.memory["control"]
    a, b = (each.score(task.test, W) for each in (one, half))
    # The same net up to rounding; the bias of the last layer, which no list loss sees, drifts with the rounding.
    for first, last in zip(task.test.offsets, task.test.offsets[1:], strict=False):
        x, y = (each[:, first:last] - each[:, first:last].mean(1, keepdims=True) for each in (a, b))
        np.testing.assert_allclose(x, y, rtol=0.01, atol=0.01 * np.abs(x).max())


def test_the_control_is_chosen_by_validation(task, base):
    method = fit("mod", task, base)
    w = method.preferences
    reached = {
        x: weighted_mean(measured(task.vali, method.score(task.vali, w, control=x), MEASURES), w)
        for x in method.config.controls
    }
    assert reached[method.memory["control"]] == max(reached.values())


def test_without_a_base_it_trains_one(task):
    method = fit("hyperdpo", task, None)
    assert method.models_trained == 2
    assert method.base.objective == "relevance"
    assert method.score(task.test, W).shape == (3, task.test.n_documents)


def test_any_ranker_can_be_the_base(task):
    pytest.importorskip("lightgbm", reason="extra 'trees' is not installed")
    trees = make_ranker("lightgbm", rounds=5, min_data_in_leaf=5).fit(task.train, task.vali)
    method = fit("hyperdpo", task, trees)
    np.testing.assert_allclose(method.score(task.test, W, control=0.0)[1], trees.score(task.test), atol=1e-6)


def test_the_first_round_of_spo_is_dpo_on_its_objective(task, base):
    chain = fit("spo", task, base, controls=(1.0,), order=["quality", "relevance"])
    alone = fit("dpo-ls", task, base, controls=(1.0,), preferences=[[0.0, 1.0]])
    s_ref, one = base.score(task.test), np.eye(2)[:1]
    first = chain.models[0].score(task.test, one, reference=s_ref)
    np.testing.assert_array_equal(first, alone.score(task.test, [0.0, 1.0]))


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_spo_is_its_loss(task, base, alpha):
    """The loss of a round is `spo-list` given all rounds before it, written out."""
    from ltr.losses import preference_loss
    from ltr.methods.spo import next_reference

    draw = torch.Generator().manual_seed(0)
    earlier, s = torch.randn(4, 6, 3, generator=draw), torch.randn(4, 6, generator=draw)
    y = torch.randint(0, 4, (4, 6), generator=draw)
    told = preference_loss("spo-list", alpha=alpha, beta_earlier=0.5, beta=0.5)(s, y, earlier=earlier)
    reference = next_reference(earlier[..., 0], earlier[..., -1], alpha)
    plain = preference_loss("listnet-dpo", beta=0.5)(s, y, reference=reference)
    torch.testing.assert_close(plain, told)


def test_mod_is_the_mean_of_scores(task, base):
    method = fit("mod", task, base)
    corners = method.score(task.test, np.eye(2), control=1.0)
    middle = method.score(task.test, [0.25, 0.75], control=1.0)[0]
    np.testing.assert_allclose(middle, 0.25 * corners[0] + 0.75 * corners[1], rtol=1e-3, atol=1e-4)


def test_a_soup_of_linear_nets_is_mod(task):
    """Scores that are linear in the weights: averaging either is the same."""
    params = {"ranker": "linear", "ranker_params": {}}
    made = [
        make_method(name, **{**NET, **params}).fit(task, preferences=W).score(task.test, W, control=1.0)
        for name in ("soup", "mod")
    ]
    np.testing.assert_allclose(made[0], made[1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "params",
    [
        {"conditioning": {"kind": "concat"}},
        {"conditioning": {"kind": "head"}},
        {"start": "scratch", "beta": 0.5},
        {"conditioning": {"kind": "mixture"}},
        {"sampled": 3},
        {"by_list": False},
        {"alpha": 0.2, "loss_params": {"target": "lin"}},
        {"loss": "lambdarank"},
        {"loss_params": {"target": "soft"}},
    ],
    ids=str,
)
def test_hyperdpo_in_its_forms(task, base, params):
    scores = fit("hyperdpo", task, base, **params).score(task.test, W)
    assert np.isfinite(scores).all()
    assert not np.allclose(scores[0], scores[2], atol=1e-3)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("phn", {"inner": "epo", "training": {**LONGER, "epochs": 20}}),
        ("phn", {"sampled": 3}),
        ("cosmos", {"rule": {"penalty": 1.0}, "sampled": 2}),
        ("yoto", {"conditioning": {"kind": "concat", "start": "scratch"}}),
        ("psl", {"rule": {"mu": 0.5}}),
    ],
    ids=str,
)
def test_one_shot_methods_in_their_forms(task, name, params):
    method = fit(name, task, None, **params)
    reached = measured(task.train, method.score(task.train, np.eye(2)), MEASURES)
    assert reached[0, 0] > reached[1, 0] and reached[1, 1] > reached[0, 1]


@pytest.mark.parametrize("kind", ["concat", "film", "head", "mixture"])
def test_half_precision_trains_and_scores_in_float32(task, base, kind):
    settings = {**NET, "training": {**TRAINING, "precision": "bf16-mixed"}}
    scores = make_method("hyperdpo", conditioning={"kind": kind}, **settings).fit(task, base).score(task.test, W)
    assert scores.dtype == np.float32
    assert len(np.unique(scores[0])) > 0.95 * task.test.n_documents  # 8 bits of mantissa would tie them


def test_hyper_prompt_tuning_of_a_frozen_transformer(task, base):
    shape = {"width": 8, "heads": 1, "blocks": 1, "d_ff": 8, "dropout": 0.0}
    net = {"ranker": "transformer", "ranker_params": shape, "training": TRAINING}
    method = make_method("hyperdpo", **net, conditioning={"kind": "prompt", "frozen": True, "prompts": 2}).fit(task)
    tuned, kept = method.models[0].net.net.state_dict(), method.base.net.state_dict()
    assert all(torch.equal(tuned[key], kept[key]) for key in kept if not key.startswith("head."))
    scores = method.score(task.test, W)
    assert not np.allclose(scores[0], scores[2], atol=1e-4)
    other = make_method("hyperdpo", **net, conditioning={"kind": "prefix", "frozen": True}).fit(task, method.base)
    tuned = other.models[0].net.net.state_dict()
    assert all(torch.equal(tuned[key], kept[key]) for key in kept if not key.startswith("head."))
    assert not tuned["head.linear.weight"].any()  # prompts alone say what is added to the reference
    assert not np.allclose(*other.score(task.test, W[[0, 2]]), atol=1e-4)
    with pytest.raises(InputError, match="the reference is no net of this shape"):
        make_method("hyperdpo", **net, conditioning={"kind": "prefix", "frozen": True}).fit(task, base)


@pytest.mark.parametrize("kind", ["film", "mixture"])
def test_temperature_is_asked_of_the_net(task, base, kind):
    told = fit("hyperdpo", task, base, temperature=(0.25, 4.0), controls=(1.0,), conditioning={"kind": kind})
    wide, narrow = (told.score(task.test, W, beta=b) for b in (0.25, 4.0))
    assert np.abs(wide - narrow).max() > 1e-3
    with pytest.raises(InputError, match="not conditioned on the temperature"):
        fit("hyperdpo", task, base).score(task.test, W, beta=1.0)


def test_a_temperature_an_objective(task, base):
    both = fit("hyperdpo", task, base, temperature=(0.25, 4.0), temperature_by="objective", controls=(1.0,))
    one, other = (both.score(task.test, W, beta=b) for b in ((0.25, 4.0), (4.0, 0.25)))
    assert np.abs(one - other).max() > 1e-3
    np.testing.assert_array_equal(both.score(task.test, W, beta=2.0), both.score(task.test, W, beta=(2.0, 2.0)))
    for wrong in ((1.0, 2.0, 3.0), 0.0, (1.0, -1.0)):
        with pytest.raises(InputError, match="beta is out of range"):
            both.score(task.test, W, beta=wrong)


@pytest.mark.parametrize("by", "linear uw dwa rlw famo mgda pcgrad cagrad nash-mtl graddrop".split())
def test_rules_that_no_preference_steers(task, by):
    method = fit("unconditioned", task, None, by=by)
    assert method.models_trained == 1
    random = np.random.default_rng(0).normal(size=(1, task.train.n_documents)).astype(np.float32)
    reached = measured(task.train, method.score(task.train, W[:1]), MEASURES)[0]
    assert (reached > measured(task.train, random, MEASURES)[0]).all()


@pytest.mark.parametrize("space", ["scores", "parameters"])
def test_gradients_in_either_space(task, space):
    scores = fit("epo", task, None, space=space, preferences=[[0.5, 0.5]]).score(task.test, [0.5, 0.5])
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", ["dpo-ls", "hyperdpo"])
def test_losses_of_the_opo_family_and_mallowspo(name, task, base):
    """List losses on beta (s - s_ref), and losses with a reference of their own, in both."""
    usual = ONE_SHOT if METHODS[name].claims["models"] == "one" else NET
    short = {"training": {**usual["training"], "list_size": 20}}  # Sinkhorn of whole lists takes ten times as long
    for loss, params, training in (
        ("neuralndcg", {}, short),
        ("approxndcg", {}, {}),
        ("lipo", {}, {}),
        ("mallowspo", {"dispersion": "reference", "entropy_temperature": 0.5}, {}),
        ("mallowspo-phi", {"dispersion": "labels"}, {}),
    ):
        corners = [[1.0, 0.0], [0.0, 1.0]]
        method = fit(name, task, base, preferences=corners, loss=loss, loss_params=params, **training)
        scores = method.score(task.train, np.eye(2))
        assert np.isfinite(scores).all() and not np.allclose(scores[0], scores[1], atol=1e-3), loss
        reached = measured(task.train, scores, MEASURES)
        assert reached[0].sum() > 0.5, loss  # a random ranking has .3
        if METHODS[name].claims["models"] == "preference":
            assert reached[0, 0] > reached[1, 0] and reached[1, 1] > reached[0, 1], loss


def test_the_scale_of_a_dispersion_by_query(task, base):
    """1 / mean(-log entropy), list by list, handed to the loss; a base of its own is trained with listnet."""
    from ltr.losses.preference.mallows import dispersion_index, reference_entropy

    method = fit("dpo-ls", task, base, preferences=W[1:2], loss="mallowspo", loss_params={"dispersion": "reference"})
    s, train = torch.from_numpy(base.score(task.train)), task.train
    alone = [
        dispersion_index(reference_entropy(s[a:b])) for a, b in zip(train.offsets, train.offsets[1:], strict=False)
    ]
    scale = method._criterion(None).loss.params["dispersion_scale"]
    assert scale == pytest.approx(1 / torch.stack(alone).mean().item(), rel=1e-5)
    assert fit("dpo-ls", task, None, preferences=W[1:2], loss="lipo").base.loss.name == "listnet"


def test_modpo_in_its_forms(task, base):
    for params, further in (
        ({"form": "pair"}, 2),
        ({"form": "pair", "rewards": "labels", "loss_params": {"curve": "hinge"}}, 0),
        ({"form": "pair", "main": "relevance", "stacked": False}, 1),
        ({"rewards": "models"}, 2),
    ):
        method = fit("modpo", task, base, **params)
        assert method.models_trained == 3 + further and method.models[0].objectives == task.objectives
        reached = measured(task.train, method.score(task.train, np.eye(2)), MEASURES)
        assert reached[0, 0] > reached[1, 0] and reached[1, 1] > reached[0, 1], params
        assert not any("reward" in note for note in method.models[0].notes)
    both = [fit("modpo", task, base, form="pair", stacked=f).score(task.test, W, control=1.0) for f in (True, False)]
    np.testing.assert_allclose(*(measured(task.test, each, MEASURES) for each in both), atol=1e-3)


def test_a_forest_told_one_preference_learns_what_a_forest_for_it_learns(task):
    """All copies at one w: their lambdas are those of lightgbm-ls, and w beside the features splits nothing."""
    pytest.importorskip("lightgbm", reason="extra 'trees' is not installed")
    from ltr.methods.conditioned_trees import _Booster, beside
    from ltr.rankers.trees.lightgbm import LightGBMConfig

    w, settings = np.array([0.3, 0.7]), {**TREES["lightgbm"], "rounds": 5}
    shown, one = w[None], np.tile(w, (task.train.n_queries, 1))
    options = {"by_list": one, "shown": shown, "judged": task.vali, "gains": ("exp2",) * 2, "measures": MEASURES}
    ranker = _Booster("lightgbm", LightGBMConfig(**settings), seed=0, **options)
    ranker.fit(beside(task.train, one), beside(task.vali, np.tile(w, (task.vali.n_queries, 1))))
    alone = make_method("lightgbm-ls", lightgbm=settings).fit(task, preferences=shown)
    told = ranker.score(beside(task.test, np.tile(w, (task.test.n_queries, 1))))
    np.testing.assert_allclose(told, alone.score(task.test, shown)[0], rtol=1e-6)
    assert ranker.best == alone.models[0].best


def test_single_objective_models_are_the_rankers_of_each_objective(task, alone):
    method = fit("single-objective", task, None)
    scores = method.score(task.test, [[0.6, 0.4], [0.5, 0.5], [0.4, 0.6]])
    for row, k in zip(scores, (0, 0, 1), strict=True):
        np.testing.assert_allclose(row, alone[k].score(task.test), rtol=1e-4, atol=1e-5)


def test_a_random_ranking_is_the_floor(task):
    """Without noise, what many drawn rankings are worth in the mean."""

    def at(**params):
        method = make_method("random", **params).fit(task)
        return measured(task.train, method.score(task.train, W[:1]), MEASURES)[0]

    drawn = [at(drawn=True, seed=seed) for seed in range(30)]
    np.testing.assert_allclose(at(), np.mean(drawn, 0), atol=4 * np.std(drawn) / 30**0.5)


def test_label_mixing_at_a_corner_is_lightgbm_on_that_objective(task):
    pytest.importorskip("lightgbm", reason="extra 'trees' is not installed")
    settings = {**TREES["lightgbm"], "select_rounds": False}
    mixed = make_method("label-mixing", lightgbm=settings).fit(task, preferences=np.eye(2))
    for k, objective in enumerate(task.objectives):
        alone = make_ranker("lightgbm", **settings).fit(task.train, task.vali, objective=objective)
        np.testing.assert_allclose(mixed.score(task.test, np.eye(2)[k])[0], alone.score(task.test), rtol=1e-6)


def test_preferences_move_the_balance_of_chebyshev(task):
    """More weight on an objective, a better loss there: the fitted models lie in order along the front."""
    method = fit("chebyshev", task, None, preferences=[[0.9, 0.1], [0.1, 0.9]])
    reached = measured(task.train, method.score(task.train, method.preferences), MEASURES)
    assert reached[0, 0] > reached[1, 0]
    assert reached[0, 1] < reached[1, 1]


def test_a_training_that_was_stopped_continues(task, base, tmp_path):
    class Stop(Exception):
        pass

    def stop(event):
        if event.epoch == 3:
            raise Stop

    whole = make_method("hyperdpo", **NET).fit(task, base).score(task.test, W)
    with pytest.raises(Stop):
        make_method("hyperdpo", **NET).fit(task, base, folder=tmp_path, progress=stop)
    resumed = make_method("hyperdpo", **NET).fit(task, base, folder=tmp_path)
    np.testing.assert_array_equal(resumed.score(task.test, W), whole)
    with pytest.raises(InputError, match="another training"):
        make_method("hyperdpo", alpha=0.3, **NET).fit(task, base, folder=tmp_path)


def test_a_former_name_works_and_says_the_new_one(capsys):
    assert make_method("free", by="pcgrad").name == "unconditioned"
    assert METHODS["free"] is METHODS["unconditioned"]
    assert make_method("ls", fleet=False).config == make_method("ls", stacked=False).config


def test_fairness_and_diversity_are_axes():
    """A group and a category beside relevance: with losses of their own, corners reach what these ask for."""
    splits = {role: toy(24, seed=seed, longest=12, name=role) for seed, role in enumerate(("train", "vali", "test"))}
    for role, split in splits.items():
        group, category = split.labels[:, 0] > 0, 1 + (split.features[:, 1] > 0)
        shown = np.stack([split.labels[:, 0], group, category], 1).astype(np.float32)
        splits[role] = split.having(labels=shown, objectives=("relevance", "group", "category"))
    task, corners = Task("toy", "only", **splits), np.eye(3)
    measures = ("nDCG@10", "ExposureParity", "alphaNDCG@10")
    how = {**NET, "measures": measures, "training": {**TRAINING, "epochs": 20}}
    fair = make_method("ls", losses={"group": "exposureparity", "category": "alphandcg"}, **how)
    reached = measured(task.train, fair.fit(task, preferences=corners).score(task.train, corners), measures)
    assert reached[0, 0] > reached[1:, 0].max() + 0.1, reached
    assert reached[1, 1] > reached[0, 1] + 0.1 and reached[2, 2] > reached[0, 2] + 0.01, reached
    with pytest.raises(InputError, match="Did you mean 'group'"):
        make_method("ls", losses={"groups": "exposureparity"}, **how).fit(task, preferences=corners)


def test_what_cannot_be_is_said(task, base, tmp_path):
    with pytest.raises(InputError, match="Did you mean 'hyperdpo'"):
        make_method("hyperdpoo")
    with pytest.raises(InputError, match="Did you mean 'alpha'"):
        make_method("hyperdpo", alfa=1.0)
    with pytest.raises(InputError, match="alpha"):
        make_method("hyperdpo", alpha=0.0)
    with pytest.raises(InputError, match="no reference ranker"):
        make_method("ls", **NET).fit(task, base)
    with pytest.raises(InputError, match="sampled"):
        make_method("phn", inner="epo", sampled=2)
    with pytest.raises(InputError, match="every objective once"):
        make_method("spo", order=["relevance"], **NET).fit(task, base)
    with pytest.raises(InputError, match="scratch"):
        make_method("yoto", conditioning={"kind": "film", "start": "augmented"})
    with pytest.raises(InputError, match="not fitted"):
        make_method("ls").score(task.test, W)
    with pytest.raises(InputError, match="no net"):
        make_method("ls", ranker="feature").fit(task)
    with pytest.raises(InputError, match="steered by no preference"):
        make_method("unconditioned", **NET).fit(task, preferences=[[0.9, 0.1]])
    with pytest.raises(InputError, match="no preference steers"):
        make_method("unconditioned", by="chebyshev", **NET).fit(task)
    with pytest.raises(InputError, match="trades objectives off"):
        make_method("ls", **NET).fit(load("synthetic:queries=10,objectives=1,features=50"))
    with pytest.raises(InputError, match="nothing saved here"):
        load_method(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="will not be overwritten"):
        fit("unconditioned", task, None).save(tmp_path)


NORMALISED = [*((e.name, {}) for e in METHODS if e.claims.get("payoff")), ("phn", {"inner": "epo"})]


@pytest.mark.parametrize(("name", "params"), NORMALISED, ids=str)
def test_cut_lists_are_measured_from_the_ideal_point_of_cut_lists(name, params):
    """The softmax loss of n documents is about log n: the ideal point of whole lists lies above what cut ones can lose,
    and nothing would be learned."""
    task = load("synthetic:queries=40,objectives=2,features=50")
    assert np.log(task.train.lengths).mean() > np.log(10) + 0.5
    training = {**TRAINING, "epochs": 2, "list_size": 10, "batch_size": 4}
    method = make_method(name, ranker_params={"hidden": [8]}, training=training, **params)
    method.fit(task, preferences=W, seed=1)
    assert (np.array(method.memory["ideal"]) < np.log(10)).all()


def test_a_payoff_table_is_the_mean_loss_of_single_objective_models(task):
    """Lists that training does not cut: the table, list by list, of LS at the corners with the same seed."""
    net = {**NET, "training": {**TRAINING, "list_size": int(task.train.lengths.max())}}
    method = make_method("chebyshev", **net)
    method.fit(task, preferences=W, seed=1)
    alone = make_method("ls", **net)
    alone.fit(task, preferences=np.eye(2), seed=1)
    loss, scores, train = alone._loss(), alone.score(task.train, np.eye(2)), task.train
    lists = list(zip(train.offsets, train.offsets[1:], strict=False))
    counts = np.array([[train.labels[a:b, k].max() > 0 for k in range(2)] for a, b in lists])
    table = np.zeros((2, 2))
    for model in range(2):
        for (a, b), heard in zip(lists, counts, strict=True):
            for k in np.flatnonzero(heard):
                s, y = torch.from_numpy(scores[model, a:b]), torch.from_numpy(train.labels[a:b, k].copy())
                table[model, k] += loss(s, y).item() / counts.any(1).sum()
    np.testing.assert_allclose(method.memory["ideal"], table.min(0), rtol=1e-4)
    np.testing.assert_allclose(method.memory["spread"], table.max(0) - table.min(0), rtol=1e-3)
