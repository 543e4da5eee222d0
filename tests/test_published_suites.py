"""The suites of published configurations run: every system, on synthetic files in the official layout, by the cards.

Numbers mean nothing here; that each configuration trains, scores and is measured on files as their owners publish them
is the point. Nets keep their shape, only epochs, trees and the tuning grid are cut down.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ltr.bench import run_suite
from ltr.bench.analysis.front_cube import main_of
from ltr.bench.suite import Tuning, load_suite
from ltr.bench.suite.narrow import narrowed
from ltr.bench.suite.plan import main_jobs
from ltr.datasets.cards.card import card_file, load_card
from ltr.runs import load_task
from ltr.seeds import seed_of

pytestmark = pytest.mark.usefixtures("no_pictures")


def write_official(card, raw, queries):
    """Files as the card lists them: dense, or sparse for Yahoo; equal where two folds share a file."""
    sparse = card.name.startswith("yahoo")
    parts = {}  # MSLR: S1-S5; the test file of a fold is the validation file of the next
    for fold in card.folds:
        for split, path in fold.files().items():
            key = card.files.sha256[path] or path
            if key not in parts:
                parts[key] = letor_text(card.n_features, queries[split], seed_of(key), sparse)
            (raw / path).parent.mkdir(parents=True, exist_ok=True)
            (raw / path).write_text(parts[key])


def letor_text(n_features, queries, seed, sparse):
    rng, lines = np.random.default_rng(seed), []
    for q in range(queries):
        for _ in range(rng.integers(4, 9)):
            values = rng.normal(size=n_features).round(3)
            kept = np.flatnonzero(rng.random(n_features) < 0.3) if sparse else np.arange(n_features)
            features = " ".join(f"{i + 1}:{abs(values[i]) if sparse else values[i]}" for i in kept)
            label = 0 if q == 0 else int(np.clip(values[:4].sum() + 1, 0, 4))  # the first list is blank
            lines.append(f"{label} qid:{seed % 1000}{q} {features}\n")
    return "".join(lines)


def cut_down(suite):
    """One epoch and five trees."""
    systems = []
    for system in suite.systems:
        params = {**system.params, "rounds": 5} if "rounds" in system.params else system.params
        training = {**system.training, "epochs": 1} if system.losses else system.training
        systems.append(replace(system, params=params, training=training, grid={}, seeds=(0,)))
    return replace(suite, systems=tuple(systems), seeds=(0,), tuning=Tuning())


@pytest.mark.parametrize("name", ["mslr-web10k", "mslr-web30k", "yahoo", "istella"])
def test_a_published_suite_runs_on_files_in_the_official_layout(name, tmp_path, monkeypatch, device):
    for package in ("lightgbm", "xgboost"):
        pytest.importorskip(package, reason="extra 'trees' is not installed")
    monkeypatch.setenv("LTR_DATA", str(tmp_path / "data"))
    suite = load_suite(name)
    (dataset,) = suite.datasets
    card = load_card(dataset)
    write_official(card, tmp_path / "data" / card.name / "raw", {"train": 10, "vali": 4, "test": 5})
    results = run_suite(cut_down(suite), tmp_path / "out", workers=1, threads=1, device=device, progress=False)
    assert list(results.runs.status.unique()) == ["done"], results.runs[["system", "status", "reason"]]
    assert set(results.runs.system) == {variant.label for variant in suite.variants()}
    test = results.values[results.values.split == "test"]
    assert set(test.measure) == set(suite.measures) and test["mean"].notna().all()
    assert test["mean"].between(0, 1).all()
    page = (tmp_path / "out" / "report" / "report.md").read_text()
    assert "Beside published numbers" not in page, "ten synthetic queries are not the dataset"


def two_columns_of_yahoo(home):
    """A card of one's own, as cosdpo-yahoo.toml says: the published one with two of its columns as objectives."""
    text = card_file("yahoo-set1").read_text().replace('name = "yahoo-set1"', 'name = "yahoo-aux"')
    for name, column in (("auxiliary-1", 11), ("auxiliary-2", 64)):
        text += f'\n[[objectives]]\nname = "{name}"\ncolumn = {column}\ntransform = "grade5"\nleaves = [{column}]\n'
        text += 'certainty = "recalled"\n'
    (home / "yahoo-aux").mkdir(parents=True)
    (home / "yahoo-aux" / "card.toml").write_text(text)


@pytest.mark.parametrize(
    ("name", "only", "inputs"),
    [
        ("cosdpo-mslr-web10k", ["Weight-COS-DPO film, equal total"], 131),
        ("cosdpo-mslr-web10k-5", ["Weight-COS-DPO prefix", "DPO soup", "MODPO"], 131),
        ("cosdpo-mslr-web30k", ["Weight-COS-DPO prompt"], 131),
        ("cosdpo-yahoo", ["Temperature", "Plug-in"], 698),
    ],
)
def test_the_experiment_with_a_main_label_apart_runs_on_them_too(name, only, inputs, tmp_path, monkeypatch, device):
    monkeypatch.setenv("LTR_DATA", str(tmp_path / "data"))
    if name == "cosdpo-yahoo":
        two_columns_of_yahoo(tmp_path / "data")
    suite = narrowed(load_suite(name), only, seeds=[0])
    suite = replace(suite, preferences=1, training={**suite.training, "epochs": 1})  # the corners alone
    card = load_card(suite.datasets[0])
    write_official(card, tmp_path / "data" / card.name / "raw", {"train": 10, "vali": 4, "test": 5})
    found = run_suite(suite, tmp_path / "out", workers=1, threads=1, device=device, progress=False)
    assert list(found.runs.status.unique()) == ["done"], found.runs[["system", "status", "reason"]]
    assert set(found.runs.system) == {variant.label for variant in suite.variants()}
    assert set(found.fronts.objective) == {*suite.objectives, "relevance"}
    assert found.fronts["mean"].between(0, 1).all() and np.isfinite(main_of(found, card.name)).all()
    job = main_jobs(suite, {card.name: [card.folds[0].name]})[0]
    assert load_task(job.config).train.n_features == inputs, "columns that are objectives leave the inputs"
    assert "main: relevance nDCG@10" in (tmp_path / "out" / "report" / "report.md").read_text()
