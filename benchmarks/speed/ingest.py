"""Reading svmlight text: ours beside scikit-learn's, XGBoost's, LightGBM's and CatBoost's loaders.

    python benchmarks/speed/ingest.py [--quick] [--rounds 5]

Two texts: the test part of a synthetic MSLR-shaped set (136 features on every line, at most 6 decimals) and a sparse
Yahoo-shaped one (about 220 of 700 features a line). Each loader runs in a process of its own with one thread, after a
warm-up on a small file; rounds interleave the loaders. Medians of wall time (the file is in the page cache) and of
peak memory above what the imports took. Results go to results/ingest.json; ratios above 1 are in our favour.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results" / "ingest.json"
LOADERS = ("ltr", "ltr store", "sklearn", "xgboost", "lightgbm", "catboost")
PACKAGES = ("numpy", "numba", "pyarrow", "scikit-learn", "xgboost", "lightgbm", "catboost")


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


def load(loader: str, path: str) -> None:
    """Reads the file into what training needs: a dense float32 matrix, or the library's own form."""
    if loader == "ltr":
        from ltr.datasets import read_svmlight

        read_svmlight(path, threads=1)
    elif loader == "ltr store":
        from ltr.datasets.store import convert_folder

        with tempfile.TemporaryDirectory() as folder:
            convert_folder(path, Path(folder) / "store", threads=1)
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


def measure(loader: str, path: str, small: str) -> dict:
    """Runs in a process of its own."""
    import resource
    import warnings

    warnings.simplefilter("ignore")  # peers announce the end of their text loaders
    load(loader, small)
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    load(loader, path)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "cpu": cpu, "memory": (after.ru_maxrss - before.ru_maxrss) / 1024}


def run(path: Path, small: Path, rounds: int) -> dict[str, dict[str, float]]:
    """loader -> medians."""
    for file in (path, small):
        stripped = (" ".join(w for w in line.split() if not w.startswith("qid:")) for line in open(file))
        Path(f"{file}.noqid").write_text("\n".join(stripped) + "\n")  # LightGBM's reader refuses qid
    found: dict[str, list[dict]] = {}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    for _ in range(rounds):
        for loader in LOADERS:
            command = [sys.executable, __file__, "--one", loader, str(path), str(small)]
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            if done.returncode == 0:
                found.setdefault(loader, []).append(json.loads(done.stdout.splitlines()[-1]))
            elif "No module named" not in done.stderr:
                raise SystemExit(f"{loader} failed:\n{done.stderr}")
    return {name: {k: statistics.median(r[k] for r in rows) for k in rows[0]} for name, rows in found.items()}


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        for name in (package, f"{package}-cpu"):
            try:
                found[package] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                continue
    return found


def device() -> str:
    try:
        model = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small texts, 3 rounds: half a minute")
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--one", nargs=3, metavar=("LOADER", "FILE", "SMALL"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(*args.one)))
        return
    rounds = args.rounds or (3 if args.quick else 5)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        texts = {"dense, 136 features": Path(folder) / "dense.txt", "sparse, 700 features": Path(folder) / "sparse.txt"}
        small = Path(folder) / "small.txt"
        write_sparse(small, 200)
        write_dense(texts["dense, 136 features"], *((100, 0) if args.quick else (2000, 1500)))
        write_sparse(texts["sparse, 700 features"], 8_000 if args.quick else 45_000)
        for text, path in texts.items():
            size = path.stat().st_size / 1e6
            medians = run(path, small, rounds)
            for unit, value, better in (
                ("MB/s", lambda m, size=size: size / m["seconds"], max),
                ("MB/s of processor time", lambda m, size=size: size / m["cpu"], max),
                ("MB of memory", lambda m: m["memory"], min),
            ):
                values = {name: round(value(m), 1) for name, m in medians.items()}
                peers = {name: v for name, v in values.items() if not name.startswith("ltr")}
                for ours in ("ltr", "ltr store"):
                    best = better(peers.values()) if peers else None
                    ratio = None
                    if best and values[ours]:
                        ratio = round(values[ours] / best if better is max else best / values[ours], 2)
                    what = "read" if ours == "ltr" else "convert to a store"
                    rows.append(
                        {
                            "case": f"{what}: {text}, {size:.0f} MB",
                            "unit": unit,
                            "ours": values[ours],
                            "peers": peers,
                            "ratio_to_best_peer": ratio,
                            "threads": 1,
                            "versions": versions(),
                            "device": device(),
                        }
                    )
                    shown = "  ".join(f"{name} {v:g}" for name, v in peers.items())
                    print(f"{rows[-1]['case']:48s} {unit:24s} {values[ours]:8g}   {shown}   ratio {ratio}")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    temporary = RESULTS.with_suffix(".partial")
    temporary.write_text(json.dumps(rows, indent=1) + "\n")
    os.replace(temporary, RESULTS)


if __name__ == "__main__":
    main()
