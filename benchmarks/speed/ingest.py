"""Reading svmlight text: ours beside scikit-learn's, XGBoost's, LightGBM's and CatBoost's loaders.

    python -m benchmarks.speed.ingest [--quick] [--rounds 3]

Two texts: the test part of a synthetic MSLR-shaped set (136 features on every line, at most 6 decimals) and a sparse
Yahoo-shaped one (about 220 of 700 features a line). Each load runs in a fresh process with one thread (ours also with
two), after a warm-up on a small file; rounds interleave the loaders. Rates of wall time (the file is in the page
cache) and of processor time, and peak memory above what the imports took. "Convert" is our whole conversion to a store
of train (the text), vali and test (small): hash, parse, write, hash what was written. "Five files" converts two folds
whose five files each hold the dense text. LightGBM reads the text without qids, which it refuses. Peers have one
thread throughout.

Targets: 100 MB/s of a core, twice that with two threads on five files; 8 times scikit-learn; no peer ahead.
"""

from __future__ import annotations

from benchmarks.speed.measure import Side, Timing, arguments, one_thread, peak, row, serve, versions, write

one_thread()

import itertools  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Callable, Iterable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

OURS = {"read": "read", "convert": "convert to a store", "five": "convert five files to a store"}
SPLITS = ("train", "vali", "test")
PEERS = ("sklearn", "xgboost", "lightgbm", "catboost")
PACKAGES = ("numpy", "numba", "pyarrow", "scikit-learn", "xgboost", "xgboost-cpu", "lightgbm", "catboost")


def dense(queries: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(X, y, q): 136 features of five kinds (counts, heavy tails, half zeros, fractions, negatives), skewed grades."""
    rng = np.random.default_rng(20261121)
    n = np.clip(np.round(np.exp(rng.normal(np.log(104), 0.55, queries))), 1, 900).astype(int)
    n[rng.integers(0, queries, 3)] = [900, 899, 850]
    q = np.repeat(np.arange(queries), n)
    z = rng.normal(0, 0.6, queries)[q] + rng.normal(0, 1, len(q))
    y = np.searchsorted(np.quantile(z, [0.52, 0.84, 0.97, 0.99]), z)
    y[np.isin(q, rng.choice(queries, round(0.028 * queries), replace=False))] = 0
    X = np.zeros((len(q), 136), np.float32)
    for f in range(136):
        s = rng.normal(0, 0.25 if f % 3 else 0.05) * z + rng.normal(0, 1, len(q)) + 0.3 * rng.normal(0, 1, queries)[q]
        kinds = (
            lambda s: np.floor(2 * np.exp(s)),
            lambda s: np.round(np.exp(2 * s + 1), 6),
            lambda s: np.round(np.maximum(s, 0), 6),
            lambda s: np.round(1 / (1 + np.exp(-s)), 6),
            lambda s: np.round(4 * s - 20, 6),
        )
        X[:, f] = kinds[f % 5](s)
    return X, y, q


def number(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def write_dense(path: Path, queries: int, first: int) -> None:
    X, y, q = dense(queries)
    with open(path, "w") as file:
        for k in np.flatnonzero(q >= first).tolist():
            pairs = " ".join(f"{i}:{number(v)}" for i, v in enumerate(X[k].tolist(), 1))
            file.write(f"{y[k]} qid:{q[k] + 1} {pairs}\n")


def write_sparse(path: Path, documents: int) -> None:
    rng = np.random.default_rng(0)
    often = rng.beta(0.6, 1.3, 700)  # how often each feature is there: about 220 of 700 a document
    with open(path, "w") as file:
        for k in range(documents):
            index = np.flatnonzero(rng.random(700) < often) + 1
            pairs = " ".join(
                f"{i}:{v:.5g}" for i, v in zip(index.tolist(), rng.random(len(index)).tolist(), strict=True)
            )
            file.write(f"{rng.integers(0, 5)} qid:{k // 24 + 1} {pairs}\n")


def write_five(folder: Path, text: Path) -> None:
    """Five files that differ in their first line, a comment, and so in their hash."""
    folder.mkdir()
    for k in range(5):
        (folder / f"{k}.txt").write_bytes(b"# %d\n" % k + text.read_bytes())


def load(loader: str, path: str, small: str) -> None:
    """Reads the file into what training needs: a dense float32 matrix, or the library's own form."""
    what, _, threads = loader.partition(" ")  # ours: "convert 2"
    if what == "read":
        from ltr.datasets import read_svmlight

        read_svmlight(path, threads=int(threads))
    elif what in OURS:
        from ltr.datasets.store.convert import convert

        sources = {"": {"train": path, "vali": small, "test": small}}
        if Path(path).is_dir():
            files = sorted(Path(path).iterdir())
            sources = {"1": dict(zip(SPLITS, files, strict=False)), "2": dict(zip(SPLITS, files[2:], strict=True))}
        with tempfile.TemporaryDirectory(dir=Path(path).parent) as folder:
            convert(sources, Path(folder) / "store", name="speed", threads=int(threads))
    elif loader == "sklearn":
        from sklearn.datasets import load_svmlight_file

        load_svmlight_file(path, dtype=np.float32, query_id=True)[0].toarray()
    elif loader == "xgboost":
        import xgboost

        xgboost.DMatrix(f"{path}?format=libsvm", nthread=1, silent=True)
    elif loader == "lightgbm":
        import lightgbm

        lightgbm.Dataset(path + ".noqid", params={"verbose": -1, "num_threads": 1}).construct()
    elif loader == "catboost":
        import catboost

        catboost.Pool(f"libsvm://{path}", thread_count=1)


def make(loader: str) -> Callable[..., Callable]:
    def step(path: str, small: str) -> Callable:
        import warnings

        warnings.simplefilter("ignore")  # peers announce the end of their text loaders
        load(loader, small, small)
        before = peak()

        def run() -> dict:
            load(loader, path, small)
            return {"memory": peak() - before}

        return run

    return step


def timed(loaders: Iterable[str], path: Path, small: Path, rounds: int) -> dict[str, Timing | str]:
    """loader -> timings, or why there are none; a fresh process a load, for the peak of memory."""
    found: dict[str, Timing | str] = {loader: Timing() for loader in loaders}
    for _ in range(rounds):
        for loader, timing in found.items():
            if isinstance(timing, str):
                continue
            with Side("ingest", loader, threads=2 if loader.endswith(" 2") else 1) as side:
                answer = side.ask({"path": str(path), "small": str(small)}, warm=False)
            if "missing" in answer:
                found[loader] = answer["missing"]
            else:
                timing.add(answer["wall"], answer["cpu"], answer["facts"])
    return found


def without_qids(file: Path) -> None:
    """FILE.noqid beside the file."""
    with open(file) as text, open(f"{file}.noqid", "w") as bare:
        bare.writelines(" ".join(w for w in line.split() if not w.startswith("qid:")) + "\n" for line in text)


def rows_of(text: str, size: float, found: dict[str, Timing | str], packages: dict[str, str]) -> list[dict]:
    """Rates and memory of reading and of converting one text of `size` MB."""
    units = {
        "MB/s": (lambda t: size / t.wall, False),
        "MB/s of processor time": (lambda t: size / t.cpu, False),
        "MB of memory": (lambda t: t.fact("memory"), True),
    }
    rows = []
    for unit, (value, lower) in units.items():
        values = {name: t if isinstance(t, str) else value(t) for name, t in found.items()}
        peers = {name: values[name] for name in PEERS if name in values}
        for ours, words in OURS.items():
            for threads in (1, 2):
                name = f"{ours} {threads}"
                if name not in values or (threads == 2 and unit != "MB/s"):
                    continue
                wanted: dict[str, Any] = {}
                if unit == "MB/s of processor time":
                    wanted["target"] = 100.0
                elif unit == "MB/s" and ours == "five":
                    wanted["target"] = 100.0 * threads
                elif unit == "MB/s" and threads == 1:
                    wanted |= {"target_ratio": 8, "target_peer": "sklearn"} if ours == "read" else {"target_ratio": 1}
                case = f"{words}: {text}, {size:.0f} MB" + (", 2 threads" if threads == 2 else "")
                rows.append(
                    row(case, unit, values[name], peers, lower=lower, threads=threads, packages=packages, **wanted)
                )
    return rows


def main() -> None:
    args = arguments(__doc__).parse_args()
    if args.serve:
        return serve(make(args.serve))
    rounds, packages = args.rounds or 3, versions(*PACKAGES)
    rows = []
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        texts = {"dense, 136 features": folder / "dense.txt", "sparse, 700 features": folder / "sparse.txt"}
        write_dense(texts["dense, 136 features"], *((100, 0) if args.quick else (2000, 1750)))
        write_sparse(texts["sparse, 700 features"], 8_000 if args.quick else 17_000)
        for text, path in texts.items():
            small = path.with_name(f"small-{path.name}")  # of the same width: it lies in the same store
            with open(path, "rb") as whole:
                small.write_bytes(b"".join(itertools.islice(whole, 200)))
            for file in (path, small):
                without_qids(file)
            one_file = [f"{what} {threads}" for what in ("read", "convert") for threads in (1, 2)]
            size = path.stat().st_size / 1e6
            rows += rows_of(text, size, timed([*one_file, *PEERS], path, small, rounds), packages)
            if text.startswith("dense"):
                write_five(folder / "five", path)
                both = timed(["five 1", "five 2"], folder / "five", small, rounds)
                rows += rows_of(text, 5 * size, both, packages)
    write("ingest", rows, args.quick)


if __name__ == "__main__":
    main()
