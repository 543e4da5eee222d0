"""Ten times the documents, ten times the time: conversion, opening, an epoch, a scoring pass, and private memory.

    python -m benchmarks.speed.scale [--quick] [--folder FOLDER]

Synthetic MSLR-shaped sets of 100 thousand, 400 thousand, 1.2 million and 3.7 million documents x 136 (--quick: the
first two), each in a fresh process with one thread. The store of each is written straight as `convert` leaves it; the
conversion itself is measured on text of the first two sizes. An epoch trains the MLP 64-32 with ListNet from
memory-mapped features, 64 lists a batch; a scoring pass reads every list once. What is linear costs the same per
document at every size: the target is within 20 % of the median size. Private memory is what the process holds beyond
pages of files. Needs 3 GB of disk under FOLDER (a temporary one by default) and removes all it wrote. Also draws
results/scale.png.
"""

from __future__ import annotations

from .measure import RESULTS, Side, arguments, one_thread, private, row, serve, versions, write

one_thread()

import json  # noqa: E402
import statistics  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

SIZES, QUICK, TEXTS = (100_000, 400_000, 1_200_000, 3_700_000), (100_000, 400_000), (100_000, 400_000)
FEATURES = 136
PACKAGES = ("numpy", "pyarrow", "torch", "lightning")


# ------------------------------------------------------------------------------------------------ sets of a given size


def lengths_of(documents: int) -> np.ndarray:
    """Log-normal list lengths, as MSLR's, that sum to `documents`."""
    rng = np.random.default_rng(documents)
    drawn = np.clip(np.round(np.exp(rng.normal(np.log(104), 0.55, documents // 50))), 1, 900).astype(np.int64)
    kept = drawn[: np.searchsorted(np.cumsum(drawn), documents)]
    return np.append(kept, documents - kept.sum())


def blocks(documents: int) -> Iterator[np.ndarray]:
    """Features in blocks of at most 25,000 rows; every block the same draw, shifted: cheap, and of full entropy."""
    base = np.random.default_rng(0).normal(size=(25_000, FEATURES)).astype(np.float32)
    for k, first in enumerate(range(0, documents, len(base))):
        yield base[: min(len(base), documents - first)] + np.float32(1e-3 * k)


def write_store(folder: Path, documents: int) -> None:
    """A store with one part a split (60/20/20 by query), laid out as `ltr.datasets.convert` does it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ltr.datasets.parts import _header

    lengths = lengths_of(documents)
    cuts = np.searchsorted(np.cumsum(lengths), np.array([0.6, 0.8]) * documents)
    rng, folds, kept = np.random.default_rng(1), {}, {}
    for split, own in zip(("train", "vali", "test"), np.split(lengths, cuts), strict=True):
        n, part = int(own.sum()), folder / "parts" / split
        part.mkdir(parents=True)
        with open(part / "features.npy", "wb") as file:
            file.write(_header((n, FEATURES)))
            for block in blocks(n):
                file.write(block.tobytes())
        labels = rng.choice(5, size=n, p=[0.53, 0.31, 0.13, 0.02, 0.01]).astype(np.float32)
        pq.write_table(pa.table({"relevance": labels, "row": np.arange(n)}), part / "documents.parquet")
        ids = pa.array([f"{split}{q}" for q in range(len(own))])
        queries = {"query_id": ids, "offset": np.concatenate([[0], np.cumsum(own)[:-1]]), "length": own}
        pq.write_table(pa.table(queries), part / "queries.parquet")
        folds[split] = {"part": split, "queries": [[0, len(own)]]}
        kept[split] = {"reordered": False, "doc_ids": False, "files": {}}
    manifest = {
        "schema": 1, "name": "speed", "objectives": [{"name": "relevance", "column": None, "transform": "identity"}],
        "features": {"count": FEATURES, "names": [f"f{k + 1}" for k in range(FEATURES)]}, "folds": {"": folds},
        "parts": kept,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))


def write_text(path: Path, documents: int) -> None:
    """The same shape as svmlight text, four decimals."""
    query = np.repeat(np.arange(len(lengths_of(documents))), lengths_of(documents))
    rng, row = np.random.default_rng(1), 0
    form = " ".join(f"{k}:%.4f" for k in range(1, FEATURES + 1))
    pool = [form % tuple(values) for values in rng.normal(size=(500, FEATURES)).tolist()]
    with open(path, "w") as file:
        for row in range(documents):
            file.write(f"{row % 5} qid:{query[row]} {pool[row % 500]}\n")


# --------------------------------------------------------------------------------------------------- what is measured


def opening(folder: str) -> dict:
    """Open, take every split, read the first and the last list of each."""
    import pyarrow.parquet  # noqa: F401  an import is not an opening

    from ltr.datasets.store import Store

    Store.open(folder).split("", "vali")
    before, began = private(), time.perf_counter()
    task = Store.open(folder).task("")
    for split in (task.train, task.vali, task.test):
        for q in (0, split.n_queries - 1):
            split.features[split.offsets[q] : split.offsets[q + 1]].sum()
    return {"seconds": time.perf_counter() - began, "private": private() - before, "documents": 0}


def epoch(folder: str) -> dict:
    """One training epoch of the MLP, features read from the memory map."""
    import torch

    from ltr.datasets.module import Batches
    from ltr.datasets.store import Store
    from ltr.losses import loss
    from ltr.rankers.base import Job
    from ltr.rankers.config import MLPConfig, TrainingConfig
    from ltr.rankers.lightning_module import train
    from ltr.rankers.nets import build

    torch.set_num_threads(1)
    split, listnet = Store.open(folder).split("", "train"), loss("listnet")
    settings = TrainingConfig(epochs=1)
    batches = Batches(split, lists=settings.lists, cells=settings.cells, list_size=240, shuffle=True, resident=False)
    job = Job(split, None, 0, listnet, "nDCG@10", 0, None, None, 1, "cpu")
    before, cpu = private(), time.process_time()
    train(build(MLPConfig(), FEATURES), job, settings, batches, None, "scale")
    return {"seconds": time.process_time() - cpu, "private": private() - before, "documents": split.n_documents}


def scoring(folder: str) -> dict:
    """Scores of every document of the training part by the MLP, whole lists."""
    import torch

    from ltr.datasets.module import Batches
    from ltr.datasets.store import Store
    from ltr.rankers.config import MLPConfig
    from ltr.rankers.nets import build, score_batch

    torch.set_num_threads(1)
    split, net = Store.open(folder).split("", "train"), build(MLPConfig(), FEATURES)
    before, cpu = private(), time.process_time()
    Batches(split, resident=False).collect(lambda batch: score_batch(net, batch))
    return {"seconds": time.process_time() - cpu, "private": private() - before, "documents": split.n_documents}


def converting(folder: str) -> dict:
    """Text to a store, all of it."""
    from ltr.datasets.store import convert_folder

    with tempfile.TemporaryDirectory(dir=Path(folder).parent) as beside:
        before, cpu = private(), time.process_time()
        store = convert_folder(Path(folder), Path(beside) / "store", threads=1)
        seconds = time.process_time() - cpu
        documents = sum(part["n_documents"] for part in store.manifest["folds"][store.folds[0]].values())
    return {"seconds": seconds, "private": private() - before, "documents": documents}


PASSES = {"open": opening, "train an epoch": epoch, "score": scoring, "convert": converting}


def make(side: str) -> Callable:
    return lambda folder: lambda: PASSES[side](folder)


def ask(what: str, folder: Path, rounds: int) -> dict[str, float]:
    """Medians of the facts of `rounds` fresh processes."""
    found = []
    for _ in range(rounds):
        with Side("scale", what) as side:
            answer = side.ask({"folder": str(folder)}, warm=False)
        if "missing" in answer:
            raise SystemExit(f"{what}: {answer['missing']}")
        found.append(answer["facts"])
    return {name: statistics.median(each[name] for each in found) for name in found[0]}


# ---------------------------------------------------------------------------------------------------------------- rows


def measured(folder: Path, sizes: tuple[int, ...], rounds: int) -> dict[str, dict[int, dict[str, float]]]:
    """pass -> documents of the set -> facts."""
    found: dict[str, dict[int, dict[str, float]]] = {what: {} for what in PASSES}
    for documents in sizes:
        store, text = folder / f"store{documents}", folder / f"{documents}.txt"
        write_store(store, documents)
        for what in ("open", "train an epoch", "score"):
            found[what][documents] = ask(what, store, 3 if what == "open" else rounds)
        for path in sorted(store.rglob("*"), reverse=True):  # the next size needs the room
            path.rmdir() if path.is_dir() else path.unlink()
        if documents in TEXTS:
            write_text(text, documents)
            found["convert"][documents] = ask("convert", text, rounds)
            text.unlink()
        print(f"{documents:,} documents measured", flush=True)
    return found


def rows_of(found: dict, packages: dict[str, str]) -> list[dict]:
    rows = []
    for what, by_size in found.items():
        for documents, facts in by_size.items():
            case = f"{what}, {documents:,} x {FEATURES}"
            big = documents == 1_200_000
            if what == "open":
                note = "every split, first and last list of each; imports done before"
                rows.append(row(case, "ms", 1e3 * facts["seconds"], lower=True, target=50 if big else None,
                                note=note, packages=packages))  # fmt: skip
            else:
                rows.append(row(case, "us of processor time a document", 1e6 * facts["seconds"] / facts["documents"],
                                lower=True, packages=packages))  # fmt: skip
            rows.append(row(case, "MB of private memory", max(facts["private"], 0.0), lower=True, packages=packages,
                            target=100 if what == "open" and big else None))  # fmt: skip
        if what != "open" and len(by_size) > 1:
            each = [facts["seconds"] / facts["documents"] for facts in by_size.values()]
            far = max(abs(cost / statistics.median(each) - 1) for cost in each)
            case = f"{what}: time a document, {min(by_size):,} to {max(by_size):,} documents"
            rows.append(row(case, "% from the median size at most", 100 * far, lower=True, target=20,
                            packages=packages))  # fmt: skip
    return rows


def picture(found: dict, path: Path) -> None:
    """Seconds and private memory against documents, both axes logarithmic; a straight line of slope 1 is linear."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for marker, (what, by_size) in zip("osD^", found.items(), strict=True):
        x = list(by_size)
        left.loglog(x, [facts["seconds"] for facts in by_size.values()], marker=marker, label=what)
        right.semilogx(x, [max(facts["private"], 0) for facts in by_size.values()], marker=marker, label=what)
    left.set(xlabel="documents of the set", ylabel="seconds (processor time; open: wall)")
    right.set(xlabel="documents of the set", ylabel="private memory, MB", ylim=(0, None))
    left.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3, which="both")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--folder", type=Path, help="where the sets are written")
    args = parser.parse_args()
    if args.serve:
        return serve(make(args.serve))
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="ltr-scale-") as folder:
        found = measured(Path(folder), QUICK if args.quick else SIZES, args.rounds or 1)
    rows = rows_of(found, versions(*PACKAGES))
    picture(found, (RESULTS / "quick" if args.quick else RESULTS) / "scale.png")
    write("scale", rows, args.quick)


if __name__ == "__main__":
    main()
