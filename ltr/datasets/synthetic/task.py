"""The embedded task: MSLR-shaped query lists with conflicting objectives whose best ranker is known.

    make()                    the default, 600 queries (about 73,000 documents), relevance against quality
    from_name("synthetic:queries=2000,objectives=3,seed=1")
    write_letor(task, folder)     as text files in the official layout

Shape: 136 columns of the kinds of web data (counts, tf-idf-like sums, ratios, log-probabilities, heavy tails to 1e7 and
beyond, flags, near-copies, query statistics, a constant); list lengths log-normal with median 104, up to 900;
grades 0-4 in shares of about 52/32/13/2/1 %; about 3 % of the queries without a relevant document. The laws stand in
generator.py (features to utilities) and oracle.py (utilities to grades, the optimum); `task.facts["truth"]` answers.

600 queries are the default because a laptop's two cores then train a linear ranker, an MLP, a list transformer and a
booster within three minutes, and 120 test lists still tell them apart.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ltr.atomic import whole_file
from ltr.datasets.memory import free_memory
from ltr.errors import InputError, check_name, unknown_name
from ltr.seeds import seed_of
from ltr.types import Split, Task

from .generator import MEAN_LENGTH, OBJECTIVES, check_width, draw_lengths, the_world
from .oracle import Truth, logistic_noise

__all__ = ["from_name", "make", "options_of", "write_letor"]

_DEFAULTS = {"queries": 600, "objectives": 2, "seed": 0, "features": 136}
_SHARES = np.array([0.52, 0.32, 0.13, 0.02, 0.01])  # of the grades, blank queries included
_TAU = 0.25  # noise of the grades; the utility has unit variance within a list
_BLANK = 0.028  # short lists without a relevant document bring it to about 3 %
_CHUNK = 16_384  # documents drawn at once
_THRESHOLDS = np.array(  # of the grades 1 to 4, an objective a row; a test draws them again
    [
        (0.015640235779939317, 1.1677372993673625, 2.2571885912116145, 2.832102394918619),
        (0.013177055841158681, 1.1630817679716288, 2.259100755676376, 2.8343078153526826),
        (0.013536771313533574, 1.1672492643681014, 2.2662560047136657, 2.8229782950764526),
        (0.015642063750120984, 1.1761833419485022, 2.2635919972839353, 2.819768621843194),
        (0.01587484058201609, 1.1754697785421133, 2.2679088115765533, 2.8194441808591395),
        (0.011240024686390425, 1.1679935937317363, 2.2555536138295333, 2.8131012221861367),
    ]
)


def make(n_queries: int = 600, n_objectives: int = 2, seed: int = 0, n_features: int = 136) -> Task:
    """A synthetic task, split 60/20/20 by query.

    The same arguments give the same bytes on one machine (numpy's exp may differ in the last place between processors).
    More objectives add label columns and change nothing else.

    Args:
        n_queries: queries of all three splits together, at least 5.
        n_objectives: 1 to 6 of relevance, quality, freshness, popularity, trust, engagement.
        seed: of the documents and their grades; the law stays the same.
        n_features: columns, at least 50; what 136 has beyond the carriers is copies, views and noise.

    Returns:
        Task with `facts["truth"]`, a `Truth`.

    Raises:
        InputError: an argument out of range, or a task that does not fit into the memory of this machine.
    """
    _check(n_queries, n_objectives, n_features)
    truth = Truth(the_world(n_features), _THRESHOLDS, _TAU, _BLANK)
    train, vali = round(0.6 * n_queries), round(0.2 * n_queries)
    sizes = {"train": train, "vali": vali, "test": n_queries - train - vali}
    splits, first = {}, 1
    for name, size in sizes.items():
        splits[name] = _draw_split(truth, size, first, n_objectives, name, seed)
        first += size
    options = {"queries": n_queries, "objectives": n_objectives, "seed": seed, "features": n_features}
    changed = ",".join(f"{key}={value}" for key, value in options.items() if value != _DEFAULTS[key])
    name = f"synthetic:{changed}" if changed else "synthetic"
    return Task(name, "Fold1", **splits, facts={"truth": truth, **options})


def from_name(text: str) -> Task:
    """The task a name stands for: "synthetic", or "synthetic:queries=2000,objectives=3,seed=1,features=136".

    Raises:
        InputError: an unknown option (with its near miss) or a value that is not a whole number.

    >>> from_name("synthetic:queries=10,objectives=1").objectives
    ('relevance',)
    """
    options = options_of(text)
    return make(options["queries"], options["objectives"], options["seed"], options["features"])


def options_of(text: str) -> dict[str, int]:
    """What the name of a synthetic task asks for, defaults filled in and checked; nothing is generated.

    Errors as `from_name`.

    >>> options_of("synthetic:queries=10")
    {'queries': 10, 'objectives': 2, 'seed': 0, 'features': 136}
    """
    kind, _, rest = text.partition(":")
    if kind != "synthetic":
        raise unknown_name("synthetic task", kind, ("synthetic",))
    options, given = dict(_DEFAULTS), set[str]()
    for part in filter(None, (p.strip() for p in rest.split(","))):
        key, equals, value = (p.strip() for p in part.partition("="))
        check_name("option of the synthetic task", key, options)
        if key in given:
            raise InputError(f"option {key!r} of the synthetic task stands twice", came=text)
        given.add(key)
        try:
            options[key] = int(value)
        except ValueError:
            expected = "a whole number, as in synthetic:queries=2000,objectives=3"
            raise InputError(f"option {key!r} of the synthetic task", expected=expected, came=value) from None
    _check(options["queries"], options["objectives"], options["features"])
    return options


def _check(n_queries: int, n_objectives: int, n_features: int) -> None:
    """Refuses what cannot be made, before anything is: a task lies in memory as a whole."""
    if n_queries < 5:
        raise InputError("too few queries for three splits", expected="at least 5", came=n_queries)
    if not 1 <= n_objectives <= len(OBJECTIVES):
        raise InputError("number of objectives out of range", expected=f"1 to {len(OBJECTIVES)}", came=n_objectives)
    check_width(n_features)
    a_query = MEAN_LENGTH * 4 * (n_features + n_objectives)
    free = free_memory()
    if n_queries * a_query > free:
        gib = 1 << 30
        fitting = int(0.8 * free / a_query)
        raise InputError(
            "this synthetic task does not fit into memory",
            expected=f"at most {free / gib:.1f} GiB",
            came=f"{n_queries:,} queries of {n_features:,} features, {n_queries * a_query // gib:,} GiB",
            do=f"Ask for fewer: {fitting:,} queries would fit" if fitting >= 5 else "Ask for fewer features",
        )


def write_letor(
    task: Task,
    folder: Path | str,
    *,
    names: dict[str, str] | None = None,
    objective: str | None = None,
    sparse: bool = False,
) -> Path:
    """Writes a task as LETOR text: `label qid:q 1:v 2:v ...`, one file a split.

    Numbers are written with the fewest digits that give the same float32 back.

    Args:
        folder: made when missing.
        names: file of each split; default the official layout, Fold1/train.txt, Fold1/vali.txt, Fold1/test.txt
            (the fold's name is the task's).
        objective: the label column to write; the first by default.
        sparse: leave zeros out, as the Yahoo files do.

    Returns:
        The folder.
    """
    folder = Path(folder)
    for split, name in (names or {s: f"{task.fold}/{s}.txt" for s in ("train", "vali", "test")}).items():
        path = folder / name
        with whole_file(path, durable=False) as beside, open(beside, "wb") as file:
            for text in _letor_text(task.split(split), objective, sparse):
                file.write(text)
    return folder


def _draw_split(truth: Truth, n_queries: int, first: int, n_objectives: int, name: str, seed: int) -> Split:
    generator = np.random.default_rng(seed_of("synthetic", seed, name))
    lengths = draw_lengths(n_queries, generator)
    offsets = np.concatenate([[0], lengths.cumsum()])
    features = np.empty((offsets[-1], truth.world.n_features), np.float32)
    labels = np.empty((offsets[-1], n_objectives), np.float32)
    a = 0
    while a < n_queries:  # whole lists, about _CHUNK documents
        b = max(a + 1, int(np.searchsorted(offsets, offsets[a] + _CHUNK, side="right")) - 1)
        rows = slice(offsets[a], offsets[b])
        features[rows] = truth.world.draw(lengths[a:b], generator)
        # Grades of all objectives are drawn, so that the first do not depend on how many are kept.
        labels[rows] = truth.draw_all(features[rows], lengths[a:b], generator)[:, :n_objectives]
        a = b
    ids = np.arange(first, first + n_queries).astype(str)
    objectives, names = OBJECTIVES[:n_objectives], truth.world.feature_names
    return Split(features, labels, offsets, ids, objectives=objectives, feature_names=names, name=name)


def drawn_thresholds() -> np.ndarray:
    """t^k_g `[6, 4]` that give the grades their shares, from a fixed large sample of the smallest world: what
    `_THRESHOLDS` holds, which would take each process two seconds."""
    world = the_world(50)
    generator = np.random.default_rng(seed_of("synthetic thresholds"))
    # One document a query: the query effects average out fastest.
    utility = world.draw_utility(200_000, generator)
    noisy = utility + _TAU * logistic_noise(utility.shape, generator)
    above = 1 - np.cumsum(_SHARES)[:-1]  # P(y >= g), blank queries included
    return np.quantile(noisy, 1 - above / (1 - _BLANK), axis=0).T


def _letor_text(split: Split, objective: str | None, sparse: bool):
    """Bytes of the file, some thousand documents at a time; numbers are formatted and joined by Arrow."""
    import pyarrow as pa
    import pyarrow.compute as pc

    labels = split.label(objective)
    query = np.repeat(split.query_ids, split.lengths)
    for start in range(0, split.n_documents, 8192):
        rows = slice(start, start + 8192)
        columns = [
            pc.cast(pa.array(labels[rows]), pa.string()),
            pc.binary_join_element_wise("qid", pa.array(query[rows].tolist(), pa.string()), ":"),
        ]
        for f in range(split.n_features):
            x = np.ascontiguousarray(split.features[rows, f])
            # A null is skipped by the join.
            text = pc.cast(pa.array(x, mask=(x == 0) if sparse else None), pa.string())
            columns.append(pc.binary_join_element_wise(str(f + 1), text, ":"))
        lines = pc.binary_join_element_wise(*columns, " ", null_handling="skip")
        yield ("\n".join(lines.to_pylist()) + "\n").encode()
