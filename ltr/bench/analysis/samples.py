"""A few test queries and the ten documents each method ranks first at each preference.

They are collected from the run folders, with labels from the data as for every measure, and kept beside the tidy files
(samples.parquet: a row a query x system x preference x place), so that a page made of these alone shows them too. The
file holds labels of the data: results of a set that may not be passed on are passed on without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ltr.bench.suite.plan import dataset_slug
from ltr.bench.suite.suite import slug
from ltr.metrics import evaluate
from ltr.runs.config import RunConfig
from ltr.schema import bind, read_toml
from ltr.seeds import seed_of

from .front_cube import measures_of
from .results_io import read_frame, write_frame

if TYPE_CHECKING:
    import pandas as pd

    from ltr.types import Split

    from .results import FrontResults

__all__ = ["FILE", "Sample", "best_documents", "collect", "most_finished", "pick", "read_samples", "write_samples"]

BEST = 10
FILE = "samples.parquet"


@dataclass(frozen=True, eq=False)
class Sample:
    """One query and who ranks what first.

    Attributes:
        fold, query: which; seed: of the runs that ranked it.
        documents: a name each.
        labels: `[document, objective]`.
        best: system -> `[preference, place]` numbers of documents.
        values: system -> `[preference, objective]` measures of this ranking, NaN where the query does not count.
    """

    fold: str
    query: str
    seed: int
    documents: Sequence[str]
    labels: np.ndarray
    best: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray]


def collect(results: FrontResults, folder: Path | str, dataset: str, count: int = 5) -> list[Sample]:
    """Sample queries of one dataset, from the fold and seed that most systems finished.

    Args:
        results: of the suite that ran into `folder`.
        folder: the suite's, with its `runs`.
        count: queries.

    Returns:
        Nothing where no run folder is there.

    Raises:
        InputError: the data of a run cannot be opened any more, or its scores are not of this data.
    """
    from ltr.runs import load_task
    from ltr.runs.per_query import join
    from ltr.runs.scores import read_scores

    places = _places(results, Path(folder), dataset)
    if not places:
        return []
    objectives = list(results.suite.objectives)
    weights = results.lattice
    first = next(iter(places.values()))
    split = load_task(bind(RunConfig, read_toml(first / "config.toml"), file=first / "config.toml")).test
    numbers = candidates(split)
    scores: dict[str, list[np.ndarray]] = {}
    for system, place in places.items():
        joined = join(split, read_scores(place / "scores" / "test.parquet"))
        found = {_key(weight): aligned for weight, aligned in joined if weight is not None}
        if all(_key(w) in found for w in weights):
            whole = [found[_key(w)] for w in weights]
            scores[system] = [np.stack([s[_span(split, q)] for s in whole]) for q in numbers]
    if not scores:
        return []
    best = {system: [best_documents(each) for each in mine] for system, mine in scores.items()}
    measures = measures_of(results, dataset)
    fold, seed = most_finished(results, dataset)
    samples = []
    for c in pick(best, count):
        span = _span(split, numbers[c])
        labels = np.stack([split.label(o)[span] for o in objectives], axis=-1)
        names = [f"row {r}" for r in range(span.start, span.stop)] if split.doc_ids is None else split.doc_ids[span]
        values = {s: _values(mine[c], labels, measures) for s, mine in scores.items()}
        query = str(split.query_ids[numbers[c]])
        samples.append(Sample(fold, query, seed, names, labels, {s: b[c] for s, b in best.items()}, values))
    return samples


def write_samples(samples: Mapping[str, Sequence[Sample]], path: Path) -> None:
    """Writes the samples of each dataset, whole or not at all."""
    import pandas as pd

    frames = [_rows(dataset, each) for dataset, found in samples.items() for each in found]
    write_frame(pd.concat(frames, ignore_index=True), path)


def _rows(dataset: str, sample: Sample) -> pd.DataFrame:
    import pandas as pd

    frames = []
    for system, best in sample.best.items():
        preference, place = (grid.ravel() for grid in np.indices(best.shape))
        number = best.ravel()
        columns = {
            "dataset": dataset,
            "fold": sample.fold,
            "seed": sample.seed,
            "query": sample.query,
            "documents": len(sample.documents),
            "system": system,
            "preference": preference.astype(np.int16),
            "place": place.astype(np.int16),
            "document": np.asarray(sample.documents, object)[number].astype(str),
            "number": number.astype(np.int32),
        }
        columns |= {f"label {k}": sample.labels[number, k] for k in range(sample.labels.shape[1])}
        columns |= {f"value {k}": sample.values[system][preference, k] for k in range(sample.labels.shape[1])}
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def read_samples(path: Path, dataset: str) -> list[Sample]:
    """What `write_samples` wrote of a dataset, nothing where no file is there; documents that nobody ranks among the
    best come without name and label.

    Raises:
        InputError: a damaged file.
    """
    if not path.is_file():
        return []
    frame = read_frame(path)
    frame = frame[frame.dataset == dataset]
    objectives = sum(str(column).startswith("label ") for column in frame)
    samples = []
    for _, rows in frame.groupby(["fold", "seed", "query"], sort=False):
        fold, seed, query, of = rows[["fold", "seed", "query", "documents"]].to_numpy(object)[0]
        number, names, labels = rows.number.to_numpy(), np.full(of, "", object), np.full((of, objectives), np.nan)
        names[number] = rows.document.to_numpy(object)
        labels[number] = rows[[f"label {k}" for k in range(objectives)]].to_numpy()
        best, values = {}, {}
        for system, mine in rows.groupby("system", sort=False):
            shape = mine.preference.max() + 1, mine.place.max() + 1
            best[str(system)] = mine.number.to_numpy().reshape(shape)
            values[str(system)] = mine[mine.place == 0][[f"value {k}" for k in range(objectives)]].to_numpy()
        samples.append(Sample(str(fold), str(query), int(seed), names.tolist(), labels, best, values))
    return samples


def most_finished(results: FrontResults, dataset: str) -> tuple[str, int]:
    """Fold and seed that most systems finished, the first of equals."""
    runs = results.runs[(results.runs.dataset == dataset) & (results.runs.status == "done")]
    counts = runs.groupby(["fold", "seed"], sort=False).size()
    fold, seed = counts.index[int(counts.to_numpy().argmax())]
    return str(fold), int(seed)


def _places(results: FrontResults, folder: Path, dataset: str) -> dict[str, Path]:
    """Run folder of each system for the fold and seed of the samples."""
    runs = results.runs[(results.runs.dataset == dataset) & (results.runs.status == "done")]
    if not len(runs):
        return {}
    fold, seed = most_finished(results, dataset)
    slugs = {v.label: v.slug for v in results.suite.variants()}
    found = {}
    for system in runs[(runs.fold == fold) & (runs.seed == seed)].system:
        place = folder / "runs" / dataset_slug(dataset) / slugs.get(system, slug(system)) / slug(fold) / f"seed{seed}"
        if (place / "scores" / "test.parquet").is_file() and (place / "config.toml").is_file():
            found[system] = place
    return found


def _key(weights) -> tuple[int, ...]:
    """Preferences by value: finer than any lattice, coarser than float32."""
    return tuple(np.rint(np.asarray(weights, float) * 10_000).astype(int).tolist())


def _span(split: Split, number: int) -> slice:
    return slice(int(split.offsets[number]), int(split.offsets[number + 1]))


def _values(scores: np.ndarray, labels: np.ndarray, measures: Sequence[str]) -> np.ndarray:
    """Measures of one list, `[preference, objective]`, from scores `[preference, document]`."""
    n = len(labels)
    offsets = np.arange(len(scores) + 1) * n  # every preference's ranking of it is a list
    flat = np.ascontiguousarray(scores).ravel()
    repeated = np.tile(labels, (len(scores), 1))
    found = [evaluate([m], flat, repeated[:, k], offsets)[m] for k, m in enumerate(measures)]
    return np.stack(found, axis=-1)


def best_documents(scores: np.ndarray, best: int = BEST) -> np.ndarray:
    """Numbers of the documents that rank first, best first; equal scores keep their order. `[..., document]` ->
    `[..., place]`.

    >>> best_documents(np.array([1.2, 0.4, 1.9, -0.3]), 3).tolist()
    [2, 0, 1]
    """
    return np.argsort(-np.asarray(scores), axis=-1, kind="stable")[..., :best]


def candidates(split: Split, most: int = 200) -> np.ndarray:
    """Lists worth showing: more documents than the page shows, and a positive label of every objective; if no list is
    like that, the longest."""
    positive = np.stack(
        [[part.max(initial=0) > 0 for part in np.split(split.label(o), split.offsets[1:-1])] for o in split.objectives]
    )
    good = np.flatnonzero(positive.all(0) & (split.lengths > BEST))
    if not len(good):
        return np.argsort(-split.lengths, kind="stable")[:most]
    generator = np.random.default_rng(seed_of("sample queries", split.name))
    return np.sort(generator.choice(good, most, replace=False)) if len(good) > most else good


def pick(best: Mapping[str, Sequence[np.ndarray]], count: int) -> list[int]:
    """Numbers of the queries whose best documents change most with the preference, over all systems.

    Args:
        best: system -> `[preference, place]` of each query.
        count: how many.
    """
    change = np.mean([[_changed(each) for each in queries] for queries in best.values()], axis=0)
    return np.argsort(-change, kind="stable")[:count].tolist()


def _changed(best: np.ndarray) -> float:
    """Share of documents somewhere among the best that are not there at every preference."""
    sets = [set(row) for row in best.tolist()]
    somewhere = set.union(*sets)
    return 1 - len(set.intersection(*sets)) / len(somewhere)
