"""The synthetic task: its shape, its law, and that the best ranker is the best ranker."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import numpy as np
import pytest

from ltr.datasets import synthetic
from ltr.datasets.memory import free_memory
from ltr.datasets.synthetic.generator import MEAN_LENGTH, OBJECTIVES, draw_lengths, the_world
from ltr.datasets.synthetic.oracle import GAIN, _ideal
from ltr.datasets.synthetic.task import _THRESHOLDS, drawn_thresholds, from_name, make, options_of
from ltr.errors import InputError
from ltr.types import Split


@pytest.fixture(scope="module")
def task():
    return synthetic.make(600)


@pytest.fixture(scope="module")
def truth(task):
    return task.facts["truth"]


def everything(task) -> list[Split]:
    return [task.train, task.vali, task.test]


def dcg(split, scores, labels, k) -> np.ndarray:
    """Slow and obvious: `[queries]`."""
    out = []
    for a, b in itertools.pairwise(split.offsets):
        order = np.argsort(-scores[a:b], kind="stable")[:k]
        out.append((GAIN[labels[a:b].astype(int)][order] / np.log2(np.arange(len(order)) + 2)).sum())
    return np.array(out)


def ndcg(split, scores, labels, k) -> np.ndarray:
    """`[queries]`, NaN where blank."""
    ideal = dcg(split, labels, labels, k)
    return np.divide(dcg(split, scores, labels, k), ideal, out=np.full(len(ideal), np.nan), where=ideal > 0)


class TestShape:
    def test_label_skew_lengths_and_blanks(self):
        task = synthetic.make(3_000, n_features=50)
        labels = np.concatenate([s.labels for s in everything(task)])
        for o in range(2):
            share = np.bincount(labels[:, o].astype(int), minlength=5) / len(labels)
            apart = np.abs(share - [0.52, 0.32, 0.13, 0.02, 0.01])
            assert (apart < [0.02, 0.015, 0.01, 0.003, 0.002]).all(), share
        lengths = np.concatenate([s.lengths for s in everything(task)])
        assert 100 <= np.median(lengths) <= 108 and lengths.max() > 500 and 1 <= lengths.min() < 25
        assert lengths.max() <= 900
        blank = [s.labels[a:b, 0].max() == 0 for s in everything(task) for a, b in itertools.pairwise(s.offsets)]
        assert 0.02 < np.mean(blank) < 0.042

    def test_splits_by_query(self, task):
        assert [s.n_queries for s in everything(task)] == [360, 120, 120]
        ids = np.concatenate([s.query_ids for s in everything(task)])
        assert len(set(ids)) == 600
        assert task.objectives == ("relevance", "quality")
        assert [s.name for s in everything(task)] == ["train", "vali", "test"]
        assert all(np.isfinite(s.features).all() for s in everything(task))

    def test_columns_are_of_the_kinds_of_web_data(self, task):
        x, names = task.train.features, task.train.feature_names
        assert x.shape[1] == len(names) == len(set(names)) == 136
        kinds = np.array([n.split("_")[0] for n in names])
        assert set(kinds) == {"count", "tfidf", "bounded", "logprob", "heavy", "ratio", "binary", "idf", "constant"}
        counts = x[:, kinds == "count"]
        assert (counts == np.floor(counts)).all() and (counts >= 0).all()
        assert x[:, kinds == "heavy"].max() > 1e6
        assert set(np.unique(x[:, kinds == "binary"])) == {0, 1}
        assert x[:, kinds == "bounded"].min() >= 0 and x[:, kinds == "bounded"].max() <= 1
        assert x[:, kinds == "logprob"].max() <= 0
        zeros = (x[:, kinds == "tfidf"] == 0).mean()
        assert 0.1 < zeros < 0.4
        first = task.train.offsets[:-1]
        of_query = x[:, kinds == "idf"]
        assert np.array_equal(np.repeat(of_query[first], task.train.lengths, axis=0), of_query)
        assert (np.ptp(x, axis=0) == 0).sum() == 1
        z = np.log1p(np.abs(x[:, kinds != "constant"]))
        copies = np.corrcoef(z.T) - np.eye(135)
        assert (copies.max(1) > 0.85).sum() > 30

    def test_same_seed_same_bytes(self):
        a, b, c = synthetic.make(40, seed=5), synthetic.make(40, seed=5), synthetic.make(40, seed=6)
        for x, y in zip(everything(a), everything(b), strict=True):
            assert x.features.tobytes() == y.features.tobytes() and x.labels.tobytes() == y.labels.tobytes()
            assert np.array_equal(x.offsets, y.offsets)
        assert not np.array_equal(a.train.features[:50], c.train.features[:50])
        assert not np.array_equal(a.train.features[:50], a.vali.features[:50])

    def test_more_objectives_only_add_columns(self):
        few, many = synthetic.make(30, 1), synthetic.make(30, 6)
        assert many.objectives == OBJECTIVES
        for x, y in zip(everything(few), everything(many), strict=True):
            assert np.array_equal(x.features, y.features) and np.array_equal(x.labels[:, 0], y.labels[:, 0])

    def test_any_width_from_fifty(self):
        for width in (50, 51, 64, 220):
            task = synthetic.make(10, n_features=width)
            assert task.test.n_features == width
            assert len(set(the_world(width).place.tolist())) == width


class TestLaw:
    def test_utilities_have_unit_variance_and_conflict(self):
        task = synthetic.make(300, 5)
        u = task.facts["truth"].utility(task.train)
        within = np.concatenate([u[a:b] - u[a:b].mean(0) for a, b in itertools.pairwise(task.train.offsets)])
        assert np.abs(u.std(0) - np.sqrt(1 + 0.25)).max() < 0.12
        correlation = np.corrcoef(within.T)
        assert correlation[0, 1:].max() < -0.1  # all four pull against relevance
        assert np.sum(correlation[np.triu_indices(5, 1)] < 0) == 9

    def test_the_objective_of_borrowed_columns_obeys_the_same_laws(self):
        task = synthetic.make(300, 6)
        assert OBJECTIVES[5] == task.objectives[5] == "engagement"
        u = task.facts["truth"].utility(task.train)
        assert u[:, 5].std() == pytest.approx(np.sqrt(1 + 0.25), abs=0.12)
        shares = np.bincount(task.train.labels[:, 5].astype(int), minlength=5) / task.train.n_documents
        assert np.abs(shares - [0.52, 0.32, 0.13, 0.02, 0.01]).max() < 0.04
        assert np.abs(np.corrcoef(u.T)[5, :5]).max() < 0.5, "it is none of the others again"

    def test_thresholds_give_the_probabilities_of_the_drawn_grades(self, task, truth):
        """Calibration: among documents predicted P(y >= g) near p, a share p has it; 5 sigma a bin."""
        p = truth.grade_probability(task.train)
        np.testing.assert_allclose(p.sum(2), 1)
        assert p.min() >= 0
        at_least = p[:, :, ::-1].cumsum(2)[:, :, ::-1]
        for o, g in itertools.product(range(2), range(1, 5)):
            predicted, happened = at_least[:, o, g] * (1 - truth.blank), task.train.labels[:, o] >= g
            for low in (0.05, 0.3, 0.6, 0.85):
                bin_ = (predicted > low) & (predicted <= low + 0.12)
                assert bin_.sum() > 30
                # Blanked queries take whole lists, so the variance is that of lists: allow it beside the binomial one.
                slack = 5 * np.sqrt(0.25 / bin_.sum()) + 3 * np.sqrt(truth.blank / task.train.n_queries)
                assert abs(happened[bin_].mean() - predicted[bin_].mean()) < slack

    def test_thresholds_are_those_of_the_law(self):
        np.testing.assert_allclose(_THRESHOLDS, drawn_thresholds(), rtol=1e-9)

    def test_expected_gain_is_the_mean_over_redraws(self, task, truth):
        few = task.test.take(range(30))
        generator = np.random.default_rng(0)
        draws = np.stack([GAIN[truth.draw(few, generator).astype(int)] for _ in range(400)])
        apart = draws.mean(0) - truth.expected_gain(few)
        standard = apart / np.maximum(draws.std(0) / 20, 0.02)
        assert np.abs(standard).max() < 6
        assert abs(apart.mean()) < 0.02

    def test_utility_needs_the_features_alone(self, task, truth):
        shuffled = np.random.default_rng(0).permutation(task.test.n_documents)
        features, n = task.test.features[shuffled], task.test.n_documents
        lone = Split.from_arrays(features, group=[n], objectives=task.objectives)
        assert np.array_equal(truth.utility(lone), truth.utility(task.test)[shuffled])

    def test_nothing_else_in_the_features_tells_of_the_grades(self, task, truth):
        """Given u, the residual of the gain is uncorrelated with every column (blanked lists left out)."""
        s = task.train
        judged = np.repeat([s.labels[a:b, 0].max() > 0 for a, b in itertools.pairwise(s.offsets)], s.lengths)
        residual = (GAIN[s.labels[:, 0].astype(int)] - truth.expected_gain(s)[:, 0] / (1 - truth.blank))[judged]
        scale = np.sqrt(residual.var() / len(residual))
        z = np.log1p(np.abs(s.features[judged]))
        z = (z - z.mean(0)) / np.where(z.std(0) > 0, z.std(0), 1)
        assert np.abs((z * residual[:, None]).mean(0) / scale).max() < 4.5


class TestBest:
    def rivals(self, split, truth) -> dict[str, np.ndarray]:
        r = np.random.default_rng(0)
        u = truth.utility(split)
        z = np.log1p(np.abs(split.features)) * np.sign(split.features)
        linear = np.linalg.lstsq(np.c_[z, np.ones(len(z))], u[:, 0], rcond=None)[0]
        return {
            "random": r.normal(size=len(u)),
            "linear in the features": z @ linear[:-1],
            "noisy utility": u[:, 0] + r.normal(0, 0.3, len(u)),
            "slightly noisy utility": u[:, 0] + r.normal(0, 0.1, len(u)),
            "other objective": u[:, 1],
            "mixed": u[:, 0] + 0.3 * u[:, 1],
        }

    @pytest.mark.parametrize("measure", ["dcg", "ndcg"])
    def test_best_ranker_beats_every_other_on_redrawn_labels(self, task, truth, measure):
        split = task.test.take(range(60))
        best = truth.best_scores(split, [1, 0], measure=measure)
        rivals = self.rivals(split, truth)
        generator = np.random.default_rng(1)
        of = dcg if measure == "dcg" else ndcg
        ahead = {name: [] for name in rivals}
        for _ in range(40):
            labels = truth.draw(split, generator)[:, 0]
            top = np.nanmean(of(split, best, labels, 10))
            for name, scores in rivals.items():
                ahead[name].append(top - np.nanmean(of(split, scores, labels, 10)))
        for name, values in ahead.items():
            assert np.mean(values) > 2 * np.std(values) / np.sqrt(len(values)), name

    def test_expected_dcg_is_exact(self, task, truth):
        split = task.test.take(range(60))
        scores = self.rivals(split, truth)["mixed"]
        generator = np.random.default_rng(2)
        draws = [dcg(split, scores, truth.draw(split, generator)[:, 0], 10).mean() for _ in range(200)]
        expected = truth.expected(split, scores, measure="dcg")[0]
        assert abs(np.mean(draws) - expected) < 4 * np.std(draws) / np.sqrt(200)

    def test_expected_ndcg_is_the_mean_over_redraws(self, task, truth):
        split = task.test.take(range(40))
        rivals = self.rivals(split, truth)
        generator = np.random.default_rng(3)
        draws = [
            [np.nanmean(ndcg(split, scores, labels, 10)) for scores in rivals.values()]
            for labels in (truth.draw(split, generator)[:, 0] for _ in range(80))
        ]
        expected = truth.expected(split, np.stack(list(rivals.values())))[:, 0].tolist()
        assert (np.abs(np.mean(draws, 0) - expected) < 4 * np.std(draws, 0) / np.sqrt(len(draws))).all()

    def test_best_order_by_brute_force(self, truth, task):
        """On five documents no permutation has a larger expected weighted DCG or nDCG."""
        tiny = Split.from_arrays(task.test.features[:5], task.test.labels[:5], objectives=task.objectives)
        preference = np.array([0.6, 0.4])
        for measure in ("dcg", "ndcg"):
            value = [
                truth.expected(tiny, -np.array(p, dtype=float), measure=measure, k=3) @ preference
                for p in itertools.permutations(range(5))
            ]
            best = truth.best_scores(tiny, preference, measure=measure, k=3)
            assert truth.expected(tiny, best, measure=measure, k=3) @ preference == pytest.approx(max(value), abs=1e-12)

    def test_normalised_gain_by_enumeration(self, truth, task):
        """Three documents have 125 lists of grades: the expectation in full."""
        tiny = Split.from_arrays(task.test.features[:3], task.test.labels[:3], objectives=task.objectives)
        p = truth.grade_probability(tiny)[:, 1]
        exact = np.zeros(3)
        for grades in itertools.product(range(5), repeat=3):
            gain = GAIN[list(grades)]
            ideal = (np.sort(gain)[::-1][:2] / np.log2([2, 3])).sum()
            if ideal > 0:
                exact += p[range(3), grades].prod() * gain / ideal
        got = truth.normalised_gain(tiny, k=2, draws=4_000)[:, 1]
        np.testing.assert_allclose(got, (1 - truth.blank) * exact, atol=0.004)

    def test_regret(self, task, truth):
        split = task.test.take(range(40))
        for preference in ([1, 0], [0.3, 0.7], None):
            assert truth.regret(split, truth.best_scores(split, preference), preference) == 0
            assert truth.regret(split, np.arange(split.n_documents), preference) > 0.2
        noise = np.random.default_rng(0).normal(size=split.n_documents)
        u = truth.utility(split)[:, 0]
        regrets = [truth.regret(split, u + sd * noise) for sd in (0, 0.1, 0.5, 2)]
        assert regrets == sorted(regrets) and regrets[0] < 1e-4  # alone, E[gain | x] rises with u

    def test_front_is_a_trade_off(self, task, truth):
        weights = np.linspace(0, 1, 6)
        preferences = np.stack([weights, 1 - weights], 1)
        fronts = {
            "expected": truth.front(task.test, preferences, expected=True),
            "bayes": truth.front(task.test, preferences),
            "oracle": truth.front(task.test, preferences, ranker="oracle"),
        }
        for name in ("expected", "oracle"):
            points = fronts[name]
            assert (np.diff(points[:, 0]) > 0.005).all() and (np.diff(points[:, 1]) < -0.005).all(), name
            chord = weights[:, None] * points[-1] + (1 - weights[:, None]) * points[0]
            assert ((points - chord) @ [0.5, 0.5])[1:-1].min() > 0.01, name  # bulges: compromises are worth having
            assert points[0, 0] < 0.3 and points[-1, 1] < 0.3, name  # the best at one is poor at the other
        assert (fronts["oracle"] * preferences).sum(1).min() > 0.7
        assert ((fronts["oracle"] - fronts["bayes"]) * preferences).sum(1).min() > 0
        assert np.abs(fronts["bayes"] - fronts["expected"]).max() < 0.05

    def test_front_is_measured_ndcg(self, task, truth):
        preference = np.array([0.4, 0.6])
        scores = truth.best_scores(task.test, preference)
        got = truth.front(task.test, [preference])[0]
        expected = [np.nanmean(ndcg(task.test, scores, task.test.labels[:, o], 10)) for o in range(2)]
        np.testing.assert_allclose(got, expected, rtol=1e-12)

    def test_oracle_is_not_beaten_on_its_labels(self, task, truth):
        preference = np.array([0.5, 0.5])
        top = truth.front(task.test, [preference], ranker="oracle")[0] @ preference
        rivals = {**self.rivals(task.test, truth), "bayes": truth.best_scores(task.test, preference)}
        for name, scores in rivals.items():
            got = [np.nanmean(ndcg(task.test, scores, task.test.labels[:, o], 10)) for o in range(2)]
            assert preference @ got < top, name

    def test_ideal_from_counts(self):
        grades = np.random.default_rng(0).integers(0, 5, (50, 12))
        counts = np.stack([np.bincount(g, minlength=5) for g in grades])
        for k in (1, 5, 10, None):
            gains = np.sort(GAIN[grades], axis=1)[:, ::-1][:, :k]
            np.testing.assert_allclose(_ideal(counts, k), (gains / np.log2(np.arange(gains.shape[1]) + 2)).sum(1))

    def test_a_linear_ranker_stays_behind_and_trees_come_close(self, task, truth):
        lightgbm = pytest.importorskip("lightgbm")
        from ltr.datasets.transforms import fit

        train, test = task.train.take(range(180)), task.test
        fitted = fit("log1p-standardise", train.features)
        x = np.c_[fitted.apply(train.features), np.ones(train.n_documents)]
        weights = np.linalg.lstsq(x, train.label(), rcond=None)[0]
        linear = truth.regret(test, fitted.apply(test.features) @ weights[:-1])
        parameters = {"objective": "lambdarank", "verbose": -1, "num_threads": 1, "seed": 0, "max_bin": 31}
        data = lightgbm.Dataset(train.features, train.label().copy(), group=train.lengths)
        trees = truth.regret(test, lightgbm.train(parameters, data, 50).predict(test.features))
        assert trees < 0.12 and linear > 0.17, (trees, linear)


class TestNames:
    def test_default_and_options(self):
        task = synthetic.from_name("synthetic:queries=20,objectives=3,seed=1")
        assert task.name == "synthetic:queries=20,objectives=3,seed=1" and task.objectives == OBJECTIVES[:3]
        assert sum(s.n_queries for s in everything(task)) == 20
        again = synthetic.from_name(task.name)
        assert np.array_equal(again.test.features, task.test.features)
        assert synthetic.make(600).name == "synthetic"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("synthetic:querys=20", "Did you mean 'queries'"),
            ("synthetic:queries=many", "a whole number"),
            ("synthetic:queries", "a whole number"),
            ("sythetic", "Did you mean 'synthetic'"),
            ("synthetic:queries=3", "at least 5"),
            ("synthetic:objectives=7", "1 to 6"),
            ("synthetic:features=12", "at least 50"),
        ],
    )
    def test_bad_names(self, text, message):
        with pytest.raises(InputError, match=message):
            synthetic.from_name(text)

    def test_truth_follows_the_objectives_of_the_split(self, task, truth):
        turned = replace(task.test, labels=task.test.labels[:, ::-1], objectives=task.objectives[::-1])
        assert np.array_equal(truth.expected_gain(turned), truth.expected_gain(task.test)[:, ::-1])
        one = replace(task.test, labels=task.test.labels[:, 1:], objectives=("quality",))
        both = truth.best_scores(task.test, [0, 1], measure="dcg")
        np.testing.assert_allclose(truth.best_scores(one, measure="dcg"), both, rtol=1e-12)
        assert truth.front(one, [[1.0]], ranker="oracle") == pytest.approx(1)
        with pytest.raises(InputError, match="Did you mean 'relevance'"):
            truth.utility(replace(task.test, objectives=("relevanse", "quality")))

    def test_bad_preferences(self, task, truth):
        for preference in ([1], [0.5, -0.5], [0.2, 0.3, 0.5]):
            with pytest.raises(InputError, match="2 weights >= 0"):
                truth.best_scores(task.test, preference)
        with pytest.raises(InputError, match="Did you mean 'oracle'"):
            truth.front(task.test, [[1, 0]], ranker="oracel")
        with pytest.raises(InputError, match="drawn labels"):
            truth.front(task.test, [[1, 0]], ranker="oracle", expected=True)
        with pytest.raises(InputError, match="measure of the truth"):
            truth.expected(task.test, np.zeros(task.test.n_documents), measure="map")


class TestLetor:
    def read(self, path, n_features):
        labels, queries, rows = [], [], []
        for line in path.read_text().splitlines():
            label, query, *cells = line.split()
            labels.append(float(label))
            queries.append(query.removeprefix("qid:"))
            rows.append(np.zeros(n_features, np.float32))
            for cell in cells:
                index, value = cell.split(":")
                rows[-1][int(index) - 1] = np.float32(value)
        return np.array(labels), np.array(queries), np.stack(rows)

    @pytest.mark.parametrize("sparse", [False, True])
    def test_text_gives_the_same_floats_back(self, tmp_path, sparse):
        task = synthetic.make(10, n_features=60)
        synthetic.write_letor(task, tmp_path, objective="quality", sparse=sparse)
        assert sorted(p.name for p in (tmp_path / "Fold1").iterdir()) == ["test.txt", "train.txt", "vali.txt"]
        for split in everything(task):
            path = tmp_path / "Fold1" / f"{split.name}.txt"
            labels, queries, rows = self.read(path, 60)
            assert np.array_equal(labels, split.label("quality"))
            assert np.array_equal(queries, np.repeat(split.query_ids, split.lengths))
            assert np.array_equal(rows, split.features)
            zeros = path.read_text().count(":0 ") + path.read_text().count(":0\n")
            assert (zeros == 0) is sparse

    def test_other_layouts(self, tmp_path):
        task = synthetic.make(10, n_features=50)
        names = {"train": "set1.train.txt", "vali": "set1.valid.txt", "test": "set1.test.txt"}
        synthetic.write_letor(replace(task, fold="Fold3"), tmp_path / "deep" / "er", names=names)
        assert sorted(p.name for p in (tmp_path / "deep" / "er").iterdir()) == sorted(names.values())
        synthetic.write_letor(replace(task, fold="Fold3"), tmp_path)
        assert (tmp_path / "Fold3" / "vali.txt").is_file()


# ------------------------------------------------------------------------------------------------------------- size


def test_what_does_not_fit_is_refused_before_it_is_made(monkeypatch):
    """By its name alone, in Python's whole numbers; what fits is said."""
    began = time.perf_counter()
    for queries in (10**9, 10**18, 2**63, 10**40):
        for ask in (lambda q=queries: from_name(f"synthetic:queries={q}"), lambda q=queries: make(q)):
            with pytest.raises(
                InputError, match=r"does not fit into memory.*GiB.*Ask for fewer: [\d,]+ queries would fit"
            ):
                ask()
    with pytest.raises(InputError, match="does not fit into memory.*Ask for fewer features"):
        from_name(f"synthetic:features={10**15}")
    assert time.perf_counter() - began < 5
    needed = MEAN_LENGTH * 10 * 4 * 138
    monkeypatch.setattr("ltr.datasets.synthetic.task.free_memory", lambda: needed)
    assert options_of("synthetic:queries=10")["queries"] == 10
    monkeypatch.setattr("ltr.datasets.synthetic.task.free_memory", lambda: needed - 1)
    with pytest.raises(InputError, match="Ask for fewer: 7 queries would fit"):
        options_of("synthetic:queries=10")


def test_the_mean_length_is_that_of_the_lists():
    lengths = draw_lengths(50_000, np.random.default_rng(0))
    assert abs(lengths.mean() / MEAN_LENGTH - 1) < 0.02


def test_free_memory_is_a_size():
    assert 1 << 20 < free_memory() < 1 << 50
