"""Training on features that memory does not hold: speed beside the same data in memory, and what the shuffle is worth.

    python -m benchmarks.speed.past_memory [--quick] [--rounds N] [--documents N] [--folder FOLDER]

A file of 30,000,000 documents x 136 features (16 GB, made of 5,000 rows, MSLR's list lengths) is written once under
FOLDER, where it stays for the next time, or under a temporary folder. One epoch of the MLP 64-32 with ListNet, as
`ltr train` would do it, trains on all of it, and in turn with the others on its first fifth, in a process whose
private memory is limited to 4 GiB (`ulimit -d`), with nothing of the file in the page cache when the epoch begins, so
that every byte is read from the disk once (/proc/self/io says so). Beside it the fifth held in memory, which is loaded
before the clock starts; and the order of lists that small sets have, features read from the memory map, for half a
minute at most, again with an empty cache. The transform is fitted on half a million documents.

Three clocks: of the wall; of the processor, reading and transforming on the thread that reads ahead included; and of
the thread that trains alone, which is what a wall would show where the reader has a core to itself and keeps up.

Quality: the synthetic task, lists sorted by how many of their documents are relevant, which is the worst a file can do;
nDCG@10 on test of three seeds with the whole set shuffled, with windows of at most 128 blocks, and with 16 windows of
one block each, which is what a shuffle buffer that goes through the file would see.
"""

from __future__ import annotations

from benchmarks.speed.measure import Side, arguments, one_thread, row, serve, versions, write

one_thread()

import mmap  # noqa: E402
import os  # noqa: E402
import resource  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

from benchmarks.speed.scale import FEATURES, lengths_of, watched  # noqa: E402

LIMIT, PART, SOME = 4 << 30, 5, 30.0  # bytes, a fifth, seconds
SIDES = ("in memory", "windows", "any order")
PACKAGES = ("numpy", "torch", "lightning")


def write_features(path: Path, documents: int) -> None:
    if path.is_file():
        return
    pool = np.random.default_rng(0).lognormal(size=(5_000, FEATURES)).astype(np.float32)
    rng, beside = np.random.default_rng(1), path.with_suffix(".part")
    with open(beside, "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (documents, FEATURES)}
        )
        for a in range(0, documents, 20_000):
            pool[rng.integers(0, len(pool), min(20_000, documents - a))].tofile(file)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)


def split_of(path: Path, part: int = 1):
    """The lists of the file, or of its first `1 / part`."""
    from ltr.types import Split

    features = np.load(path, mmap_mode="r")
    lengths = lengths_of(len(features))
    lengths = lengths[: len(lengths) // part]
    offsets = np.append(0, lengths.cumsum())
    labels = np.random.default_rng(2).integers(0, 3, (offsets[-1], 1)).astype(np.float32)
    return Split(features[: offsets[-1]], labels, offsets, np.arange(len(lengths)).astype(str))


def uncached(path: Path) -> None:
    """Asks the system to forget what it holds of a file."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def from_disk() -> int:
    """Bytes this process had to have read from a disk."""
    return int(Path("/proc/self/io").read_text().split("read_bytes: ")[1].split()[0])


def make(side: str) -> Callable:
    def step(path: str, part: int, quick: bool) -> Callable:
        import torch

        from ltr.datasets.batching.batches import Batches
        from ltr.datasets.batching.windows import memory_map
        from ltr.datasets.transforms import fit
        from ltr.losses import loss
        from ltr.rankers.config import MLPConfig, TrainingConfig
        from ltr.rankers.nets import build
        from ltr.rankers.training.job import ObjectiveJob
        from ltr.rankers.training.loop import ListModule, train
        from ltr.rankers.training.prepare import Prepared

        torch.set_num_threads(1)
        split, buffer = split_of(Path(path), part), 0
        if side == "windows":
            resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))
            buffer = 20_000 if quick else None
        settings = TrainingConfig(epochs=1, shuffle_buffer=buffer)
        job = ObjectiveJob(train=split, vali=None, loss=loss("listnet"), accelerator="cpu")
        data = Prepared(job, settings, fit(settings.transform, split.features[:500_000]))
        batches = data.batches
        if side == "any order":
            data.batches = batches = Batches(
                split,
                cells=settings.cells,
                batch_size=settings.batch_size,
                list_size=settings.list_size,
                shuffle=True,
                transform=data.transform,
                resident=False,
            )
        assert bool(batches.note) == (side == "windows" and not quick)
        assert batches.resident == (side == "in memory" or side == "windows" and quick)
        if batches.resident:
            batches._kept()

        def until(end: float) -> int:
            """Documents trained on, in any order, until then."""
            documents, net = 0, build(MLPConfig(), data.width)
            adam = torch.optim.Adam(net.parameters())
            for batch in batches:
                values = job.loss(net(batch.features, batch.where), batch.labels[..., 0], batch.where)
                adam.zero_grad()
                values.mean().backward()
                adam.step()
                documents += int(batch.where.sum())
                if time.perf_counter() > end:
                    break
            return documents

        def epoch() -> dict[str, float]:
            memory_map(split.features)._mmap.madvise(mmap.MADV_DONTNEED)
            uncached(Path(path))
            before, thread, documents = from_disk(), time.thread_time(), batches.n_documents
            with watched() as found:
                if side == "any order":
                    documents = until(time.perf_counter() + SOME)
                else:
                    train(ListModule(build(MLPConfig(), data.width), job, settings), data, "past memory")
            thread = time.thread_time() - thread
            return found | {"documents": documents, "read": from_disk() - before, "thread": thread}

        return epoch

    return step


def ask(name: str, path: Path, part: int, quick: bool) -> dict[str, float]:
    with Side("past_memory", name) as side:
        answer = side.ask({"path": str(path), "part": part, "quick": quick}, warm=False)
    if "missing" in answer:
        raise SystemExit(f"{name}: {answer['missing']}")
    print(name, {k: round(v, 1) for k, v in answer["facts"].items()}, flush=True)
    return answer["facts"]


def speeds(path: Path, rounds: int, quick: bool, packages: dict[str, str]) -> list[dict]:
    documents, rows = np.load(path, mmap_mode="r").shape[0], []

    def add(case: str, unit: str, ours: float, peers: dict[str, float] | None = None, **more) -> None:
        rows.append(row(case, unit, ours, peers, packages=packages, **more))

    told = {name: [] for name in SIDES}
    for _ in range(rounds):
        for name in SIDES:
            told[name].append(ask(name, path, PART, quick))
    case = f"an epoch of {documents // PART:,} x {FEATURES}"
    clocks = {"seconds": "", "cpu": " of processor time", "thread": " of the training thread's processor time"}
    for clock, unit in clocks.items():
        rate = {name: statistics.median(x["documents"] / x[clock] for x in told[name]) for name in SIDES}
        peers = {"in memory": rate["in memory"]}
        if clock != "thread":  # another thread makes its batches
            peers["in any order from the map"] = rate["any order"]
        wanted = {"target_ratio": 0.9, "target_peer": "in memory"} if clock != "cpu" else {}
        add(case, f"documents/s{unit}", rate["windows"], peers, **wanted)
    note = f"limited to {LIMIT >> 30} GiB; imports, labels and places of the lists counted"
    memory = {name: statistics.median(x["private"] for x in told[name]) for name in SIDES}
    add(case, "MB of private memory", memory["windows"], {"in memory": memory["in memory"]}, lower=True, note=note)
    whole, case = ask("windows", path, 1, quick), f"an epoch of {documents:,} x {FEATURES}"
    add(case, "documents/s", whole["documents"] / whole["seconds"])
    add(case, "documents/s of processor time", whole["documents"] / whole["cpu"])
    add(case, "documents/s of the training thread's processor time", whole["documents"] / whole["thread"])
    add(case, "MB of private memory", whole["private"], lower=True, target=LIMIT >> 20, note=note)
    add(case, "bytes read from the disk a byte of the file", whole["read"] / path.stat().st_size)
    return rows


def quality(seeds: int, quick: bool) -> list[dict]:
    import ltr
    from ltr.datasets.batching import bucketing
    from ltr.types import Task

    task = ltr.load(f"synthetic:queries={300 if quick else 2000},features=50")
    train = task.train
    relevant = np.add.reduceat(train.labels[:, 0] > 0, train.offsets[:-1], dtype=np.int64) / train.lengths
    train = train.take(np.argsort(relevant, kind="stable"))
    task = Task(task.name, task.fold, train, task.vali, task.test, facts=task.facts)
    found: dict[str, list[float]] = {}
    blocks = bucketing.BLOCKS
    for seed in range(seeds):
        for name, buffer, count in (("all", 0, blocks), ("windows", 16, blocks), ("one block", 16, 1)):
            bucketing.BLOCKS = count
            size = buffer and -(-train.n_documents // buffer)
            ranker = ltr.make_ranker(
                "mlp", loss=ltr.loss("listnet"), seed=seed, epochs=8, batch_size=15, shuffle_buffer=size
            )
            ranker.fit(task.train, task.vali)
            (values,) = ltr.evaluate("ndcg@10", ranker.score(task.test), task.test).values()
            found.setdefault(name, []).append(float(ltr.mean(values)))
    bucketing.BLOCKS = blocks
    print(found)
    middle = {name: statistics.mean(values) for name, values in found.items()}
    spread = statistics.stdev(found["all"]) if seeds > 1 else 0.0
    peers = {"the whole set shuffled": middle["all"], "16 windows of one block": middle["one block"]}
    note = f"{seeds} seeds, whose values of the whole shuffle spread by {spread:.4f}"
    count = int(bucketing.windows(train.offsets[:-1], -(-train.n_documents // 16), True).max()) + 1
    case = (
        f"{train.n_queries:,} lists sorted by their share of relevant documents, {count} windows of at most 128 blocks"
    )
    return [row(case, "nDCG@10 on test", middle["windows"], peers, note=note, packages=versions(*PACKAGES))]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--folder", type=Path, help="where the file is written, and stays")
    parser.add_argument("--documents", type=int, help="of the file")
    args = parser.parse_args()
    if args.serve:
        return serve(make(args.serve))
    if args.folder:  # where the file lies is nothing to publish with the command
        at = sys.argv.index("--folder")
        del sys.argv[at : at + 2]
    documents = args.documents or (100_000 if args.quick else 30_000_000)
    rounds, packages = args.rounds or 1, versions(*PACKAGES)
    with tempfile.TemporaryDirectory(prefix="ltr-past-memory-") as temporary:
        path = (args.folder or Path(temporary)) / f"{documents}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_features(path, documents)
        rows = speeds(path, rounds, args.quick, packages)
    write("past_memory", rows + quality(2 if args.quick else 3, args.quick), args.quick)


if __name__ == "__main__":
    main()
