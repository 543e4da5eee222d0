"""From scores to fronts on a device: the numbers of the host, and nothing large that visits it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ltr.metrics
from ltr.errors import InputError
from ltr.fronts import hypervolume, nondominated, paired_hypervolumes
from ltr.methods import load_method
from ltr.objectives import lattice
from ltr.runs import execute, load_task, read_config, read_record, read_scores, verify
from ltr.runs.front_pipeline import STAGES, chain, chain_on, home_of, measured, points_of
from ltr.runs.per_query import per_query, read_per_query, table_of
from ltr.runs.scores import scores_table
from ltr.types import Split

MEASURES = [
    "nDCG@10",
    "nDCG(gain=linear,empty=0)@3",
    "nDCG(empty=1)@5",
    "nDCG(short=0)@6",
    "nDCG(ties=worst)",
    "AP",
    "RR@3",
    "ERR@4",
    "P@2",
    "DCG(gain=linear)@5",
]
LARGEST = {2: 6, 3: 4, 5: 2}  # H of the lattices here: 7, 15 and 15 points


class Given:
    """A method whose scores are known: tied, and the same on every device."""

    def __init__(self, scores: dict[str, np.ndarray], objectives: tuple[str, ...], device="cpu"):
        self.scores, self.objectives, self.device = scores, objectives, device

    def score(self, split, preferences):
        return self.scores[split.name]

    def score_tensor(self, split, preferences):
        return torch.from_numpy(self.scores[split.name]).to(self.device)


def made(rng, m: int, queries: int = 12, device: str = "cpu"):
    """(method, splits, preferences): ties, blank queries, empty ones, lists shorter than the cut-offs."""
    names, w = tuple(f"o{k}" for k in range(m)), lattice(m, LARGEST[m])
    splits, scores = {}, {}
    for name in ("vali", "test"):
        lengths = rng.integers(0, 9, queries)
        lengths[:3] = (3, 8, 0)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        labels = rng.integers(0, 4, (offsets[-1], m)).astype(np.float32)
        for k in range(m):
            for q in np.flatnonzero(rng.random(queries) < 0.2):
                labels[offsets[q] : offsets[q + 1], k] = 0
        labels[0] = 2  # one query counts for every objective
        ids = np.array([f"q{i}" for i in range(queries)])
        features = np.zeros((offsets[-1], 1), np.float32)
        splits[name] = Split(features, labels, offsets, ids, objectives=names, name=name)
        steered = (labels @ w.T).T + rng.normal(size=(len(w), offsets[-1]))
        scores[name] = np.round(steered, rng.integers(0, 3)).astype(np.float32)
    return Given(scores, names, device), splits, w


def on_host(values) -> np.ndarray:
    return values if isinstance(values, np.ndarray) else values.cpu().numpy()


def same(one, other, atol=1e-9):
    """Two chains found the same."""
    for name in one.values:
        np.testing.assert_allclose(on_host(one.values[name]), on_host(other.values[name]), rtol=0, atol=atol)
        np.testing.assert_allclose(one.front.points[name], other.front.points[name], rtol=0, atol=atol)
    if not decided(one.values["vali"], one.front.points["vali"]):
        return
    np.testing.assert_array_equal(one.front.member, other.front.member)
    assert one.volume == pytest.approx(other.volume, abs=atol)
    np.testing.assert_allclose(one.draws, other.draws, rtol=0, atol=atol)


def decided(values, points, gap: float = 1e-9) -> bool:
    """Whether rounding has no say in who dominates whom: equal means come from equal values."""
    columns = np.nan_to_num(on_host(values))
    for k in range(points.shape[1]):
        near = np.abs(points[:, None, k] - points[None, :, k]) < gap
        alike = (columns[:, None, :, k] == columns[None, :, :, k]).all(-1)
        if (near & ~alike).any():
            return False
    return True


# ------------------------------------------------------------------------------------- tensors and arrays, one number


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), m=st.sampled_from(sorted(LARGEST)))
def test_tensors_and_arrays_agree(seed, m, device):
    rng = np.random.default_rng(seed)
    method, splits, w = made(rng, m, device=device)
    measures = rng.choice(MEASURES, m).tolist()
    options = {"reference": -0.1, "draws": 30, "seed": seed, "device": device}
    tensors, arrays = (chain(method, splits, measures, w, tensors=t, **options) for t in (True, False))
    assert tensors.on == torch.device(device).type and arrays.on == "host"
    assert set(tensors.seconds) == set(STAGES) and all(s >= 0 for s in tensors.seconds.values())
    same(tensors, arrays)


@pytest.mark.parametrize("tensors", [False, True])
def test_every_stage_is_what_the_rooms_below_say(tensors, device):
    """Against the table of a run, the front and its volume of one front alone, and the bootstrap of arrays."""
    method, splits, w = made(np.random.default_rng(1), 3, device=device)
    measures = ["nDCG@10", "AP", "nDCG(gain=linear,empty=0)@3"]
    found = chain(method, splits, measures, w, reference=-0.05, draws=40, seed=3, device=device, tensors=tensors)
    for name, split in splits.items():
        own = {o: (m,) for o, m in zip(method.objectives, measures, strict=True)}
        table = per_query(split, scores_table(split, method.scores[name], w), own, method.objectives)
        mine = table_of(split, on_host(found.values[name]), measures, w, method.objectives)
        assert mine.schema == table.schema
        for column in table.column_names:
            if str(table[column].type) != "double":
                assert mine[column].equals(table[column]), column
            else:
                a, b = (t[column].to_numpy() for t in (mine, table))
                np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
    vali, test = (found.front.points[name] for name in ("vali", "test"))
    member = nondominated(vali)
    np.testing.assert_array_equal(found.front.member, member)
    assert found.volume == pytest.approx(hypervolume(test[member], -0.05), abs=1e-12)
    draws = paired_hypervolumes(on_host(found.values["test"]), member, -0.05, 40, 3)
    np.testing.assert_allclose(found.draws, draws, rtol=0, atol=1e-12)
    assert found.draws.std() > 0


@pytest.mark.parametrize("tensors", [False, True])
def test_an_objective_that_counts_nowhere_leaves_no_front(tensors, device):
    method, splits, w = made(np.random.default_rng(2), 2, device=device)
    labels = splits["vali"].labels.copy()
    labels[:, 1] = 0
    splits["vali"] = replace(splits["vali"], labels=labels)
    found = chain(method, splits, ["nDCG@10"] * 2, w, device=device, tensors=tensors)
    assert np.isnan(found.front.points["vali"][:, 1]).all() and np.isfinite(found.front.points["test"]).all()
    assert not found.front.member.any() and np.isnan(found.volume) and len(found.draws) == 0


@pytest.mark.parametrize("tensors", [False, True])
def test_rankings_that_repeat_are_measured_once(tensors, device, monkeypatch):
    method, splits, w = made(np.random.default_rng(4), 2, device=device)
    asked, evaluate = [], ltr.metrics.evaluate_rankings
    counted = lambda m, s, j: asked.append(len(s)) or evaluate(m, s, j)  # noqa: E731
    monkeypatch.setattr("ltr.runs.front_pipeline.evaluate_rankings", counted)
    home = home_of(device, tensors)
    scores = method.scores["test"][:1].repeat(len(w), 0)
    scores = scores if home is None else torch.from_numpy(scores).to(home)
    found = on_host(measured(splits["test"], scores, method.objectives, ["AP", "AP"], home))
    assert asked == [1] and len(found) == len(w)
    np.testing.assert_array_equal(found, found[:1].repeat(len(w), 0))
    scores[-1] = -scores[-1]
    assert (on_host(measured(splits["test"], scores, method.objectives, ["AP", "AP"], home))[-1] != found[-1]).any()


def test_scores_that_are_no_numbers_are_refused(device):
    method, splits, w = made(np.random.default_rng(5), 2, device=device)
    method.scores["test"][1, 4] = np.inf
    for tensors in (True, False):
        with pytest.raises(InputError, match=r"score of document \d of query \d, ranking 1 of 7"):
            chain(method, splits, ["AP", "AP"], w, device=device, tensors=tensors)


def test_points_are_means_over_queries_that_count():
    values = np.array([[[0.5, np.nan], [np.nan, np.nan], [1.0, np.nan]]])
    for each in (values, torch.from_numpy(values)):
        np.testing.assert_array_equal(on_host(points_of(each)), [[0.75, np.nan]])


# -------------------------------------------------------------------------------------------------------------- runs

DATA = "synthetic:queries=30,features=50,objectives=3"
NAMES = ("relevance", "quality")
TINY = {"ranker_params": {"hidden": [4]}, "training": {"epochs": 2, "batch_size": 8, "learning_rate": 0.03}}
GIVEN = {"data.name": DATA, "data.objectives": list(NAMES), "method.params": TINY, "preferences": 4}


@pytest.fixture(scope="module")
def config():
    return read_config(None, {**GIVEN, "method.name": "hyperdpo"})


@pytest.fixture(scope="module")
def task(config):
    return load_task(config)


@pytest.fixture(scope="module")
def runs(config, task, device, tmp_path_factory):
    """The run of arrays, and its copy whose last steps are taken by tensors: of the same saved method."""
    folder = tmp_path_factory.mktemp("chain")
    arrays = execute(config, folder / "arrays", task=task, device=device, tensors=False)
    assert arrays.done, arrays
    import shutil

    (folder / "tensors").mkdir()
    shutil.copytree(folder / "arrays" / "method", folder / "tensors" / "method")
    shutil.copy(folder / "arrays" / "config.toml", folder / "tensors")
    tensors = execute(config, folder / "tensors", task=task, device=device, tensors=True)
    assert tensors.done, tensors
    return arrays, tensors


def test_a_run_by_tensors_leaves_the_same_files_and_numbers(runs):
    arrays, tensors = runs
    assert verify(tensors.folder) == []
    for name in ("vali", "test"):
        kept = [read_scores(r.folder / "scores" / f"{name}.parquet") for r in runs]
        assert kept[0].equals(kept[1])
        a, b = (read_per_query(r.folder / "per_query" / f"{name}.parquet") for r in runs)
        assert a.schema == b.schema
        np.testing.assert_allclose(a.to_pandas().iloc[:, 5:], b.to_pandas().iloc[:, 5:], rtol=0, atol=1e-12)
        np.testing.assert_allclose(arrays.points(name), tensors.points(name), rtol=0, atol=1e-12)
    strip = lambda record: [{k: v for k, v in row.items() if k != "mean"} for row in record.measures]  # noqa: E731
    assert strip(arrays) == strip(tensors)
    assert arrays.selection["value"] == pytest.approx(tensors.selection["value"], abs=1e-12)
    assert arrays.selection["value"] == hypervolume(arrays.points("vali"), 0.0)


def test_the_record_tells_the_stages(runs, device):
    for record, on in zip(runs, ("host", torch.device(device).type), strict=True):
        kept = json.loads((record.folder / "record.json").read_text())["cost"]
        stages = kept["stages"]
        assert stages.pop("on") == on and set(stages) == {"score", "measure", "front"}
        assert all(seconds > 0 for seconds in stages.values())
        assert kept["score_seconds"] == stages["score"] and kept["measure_seconds"] >= stages["measure"]


def test_fronts_scored_anew_agree(runs, task, device):
    splits, folder = {"vali": task.vali, "test": task.test}, runs[0].folder / "method"
    fronts = [
        chain_on(folder, splits, runs[0].config["measures"], partition=4, device=device, tensors=t).front
        for t in (True, False)
    ]
    for name in splits:
        np.testing.assert_allclose(fronts[0].points[name], fronts[1].points[name], rtol=0, atol=1e-12)
        np.testing.assert_array_equal(fronts[1].points[name], read_record(runs[0].folder).points(name))


def test_no_ranking_and_no_measure_of_a_query_visits_the_host(runs, task, device, monkeypatch):
    """What comes over is points, draws, and whether something is true: never a number a document or a query."""
    method = load_method(runs[0].folder / "method")
    for model in (*method.models, method.base):
        model.net.to(device)
    largest, into_host = [], torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda x, *a, **k: largest.append(x.numel()) or into_host(x, *a, **k))
    monkeypatch.setattr(torch.Tensor, "tolist", _never)
    w = lattice(2, 4)
    found = chain(
        method, {"vali": task.vali, "test": task.test}, runs[0].config["measures"], w, device=device, tensors=True
    )
    assert largest and max(largest) <= len(w) * 2 < task.test.n_documents
    assert isinstance(found.values["test"], torch.Tensor)


def _never(*_):
    raise AssertionError("a tensor came to the host")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no NVIDIA GPU")
@pytest.mark.parametrize("m", sorted(LARGEST))
def test_a_gpu_says_what_the_cpu_says(m):
    method, splits, w = made(np.random.default_rng(m), m, queries=200, device="cuda")
    measures = (MEASURES * 2)[:m]
    options = {"reference": 0.0, "draws": 100}
    gpu = chain(method, splits, measures, w, device="cuda", **options)
    assert gpu.on == "cuda" and gpu.values["test"].is_cuda
    same(gpu, chain(method, splits, measures, w, device="cpu", **options), atol=1e-6)
