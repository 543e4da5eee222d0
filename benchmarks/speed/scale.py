"""Ten times the documents, ten times the time: conversion, opening, an epoch, a scoring pass, and private memory.

    python -m benchmarks.speed.scale [--quick] [--rounds N] [--folder FOLDER]

Synthetic MSLR-shaped text (136 features, three files: 60 % of the documents train, 20 % vali, 20 % test) of 100
thousand, 400 thousand, 1.2 million and 3.7 million documents (--quick: the first two) is written once, converted, and
what follows uses that store. Each pass runs in a fresh process with one thread, first on 2,000 documents (imports),
then on 40,000 (batches of full size), then on the set. An epoch trains the MLP 64-32 with ListNet from memory-mapped
features, 64 lists a batch; a scoring pass reads every list of train once.

What is linear costs the same processor time a document at every size: the target is within 20 % of the median size.
Private memory is the most the process held beyond pages of files, above what the imports took, looked at every 5 ms. It
is that of a batch and of what is kept a document (label, place, ids), not of the features: the target is that a further
document takes at most a tenth of the 544 bytes of its features.

Text and stores are written under FOLDER, where they stay for the next time (13 GB), or under a temporary folder, which
holds one size at a time (at most 9 GB) and goes. Also draws results/scale.png.
"""

from __future__ import annotations

from benchmarks.speed.measure import RESULTS, Side, arguments, one_thread, private, row, serve, versions, write

one_thread()

import os  # noqa: E402
import shutil  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

SIZES, QUICK = (100_000, 400_000, 1_200_000, 3_700_000), (100_000, 400_000)
IMPORTS, WARM = 2_000, 40_000
FEATURES = 136
SHARES = {"train": 0.6, "vali": 0.2, "test": 0.2}
PACKAGES = ("numpy", "numba", "pyarrow", "torch", "lightning")


# ------------------------------------------------------------------------------------------------ sets of a given size


def lengths_of(documents: int) -> np.ndarray:
    """Log-normal list lengths, as MSLR's, that sum to `documents`."""
    rng = np.random.default_rng(documents)
    drawn = np.clip(np.round(np.exp(rng.normal(np.log(104), 0.55, documents // 50))), 1, 900).astype(np.int64)
    kept = drawn[: np.searchsorted(np.cumsum(drawn), documents)]
    return np.append(kept, documents - kept.sum())


def write_text(folder: Path, documents: int) -> None:
    """train.txt, vali.txt and test.txt: features drawn from 5,000 rows of four decimals, grades as MSLR's."""
    if folder.is_dir():
        return
    rng = np.random.default_rng(1)
    form = b" ".join(b"%d:%%.4f" % k for k in range(1, FEATURES + 1))
    pool = [form % tuple(values) for values in rng.normal(size=(5_000, FEATURES)).tolist()]
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    partial.mkdir(parents=True)
    first = 0  # query
    for split, share in SHARES.items():
        lengths = lengths_of(round(share * documents))
        query = np.repeat(np.arange(first, first + len(lengths)), lengths)
        grade = rng.choice(5, size=len(query), p=[0.53, 0.31, 0.13, 0.02, 0.01])
        drawn = rng.integers(0, len(pool), len(query))
        with open(partial / f"{split}.txt", "wb") as file:
            for a in range(0, len(query), 10_000):
                some = zip(*(each[a : a + 10_000].tolist() for each in (grade, query, drawn)), strict=True)
                file.write(b"".join(b"%d qid:%d %b\n" % (y, q, pool[k]) for y, q, k in some))
        first += len(lengths)
    partial.rename(folder)


# --------------------------------------------------------------------------------------------------- what is measured


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """{"seconds", "cpu", "private"} of what runs within: wall, processor time, most private MB."""
    found: dict[str, float] = {}
    peak, over = [private()], threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            peak[0] = max(peak[0], private())

    watcher = threading.Thread(target=watch)
    watcher.start()
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        yield found
        found |= {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        found["private"] = max(*peak, private())
    finally:
        over.set()
        watcher.join()


def converting(folder: Path) -> dict:
    """Text to a store, all of it; the store stays."""
    from ltr.datasets.store.convert import convert_folder

    with watched() as found:
        convert_folder(folder / "text", folder / "store", threads=1, overwrite=True)
    return found


def opening(folder: Path) -> dict:
    """Open, take every split, read the first and the last list of each."""
    from ltr.datasets.store.store import Store

    with watched() as found:
        task = Store.open(folder / "store").task()
        for split in (task.train, task.vali, task.test):
            for q in (0, split.n_queries - 1):
                split.features[split.offsets[q] : split.offsets[q + 1]].sum()
    return found


def training(folder: Path) -> dict:
    """One training epoch of the MLP, features read from the memory map."""
    import torch

    from ltr.datasets.batching.batches import Batches
    from ltr.datasets.store.store import Store
    from ltr.losses import loss
    from ltr.rankers.config import MLPConfig, TrainingConfig
    from ltr.rankers.nets import build
    from ltr.rankers.training.job import ObjectiveJob
    from ltr.rankers.training.loop import ListModule, train
    from ltr.rankers.training.prepare import Prepared

    torch.set_num_threads(1)
    split, settings = Store.open(folder / "store").task().train, TrainingConfig(epochs=1, transform="none")
    job = ObjectiveJob(train=split, vali=None, loss=loss("listnet"), accelerator="cpu")
    data = Prepared(job, settings)
    with watched() as found:
        data.batches = Batches(
            split,
            batch_size=settings.lists,
            cells=settings.cells,
            list_size=settings.list_size,
            shuffle=True,
            resident=False,
        )
        train(ListModule(build(MLPConfig(), FEATURES), job, settings), data, "scale")
    return found


def scoring(folder: Path) -> dict:
    """Scores of every document of train by the MLP, whole lists."""
    import torch

    from ltr.datasets.batching.batches import Batches
    from ltr.datasets.store.store import Store
    from ltr.rankers.config import MLPConfig
    from ltr.rankers.nets import build, score_batch

    torch.set_num_threads(1)
    split, net = Store.open(folder / "store").task().train, build(MLPConfig(), FEATURES)
    with watched() as found:
        Batches(split, resident=False).gather(lambda batch: score_batch(net, batch))
    return found


PASSES = {"convert": converting, "open": opening, "train an epoch": training, "score": scoring}


def make(side: str) -> Callable:
    def step(folder: str) -> Callable:
        PASSES[side](Path(folder).with_name(f"{IMPORTS}"))
        before = private()
        PASSES[side](Path(folder).with_name(f"{WARM}"))

        def run() -> dict[str, float]:
            found = PASSES[side](Path(folder))
            return found | {"private": found["private"] - before}

        return run

    return step


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


def measured(root: Path, sizes: tuple[int, ...], rounds: int | None, keep: bool) -> dict:
    """pass -> documents of the set -> facts."""
    from ltr.datasets.store.convert import convert_folder

    found: dict[str, dict[int, dict[str, float]]] = {what: {} for what in PASSES}
    for documents in (IMPORTS, WARM):
        write_text(root / f"{documents}" / "text", documents)
        convert_folder(root / f"{documents}" / "text", root / f"{documents}" / "store", overwrite=True)
    for documents in sizes:
        folder = root / f"{documents}"
        write_text(folder / "text", documents)
        for what in PASSES:
            # Short passes are noisy, and cheap to repeat.
            found[what][documents] = ask(what, folder, rounds or (3 if documents < 1e6 or what == "open" else 1))
        if not keep:
            shutil.rmtree(folder)
        print(f"{documents:,} documents measured", flush=True)
    return found


def documents_of(what: str, documents: int) -> int:
    """Documents a pass goes through."""
    return documents if what in ("convert", "open") else round(SHARES["train"] * documents)


def rows_of(found: dict, packages: dict[str, str]) -> list[dict]:
    rows = []

    def add(case: str, unit: str, ours: float, target: float | None = None, note: str = "") -> None:
        rows.append(row(case, unit, ours, lower=True, target=target, note=note, packages=packages))

    for what, by_size in found.items():
        for documents, facts in by_size.items():
            case = f"{what}, {documents:,} x {FEATURES}"
            big = what == "open" and documents == 1_200_000
            if what == "open":
                note = "every split, first and last list of each; imports done before"
                add(case, "ms", 1e3 * facts["seconds"], 50 if big else None, note)
                add(case, "ms of processor time", 1e3 * facts["cpu"], 50 if big else None, note)
            else:
                add(case, "us of processor time a document", 1e6 * facts["cpu"] / documents_of(what, documents))
            add(case, "MB of private memory", facts["private"], 100 if big else None)
        least, most = min(by_size), max(by_size)
        across = f"{what}, {least:,} to {most:,} documents"
        if what != "open" and len(by_size) > 1:
            each = [facts["cpu"] / documents_of(what, documents) for documents, facts in by_size.items()]
            far = max(abs(cost / statistics.median(each) - 1) for cost in each)
            add(across, "% from the median size at most", 100 * far, 20)
        if len(by_size) > 1:
            further = documents_of(what, most) - documents_of(what, least)
            grown = 1e6 * (by_size[most]["private"] - by_size[least]["private"]) / further
            add(across, "bytes of private memory a further document", grown, 4 * FEATURES / 10)
    return rows


def picture(found: dict, path: Path) -> None:
    """Seconds and private memory against documents; straight lines of slope 1 are linear."""
    from ltr.plot_style import FAINT, MARKERS, PALETTE, canvas

    with canvas(9, 3.8, columns=2) as (figure, panels):
        ((left, right),) = panels
        for colour, marker, (what, by_size) in zip(PALETTE, MARKERS, found.items(), strict=False):
            look = {"color": colour, "marker": marker, "label": what}
            left.loglog(list(by_size), [facts["cpu"] for facts in by_size.values()], **look)
            right.loglog(list(by_size), [max(facts["private"], 0.1) for facts in by_size.values()], **look)
        sizes = list(found["open"])
        features = [4e-6 * FEATURES * n for n in sizes]
        right.loglog(sizes, features, color=FAINT, linestyle=":", label="the features themselves")
        left.set(title="Seconds of processor time", xlabel="documents of the set")
        right.set(title="Private memory, MB", xlabel="documents of the set")
        for axes in (left, right):
            axes.set_xticks(sizes, [f"{n / 1e6:g} M" for n in sizes])
            axes.set_xticks([], minor=True)
            axes.grid(True)
            axes.legend()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110, metadata={"Software": None})


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--folder", type=Path, help="where the sets are written, and stay")
    args = parser.parse_args()
    if args.serve:
        return serve(make(args.serve))
    sizes = QUICK if args.quick else SIZES
    if "--folder" in sys.argv:  # where the sets lie is nothing to publish with the command
        at = sys.argv.index("--folder")
        del sys.argv[at : at + 2]
    if args.folder is not None:
        args.folder.mkdir(parents=True, exist_ok=True)
        found = measured(args.folder.resolve(), sizes, args.rounds, keep=True)
    else:
        with tempfile.TemporaryDirectory(prefix="ltr-scale-") as folder:
            found = measured(Path(folder), sizes, args.rounds, keep=False)
    rows = rows_of(found, versions(*PACKAGES))
    picture(found, (RESULTS / "quick" if args.quick else RESULTS) / "scale.png")
    write("scale", rows, args.quick)


if __name__ == "__main__":
    main()
