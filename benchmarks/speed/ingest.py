"""Reading svmlight text: ours beside scikit-learn's, XGBoost's, LightGBM's and CatBoost's loaders.

    python -m benchmarks.speed.ingest [--quick] [--rounds 5]

Two texts: the test part of a synthetic MSLR-shaped set (136 features on every line, at most 6 decimals) and a sparse
Yahoo-shaped one (about 220 of 700 features a line). Each load runs in a fresh process with one thread (ours also with
two), after a warm-up on a small file; rounds interleave the loaders. Rates of wall time (the file is in the page
cache) and of processor time, and peak memory above what the imports took. "Convert" is our whole conversion to a store
of train (the text), vali and test (small): hash, parse, write, hash what was written. LightGBM reads the text without
qids, which it refuses.
"""

from __future__ import annotations

from .measure import Side, Timing, arguments, one_thread, peak, row, serve, versions, write

one_thread()

import tempfile  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

OURS = ("ltr", "ltr, 2 threads", "ltr store", "ltr store, 2 threads")
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


def load(loader: str, path: str, small: str) -> None:
    """Reads the file into what training needs: a dense float32 matrix, or the library's own form."""
    if loader.startswith("ltr"):
        threads = 2 if loader.endswith("2 threads") else 1
        if "store" not in loader:
            from ltr.datasets import read_svmlight

            read_svmlight(path, threads=threads)
            return
        from ltr.datasets.store import convert

        splits = {"train": path, "vali": small, "test": small}
        with tempfile.TemporaryDirectory(dir=Path(path).parent) as folder:
            convert({"": splits}, Path(folder) / "store", name="speed", threads=threads)
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


def timed(path: Path, small: Path, rounds: int) -> dict[str, Timing | str]:
    """loader -> timings, or why there are none; a fresh process a load, for the peak of memory."""
    for file in (path, small):
        stripped = (" ".join(w for w in line.split() if not w.startswith("qid:")) for line in open(file))
        Path(f"{file}.noqid").write_text("\n".join(stripped) + "\n")
    found: dict[str, Timing | str] = {loader: Timing() for loader in (*OURS, *PEERS)}
    for _ in range(rounds):
        for loader, timing in found.items():
            if isinstance(timing, str):
                continue
            with Side("ingest", loader, threads=2 if "2 threads" in loader else 1) as side:
                answer = side.ask({"path": str(path), "small": str(small)}, warm=False)
            if "missing" in answer:
                found[loader] = answer["missing"]
            else:
                timing.add(answer["wall"], answer["cpu"], answer["facts"])
    return found


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
        peers = {name: values[name] for name in PEERS}
        for ours in OURS:
            if unit != "MB/s" and "2 threads" in ours:
                continue
            threads = 2 if "2 threads" in ours else 1
            what = "convert to a store" if "store" in ours else "read"
            case = f"{what}: {text}, {size:.0f} MB" + (", 2 threads" if threads == 2 else "")
            wanted = 100.0 if unit == "MB/s of processor time" else None
            note = "peers with one thread" if threads == 2 else ""
            rows.append(row(case, unit, values[ours], peers, lower=lower, target=wanted, note=note, threads=threads,
                            packages=packages))  # fmt: skip
    return rows


def main() -> None:
    args = arguments(__doc__).parse_args()
    if args.serve:
        return serve(make(args.serve))
    rounds, packages = args.rounds or (3 if args.quick else 5), versions(*PACKAGES)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        texts = {"dense, 136 features": Path(folder) / "dense.txt", "sparse, 700 features": Path(folder) / "sparse.txt"}
        small = Path(folder) / "small.txt"
        write_sparse(small, 200)
        write_dense(texts["dense, 136 features"], *((100, 0) if args.quick else (2000, 1500)))
        write_sparse(texts["sparse, 700 features"], 8_000 if args.quick else 45_000)
        for text, path in texts.items():
            rows += rows_of(text, path.stat().st_size / 1e6, timed(path, small, rounds), packages)
    write("ingest", rows, args.quick)


if __name__ == "__main__":
    main()
