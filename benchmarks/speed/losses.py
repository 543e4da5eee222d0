"""Losses, forward and backward: ours beside allRank's and rax's, in time and memory.

    python benchmarks/speed/losses.py [--quick] [--rounds 5] [--device cpu]

64 lists x 240 documents (a GPU: 256 x 1,251), float32, labels 0-4 skewed, scores N(0, 1). One process a library, one
thread, all on the same core; rounds interleave the libraries, so that a busy machine is busy for all. Numbers are
medians of CPU time (of wall time on a GPU); rax is compiled before the first round. Memory is what the first step adds
to the peak of a fresh process. Ratios above 1 are in our favour; results go to results/losses.json.

Where the peers are: LTR_PEER_ALLRANK, a checkout of allegro/allRank (else `import allrank`), and LTR_PEER_RAX_PYTHON,
an interpreter with jax and rax (else this one). A peer that is not there leaves rows that say so.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
import types
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "losses.json"

# Ours (name, parameters), and what the peers call it. "asked" is what issue "Every ranking loss of the field" wants.
CASES = (
    ("listnet", {"target": "soft"}, {"allrank": "listNet", "rax": "softmax"}, {}),
    ("listmle", {}, {"allrank": "listMLE", "rax": "listmle"}, {}),
    ("ranknet", {}, {"allrank": "rankNet", "rax": "logistic"}, {"allrank": 6}),
    ("hinge", {}, {"rax": "hinge"}, {}),
    ("lambdarank", {}, {"allrank": "lambdaRank_scheme", "rax": "dcg"}, {"allrank": 6}),
    ("lambdarank", {"k": 30, "truncation": "either"}, {"allrank": "lambdaRank_scheme"}, {"allrank": 25}),
    ("ndcgloss1", {}, {"allrank": "ndcgLoss1_scheme"}, {}),
    ("ndcgloss2", {}, {"allrank": "ndcgLoss2_scheme", "rax": "dcg2"}, {}),
    ("ndcgloss2pp", {}, {"allrank": "ndcgLoss2PP_scheme"}, {}),
    ("uniquesoftmax", {}, {"rax": "unique"}, {}),
    ("approxndcg", {"temperature": 1.0}, {"allrank": "approxNDCGLoss", "rax": "approx"}, {"allrank": 4, "rax": 2}),
    ("neuralndcg", {}, {"allrank": "neuralNDCG"}, {"allrank": 20}),
)
SLOW = {"neuralNDCG"}  # seconds a step: every other round
CURVE = ("ranknet", "lambdarank", "ndcgloss1", "approxndcg", "listmle")
CURVE_PEER = {"lambdarank": "lambdaRank_scheme", "approxndcg": "approxNDCGLoss", "ranknet": "rankNet"}
LENGTHS, PEER_LENGTHS = (250, 500, 1000, 2000, 4000, 8000), (250, 500, 1000, 2000)


# -------------------------------------------------------------------------------------- a library in its own process


def data(lists: int, n: int):
    import numpy as np

    rng = np.random.default_rng(1)
    labels = rng.choice(5, size=(lists, n), p=[0.52, 0.32, 0.13, 0.02, 0.01]).astype(np.float32)
    return rng.normal(size=(lists, n)).astype(np.float32), labels


def torch_step(f, lists: int, n: int, device: str):
    import torch

    scores, labels = (torch.as_tensor(each, device=device) for each in data(lists, n))

    def step() -> float:
        leaf = scores.clone().requires_grad_()
        value = f(leaf, labels)
        value.backward()
        if device != "cpu":
            torch.cuda.synchronize()
        return value.item()

    return step


def ours(name: str, params: dict):
    from ltr.losses import loss

    f = loss(name, **params)
    return lambda s, y: f.reduce(f(s, y), y)


def allrank(name: str, params: dict):
    folder = os.environ.get("LTR_PEER_ALLRANK")
    if folder:
        sys.path.insert(0, folder)
    for absent in ("torchvision", "torchvision.transforms", "gcsfs", "pkg_resources"):  # its data loading wants them
        module = types.ModuleType(absent)
        module.__getattr__ = lambda attribute: None
        sys.modules.setdefault(absent, module)
    from allrank.models import losses

    if name.endswith("_scheme"):
        return lambda s, y: losses.lambdaLoss(s, y, weighing_scheme=name)
    return getattr(losses, name)


def rax_step(name: str, lists: int, n: int):
    import functools

    import jax
    import jax.numpy as jnp

    if not hasattr(jax, "util"):  # rax 0.4.0 decorates with jax.util.wraps, gone from later versions of jax
        jax.util = types.SimpleNamespace(wraps=lambda f, **names: lambda g: g)
    import rax

    f = {
        "softmax": rax.softmax_loss, "listmle": rax.listmle_loss, "unique": rax.unique_softmax_loss,
        "hinge": rax.pairwise_hinge_loss, "logistic": rax.pairwise_logistic_loss,
        "dcg": functools.partial(
            rax.pairwise_logistic_loss, lambdaweight_fn=functools.partial(rax.dcg_lambdaweight, normalize=True)
        ),
        "dcg2": functools.partial(
            rax.pairwise_logistic_loss, lambdaweight_fn=functools.partial(rax.dcg2_lambdaweight, normalize=True)
        ),
        "approx": rax.approx_t12n(rax.ndcg_metric),
    }[name]  # fmt: skip
    scores, labels = (jnp.asarray(each) for each in data(lists, n))
    compiled = jax.jit(jax.value_and_grad(f))

    def step() -> float:
        value, gradient = compiled(scores, labels)
        gradient.block_until_ready()
        return float(value)

    return step


def make(library: str, name: str, params: dict, lists: int, n: int, device: str):
    if library == "rax":
        return rax_step(name, lists, n)
    return torch_step((ours if library == "ltr" else allrank)(name, params), lists, n, device)


def serve(library: str, device: str) -> None:
    """Answers one JSON request a line: time a step that is kept, or measure the memory of a first one."""
    if device == "cpu":
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if library != "rax":
        import torch

        torch.set_num_threads(1)
    steps, out = {}, os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is not an answer
    clock = time.process_time if device == "cpu" else time.perf_counter
    for line in sys.stdin:
        ask = json.loads(line)
        key = json.dumps([ask["name"], ask["params"], ask["lists"], ask["n"]])
        try:
            if ask["what"] == "memory":
                make(library, ask["name"], ask["params"], 2, 8, device)()  # what a first call costs once
                step, before = make(library, ask["name"], ask["params"], ask["lists"], ask["n"], device), peak()
                start = clock()
                step()
                answer = {"ms": 1e3 * (clock() - start), "mb": peak() - before}
            else:
                if key not in steps:
                    steps[key] = make(library, ask["name"], ask["params"], ask["lists"], ask["n"], device)
                    steps[key]()
                start = clock()
                value = steps[key]()
                answer = {"ms": 1e3 * (clock() - start), "value": value}
        except Exception as problem:  # noqa: BLE001  any failure of a peer is a row of the table
            answer = {"missing": f"{type(problem).__name__}: {problem}"[:200]}
        print(json.dumps(answer), file=out, flush=True)


def peak() -> float:
    """Peak memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# -------------------------------------------------------------------------------------------------------- the driver


class Library:
    """A process that serves steps of one library."""

    def __init__(self, name: str, device: str):
        python = os.environ.get("LTR_PEER_RAX_PYTHON", sys.executable) if name == "rax" else sys.executable
        one = {"OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
        self.name, self.device = name, device
        self.process = subprocess.Popen(
            [python, __file__, "--serve", name, "--device", device],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | one,
        )  # fmt: skip

    def ask(self, what: str, name: str, params: dict, lists: int, n: int) -> dict:
        request = {"what": what, "name": name, "params": params, "lists": lists, "n": n}
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            return {"missing": f"the process of {self.name} ended with {self.process.wait()}"}

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def memory(library: str, device: str, name: str, params: dict, lists: int, n: int) -> dict:
    """One step in a fresh process."""
    alone = Library(library, device)
    answer = alone.ask("memory", name, params, lists, n)
    alone.close()
    return answer


def table(args, libraries: dict[str, Library]) -> list[dict]:
    rows = [
        {"loss": name, "params": params, "library": library, "as": peer, "asked": asked.get(library), "times": []}
        for name, params, peers, asked in CASES
        for library, peer in [("ltr", name), *peers.items()]
    ]
    for number in range(args.rounds):
        for row in rows:
            if "missing" in row or (row["as"] in SLOW and number >= max(args.rounds // 2, 1)):
                continue
            params = row["params"] if row["library"] == "ltr" else {}
            answer = libraries[row["library"]].ask("time", row["as"], params, args.lists, args.n)
            if "missing" in answer:
                row["missing"] = answer["missing"]
            else:
                row["times"].append(answer["ms"])
    for row in rows:
        times = row.pop("times")
        if "missing" not in row:
            row |= {"ms": round(statistics.median(times), 2), "rounds": len(times)}
            params = row["params"] if row["library"] == "ltr" else {}
            if args.device == "cpu":
                extra = memory(row["library"], args.device, row["as"], params, args.lists, args.n)
                row["mb"] = round(extra["mb"], 1) if "mb" in extra else None
    own = {(row["loss"], json.dumps(row["params"])): row for row in rows if row["library"] == "ltr"}
    for row in rows:
        if row["library"] != "ltr" and "missing" not in row:
            mine = own[row["loss"], json.dumps(row["params"])]
            row["times ours"] = round(row["ms"] / mine["ms"], 1)
            if row.get("mb") and mine.get("mb") is not None:
                row["memory ours"] = round(row["mb"] / max(mine["mb"], 0.1), 1)
    return rows


def every(args, library: Library) -> list[dict]:
    """Every loss of the catalogue with its defaults."""
    from ltr.losses import LOSSES

    rows = []
    for name in LOSSES.names():
        times = [library.ask("time", name, {}, args.lists, args.n)["ms"] for _ in range(3)]
        rows.append({"loss": name, "ms": round(statistics.median(times), 2)})
    return rows


def curve(args) -> list[dict]:
    """Time and memory of one list, from 250 to 8,000 documents; every point a fresh process."""
    rows = []
    for name in CURVE:
        for library, called, lengths in (("ltr", name, LENGTHS), ("allrank", CURVE_PEER.get(name), PEER_LENGTHS)):
            for n in lengths[:2] if args.quick else lengths:
                if called:
                    answer = memory(library, args.device, called, {}, 1, n)
                    answer = {k: round(v, 1) if isinstance(v, float) else v for k, v in answer.items()}
                    rows.append({"loss": name, "library": library, "n": n} | answer)
    return rows


def environment() -> dict:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    found = {"python": platform.python_version(), "cpu": model, "cpus": os.cpu_count(), "load": os.getloadavg()[0]}
    for package in ("torch", "numpy"):
        found[package] = importlib.metadata.version(package)
    python = os.environ.get("LTR_PEER_RAX_PYTHON", sys.executable)
    code = "import importlib.metadata as m; print(m.version('rax'), m.version('jax'))"
    versions = subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.split()
    return found | dict(zip(("rax", "jax"), versions, strict=False))


def show(record: dict) -> None:
    for row in record["table"]:
        name = row["loss"] + ("" if not row["params"] else str(row["params"]))
        if "missing" in row:
            print(f"{name:58} {row['library']:8} missing: {row['missing'][:60]}")
        else:
            ratio = "" if row["library"] == "ltr" else f"{row['times ours']:7.1f} x ours"
            asked = f" (asked {row['asked']})" if row["asked"] else ""
            print(f"{name:58} {row['library']:8}{row['ms']:10.2f} ms {row.get('mb') or 0:8.1f} MB{ratio}{asked}")
    for row in record["curve"]:
        said = row.get("missing", "") or f"{row['ms']:10.1f} ms {row['mb']:9.1f} MB"
        print(f"{row['loss']:12} n = {row['n']:5} {row['library']:8} {said}")
    print("   ".join(f"{row['loss']} {row['ms']}" for row in record["every loss, ms"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="16 lists, two rounds, a short curve; nothing is written")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return serve(args.serve, args.device)
    args.lists, args.n = (64, 240) if args.device == "cpu" else (256, 1251)
    if args.quick:
        args.lists, args.rounds = 16, 2
    libraries = {name: Library(name, args.device) for name in ("ltr", "allrank", "rax")}
    record = {
        "command": "python benchmarks/speed/losses.py", "shape": [args.lists, args.n], "device": args.device,
        "threads": 1, "clock": "CPU time" if args.device == "cpu" else "wall time", "environment": environment(),
        "table": table(args, libraries), "every loss, ms": every(args, libraries["ltr"]),
        "curve": curve(args) if args.device == "cpu" else [],
    }  # fmt: skip
    for library in libraries.values():
        library.close()
    show(record)
    if not args.quick:
        target = RESULTS if args.device == "cpu" else RESULTS.with_name(f"losses-{args.device}.json")
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
