"""Rankers made of rankers: blends by validation, distilled nets, nets on the residual of another ranker."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from sklearn.isotonic import IsotonicRegression
from toy_lists import toy

import ltr
from ltr.errors import InputError
from ltr.methods.export import fixed
from ltr.metrics import evaluate, mean, reliability
from ltr.rankers import HEADLINE, load_ranker, make_ranker
from ltr.rankers.ensembles.blend import by_loss, by_measure
from ltr.rankers.ensembles.composed import centred, spread
from ltr.rankers.training.validation import ValidationMeasure
from ltr.seeds import seed_of

TRAIN, VALI, TEST = toy(seed=0), toy(30, seed=1), toy(40, seed=2)
SETTINGS = {"epochs": 6, "learning_rate": 0.02, "batch_size": 8}
NET = {"ranker": "mlp", "params": {"hidden": [8]}}
LISTNET = ltr.loss("listnet")


def measured(scores, split=TEST) -> float:
    return mean(evaluate([HEADLINE], scores, split.label(), split.offsets)[HEADLINE])


def exported(ranker) -> np.ndarray:
    """Scores of what `ltr export` writes; one list, since no score here depends on its list."""
    where = torch.ones(1, TEST.n_documents, dtype=torch.bool)
    with torch.no_grad():
        return fixed(ranker).cpu()(torch.from_numpy(TEST.features)[None], where)[0].numpy()


def made(kind, loss=LISTNET, **params):
    return make_ranker(kind, loss=loss, seed=3, **SETTINGS, **params).fit(TRAIN, VALI, accelerator="cpu")


@pytest.fixture(scope="module")
def columns():
    """Three rankers' scores of the validation lists, none of them good: two of its features, and noise."""
    noise = np.random.default_rng(0).normal(size=VALI.n_documents)
    return np.stack([VALI.features[:, 0], VALI.features[:, 2], noise]).astype(float)


def test_a_blend_of_one_is_its_member(tmp_path):
    for member in (NET, {"ranker": "linear"}):
        alone = make_ranker(member["ranker"], **SETTINGS, **member.get("params", {}))
        alone.fit(TRAIN, VALI, loss=LISTNET, seed=seed_of("member-0", 3), accelerator="cpu")
        blend = made("blend", members=[member])
        assert blend.best["weights"] == [1.0]
        np.testing.assert_array_equal(blend.score(TEST), alone.score(TEST))
    alone.save(tmp_path / "kept")
    kept = made("blend", members=[{"folder": str(tmp_path / "kept")}])
    np.testing.assert_array_equal(kept.score(TEST), alone.score(TEST))


def test_weights_are_those_of_a_grid(columns):
    """Of two all multiples are looked at; of three no move of parts is better than where the search ends."""
    measure, parts = ValidationMeasure(HEADLINE, VALI, 0), 12
    for members in itertools.permutations(range(3), 2):
        two = columns[list(members)]
        grid = [measure(np.array([k, parts - k]) / parts @ two) for k in range(parts + 1)]
        found = by_measure(measure, two, parts)
        assert measure(found @ two) == max(grid) and found.sum() == pytest.approx(1)
    found = by_measure(measure, columns, parts)
    assert (found >= 0).all() and found.sum() == pytest.approx(1)
    assert np.allclose(found * parts, np.round(found * parts))
    grid = [(i, j, parts - i - j) for i in range(parts + 1) for j in range(parts + 1 - i)]
    values = [measure(np.array(w) / parts @ columns) for w in grid]
    assert measure(found @ columns) >= np.quantile(values, 0.98)
    assert measure(found @ columns) >= max(measure(each) for each in columns)


def test_the_convex_weights_are_those_of_a_grid(columns):
    """The loss of the fitted sum is below that of every blend of a fine grid, at every scale of it."""
    labels, lengths = VALI.label(), VALI.lengths
    where = torch.arange(int(lengths.max())) < torch.as_tensor(lengths)[:, None]
    padded = lambda x: torch.zeros(where.shape).masked_scatter_(where, torch.tensor(x, dtype=torch.float32))  # noqa: E731
    graded = padded(labels)

    def least(w) -> float:
        s = padded(np.asarray(w) @ columns)
        return min(LISTNET.reduce(LISTNET(u * s, graded, where), graded, where).item() for u in np.linspace(0, 6, 121))

    found = by_loss(LISTNET, columns, labels, lengths)
    assert (found >= 0).all() and found.sum() == pytest.approx(1)
    assert least(found) <= min(least((a, b, 1 - a - b)) for a in (0.5, 0.6, 0.7, 0.8) for b in (0.1, 0.2, 0.3)) + 1e-3
    turned = by_loss(LISTNET, np.stack([columns[0], -columns[0] - columns[1]]), labels, lengths)
    np.testing.assert_allclose(turned, [1, 0], atol=1e-9)


def test_trees_and_nets_blend(tmp_path):
    pytest.importorskip("lightgbm", reason="extra 'trees' is not installed")
    trees = {"ranker": "lightgbm", "params": {"rounds": 20, "min_data_in_leaf": 5}}
    for weights in ("measure", "loss", "equal"):
        blend = made("blend", members=[trees, NET, {"ranker": "linear", "loss": "lambdarank"}], weights=weights)
        assert sum(blend.best["weights"]) == pytest.approx(1) and min(blend.best["weights"]) >= 0
        scaled = [m.score(TEST) * f for m, f in zip(blend.models, blend.factors, strict=True)]
        np.testing.assert_allclose(blend.score(TEST), sum(scaled), rtol=1e-4, atol=1e-5)
        if weights == "measure":
            assert blend.best["vali"] >= max(blend.best["alone"]) - 1e-9
    assert blend.best["weights"] == [pytest.approx(1 / 3)] * 3
    np.testing.assert_allclose(exported(blend), blend.score(TEST), rtol=1e-4, atol=1e-4)
    blend.save(tmp_path / "blend")
    np.testing.assert_array_equal(load_ranker(tmp_path / "blend").score(TEST), blend.score(TEST))


def test_the_spread_is_that_within_lists():
    shifted = np.repeat(np.arange(TEST.n_queries) * 100.0, TEST.lengths) + 3 * TEST.features[:, 0]
    lists = np.split(3 * TEST.features[:, 0].astype(float), TEST.offsets[1:-1])
    flat = np.concatenate([x - x.mean() for x in lists])
    np.testing.assert_allclose(centred(shifted, TEST), flat, atol=1e-3)
    assert spread(shifted, TEST) == pytest.approx(np.sqrt(np.mean(flat**2)), rel=1e-5)
    assert spread(np.ones(TEST.n_documents), TEST) == 1.0


@pytest.mark.parametrize("loss", [ltr.loss("listnet", target="soft"), ltr.loss("adrmse"), ltr.loss("mse")], ids=str)
def test_a_student_ranks_as_its_teacher_does(loss, tmp_path):
    """A teacher that no label agrees with: the first feature upside down. What is learned is learned from it alone."""
    teacher = make_ranker("feature", column=1, sign="down").fit(TRAIN)
    teacher.save(tmp_path / "teacher")
    settings = {"epochs": 20, "learning_rate": 0.05, "batch_size": 8}
    student = make_ranker("distilled", teacher={"folder": str(tmp_path / "teacher")}, base="linear", **settings)
    student.fit(TRAIN, loss=loss, accelerator="cpu")
    assert student.best["agreement"] > 0.95
    assert np.corrcoef(student.score(TEST), TEST.features[:, 0])[0, 1] < -0.95
    assert measured(student.score(TEST)) < measured(np.zeros(TEST.n_documents))


def test_a_student_is_selected_by_labels_and_kept_alone(tmp_path):
    student = made(
        "distilled", loss=ltr.loss("adrmse"), teacher={**NET, "loss": "listnet"}, base_params={"hidden": [4]}
    )
    assert student.best["vali"] == pytest.approx(measured(student.score(VALI), VALI), abs=1e-6)
    student.save(tmp_path / "kept")
    assert [p.name for p in (tmp_path / "kept").iterdir() if p.is_dir()] == ["student"]
    np.testing.assert_allclose(exported(student), student.score(TEST), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(load_ranker(tmp_path / "kept").score(TEST), student.score(TEST))
    with pytest.raises(InputError, match="says which"):
        make_ranker("distilled", teacher=NET)
    with pytest.raises(InputError, match="Did you mean 'batch_size'"):
        make_ranker("blend", members=[{**NET, "training": {"batsh_size": 8}}])
    with pytest.raises(InputError, match="a ranker, or a folder"):
        make_ranker("distilled", teacher={"ranker": "lightgbm", "folder": "x"})


def test_a_residual_net_is_added_to_the_first(tmp_path):
    """The first sees one feature; the net adds what it does not know, by the control that validation likes best."""
    first = make_ranker("feature", column=2).fit(TRAIN)
    first.save(tmp_path / "first")
    choice = {"folder": str(tmp_path / "first")}
    both = made("residual", first=choice, base="linear", controls=(0.0, 0.5, 1.0, 2.0))
    assert measured(both.score(TEST)) > measured(first.score(TEST)) + 0.05
    assert both.best["vali"] == pytest.approx(measured(both.score(VALI), VALI), abs=1e-6)
    control, net = both.best["control"], both.models[1]
    assert control > 0
    moved = net.score(TEST, np.ones((1, 1), np.float32), reference=np.zeros(TEST.n_documents, np.float32))[0]
    np.testing.assert_allclose(both.score(TEST), first.score(TEST) + control * moved, atol=1e-4)
    both.save(tmp_path / "both")
    np.testing.assert_array_equal(load_ranker(tmp_path / "both").score(TEST), both.score(TEST))
    known = made("residual", first={"ranker": "linear"}, base_params={"hidden": [4]})
    np.testing.assert_allclose(exported(known), known.score(TEST), rtol=1e-4, atol=1e-4)
    alone = made("residual", first=choice, controls=(0.0,))
    np.testing.assert_array_equal(alone.score(TEST), first.score(TEST))


def test_calibrated_scores_are_shares_in_the_same_order(tmp_path):
    """On validation they are as calibrated as scikit-learn's own isotonic regression; elsewhere better than none."""
    first = {**NET, "loss": "listnet", "training": SETTINGS}
    both = make_ranker("calibrated", first=first, max_grade=4, seed=3).fit(TRAIN, VALI, accelerator="cpu")
    raw, share = both.models[0].score(VALI), VALI.label() / 4
    fitted = IsotonicRegression().fit_transform(raw, share)
    assert np.abs(both.score(VALI) - fitted).max() < 0.35 and np.corrcoef(both.score(VALI), fitted)[0, 1] > 0.97
    order = np.argsort(raw, kind="stable")
    assert (np.diff(both.score(VALI)[order]) >= 0).all()
    how = {"max_grade": 4, "link": "sigmoid"}
    before = reliability(both.models[0].score(TEST), TEST.label(), **how)
    after = reliability(4 * both.score(TEST), TEST.label(), **{**how, "link": "identity"})
    assert after.ece < 0.1 < before.ece and after.brier < before.brier and after.log_loss < before.log_loss
    np.testing.assert_allclose(exported(both), both.score(TEST), atol=1e-5)
    both.save(tmp_path / "kept")
    np.testing.assert_array_equal(load_ranker(tmp_path / "kept").score(TEST), both.score(TEST))
