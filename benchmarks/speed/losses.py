"""Losses, forward and backward: ours beside allRank's and rax's, in time and memory.

    python -m benchmarks.speed.losses [--quick] [--rounds 5] [--device cuda] [--only LOSS ...]

64 lists x 240 documents (a GPU: 256 x 1,251), float32, labels 0-4 skewed, scores N(0, 1). One process a library, one
thread, all on the same core. Numbers are medians of processor time (of wall time on a GPU, where there is no memory
and no curve); a round repeats a step for about 20 ms, because a single short one measures how a process wakes up; rax
is compiled before the first round. Memory is what the first step adds to the peak of a fresh process.

Where the peers are: LTR_PEER_ALLRANK, a checkout of allegro/allRank (else `import allrank`), and LTR_PEER_RAX_PYTHON,
an interpreter with jax and rax (else this one). A peer that is not there leaves a sentence.
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable, Container

from benchmarks.speed.measure import (
    RESULTS,
    Side,
    Timing,
    arguments,
    once,
    peak,
    race_sides,
    read,
    row,
    serve,
    versions,
    write,
)

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
# Ours once more through torch.compile: does it pay? (Those with a backward of their own are one node to it.)
OURS = ("ltr", "torch.compile")
COMPILED = ("listnet", "ranknet", "approxndcg")
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

    def step() -> None:
        leaf = scores.clone().requires_grad_()
        value = f(leaf, labels)
        value.backward()
        if device != "cpu":
            torch.cuda.synchronize()

    return step


def ours(name: str, params: dict):
    from ltr.losses import loss

    f = loss(name, **params)
    return lambda s, y: f.reduce(f(s, y), y)


def compiled(name: str, params: dict):
    import torch

    return torch.compile(ours(name, params), dynamic=False)


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
        "softmax": rax.softmax_loss,
        "listmle": rax.listmle_loss,
        "unique": rax.unique_softmax_loss,
        "hinge": rax.pairwise_hinge_loss,
        "logistic": rax.pairwise_logistic_loss,
        "dcg": functools.partial(
            rax.pairwise_logistic_loss, lambdaweight_fn=functools.partial(rax.dcg_lambdaweight, normalize=True)
        ),
        "dcg2": functools.partial(
            rax.pairwise_logistic_loss, lambdaweight_fn=functools.partial(rax.dcg2_lambdaweight, normalize=True)
        ),
        "approx": rax.approx_t12n(rax.ndcg_metric),
    }[name]
    scores, labels = (jnp.asarray(each) for each in data(lists, n))
    compiled = jax.jit(jax.value_and_grad(f))

    def step() -> None:
        _, gradient = compiled(scores, labels)
        gradient.block_until_ready()

    return step


def make(library: str, device: str) -> Callable:
    """A case -> its step; with `memory` the step runs once and tells what it added to the peak."""

    def build(name: str, params: dict, lists: int, n: int) -> Callable:
        if library == "rax":
            return rax_step(name, lists, n)
        who = {"ltr": ours, "torch.compile": compiled, "allrank": allrank}[library]
        return torch_step(who(name, params), lists, n, device)

    def step(name: str, params: dict, lists: int, n: int, memory: bool = False) -> Callable:
        if not memory:
            return steady(build(name, params, lists, n), device != "cpu")
        build(name, params, 2, 8)()  # what a first call costs once
        run, before = build(name, params, lists, n), peak()

        def measured() -> dict:
            run()
            return {"mb": peak() - before}

        return measured

    return step


def steady(run: Callable[[], None], waits: bool, seconds: float = 0.02) -> Callable[[], dict]:
    """As many steps as take so long, at least one, decided by the first call; tells the seconds of one.

    Args:
        waits: for a device, so that the wall clock counts; on a shared CPU it counts the turns of others.
    """
    count, clock = 0, 0 if waits else 1

    def steps() -> dict:
        nonlocal count
        if not count:
            run()  # compiled, if it must be
            count = max(1, min(200, int(seconds / min(once(run)[clock] for _ in range(2)))))
        wall, cpu, _ = once(lambda: [run() for _ in range(count)])
        return {"a_wall": wall / count, "a_cpu": cpu / count}

    return steps


# -------------------------------------------------------------------------------------------------------- the driver


def side(name: str, device: str) -> Side:
    python = os.environ.get("LTR_PEER_RAX_PYTHON", sys.executable) if name == "rax" else sys.executable
    return Side("losses", name, python=python, environment={"LTR_SPEED_DEVICE": device})


class Sides:
    """The libraries, each in its process, and how one case is measured on them."""

    def __init__(self, device: str, rounds: int):
        self.device, self.rounds = device, rounds
        self.all = {name: side(name, device) for name in ("ltr", "allrank", "rax", "torch.compile")}
        self.packages = versions("torch", "numpy")
        python = os.environ.get("LTR_PEER_RAX_PYTHON", sys.executable)
        self.packages |= {k: v for k, v in versions("rax", "jax", python=python).items() if k in ("rax", "jax")}
        self.clock = "ms of processor time" if device == "cpu" else "ms"

    def ms(self, found: Timing | str) -> float | str:
        return found if isinstance(found, str) else 1e3 * (found.cpu if self.device == "cpu" else found.wall)

    def times(self, names: dict[str, str], params: dict, lists: int, n: int, rounds: int = 0) -> dict[str, float | str]:
        """library -> ms; `names` is what each calls the loss."""
        found = {}
        for _ in range(rounds or self.rounds):
            for library, called in names.items():
                case = {"name": called, "params": params if library in OURS else {}, "lists": lists, "n": n}
                answer = race_sides({library: self.all[library]}, case, 1)[library]
                if isinstance(answer, str):
                    found[library] = answer
                elif not isinstance(found.setdefault(library, Timing()), str):
                    found[library].add(answer.fact("a_wall"), answer.fact("a_cpu"))
        return {library: self.ms(timing) for library, timing in found.items()}

    def first(self, library: str, called: str, params: dict, lists: int, n: int) -> tuple[float | str, float | str]:
        """(ms, MB) of the first step in a fresh process, or why not, twice."""
        case = {"name": called, "params": params if library == "ltr" else {}, "lists": lists, "n": n, "memory": True}
        with side(library, self.device) as alone:
            answer = alone.ask(case, warm=False)
        if "missing" in answer:
            return answer["missing"], answer["missing"]
        return 1e3 * answer["cpu"], max(answer["facts"]["mb"], 0.1)  # pages are what the system counts in

    def row(self, case: str, unit: str, values: dict[str, float | str], **options) -> dict:
        peers = {k: v for k, v in values.items() if k != "ltr"}
        mine = values["ltr"]
        if isinstance(mine, str):
            raise SystemExit(f"{case}: {mine}")
        return row(case, unit, mine, peers, lower=True, packages=self.packages, on=self.device, **options)


def table(sides: Sides, lists: int, n: int, only: Container[str] = ()) -> list[dict]:
    rows = []
    for name, params, peers, asked in CASES:
        if only and name not in only:
            continue
        names, case = {"ltr": name, **peers}, name + (f"({', '.join(f'{k}={v}' for k, v in params.items())})")
        case = f"{case if params else name}, {lists} x {n}"
        rounds = 2 if SLOW & set(peers.values()) else 0
        note = "; ".join(f"{library}: {called}" for library, called in peers.items())
        target = next(iter(asked.items()), ("", None))
        both = {**names, **({"torch.compile": name} if name in COMPILED and sides.device == "cpu" else {})}
        rows.append(
            sides.row(
                case,
                sides.clock,
                sides.times(both, params, lists, n, rounds),
                note=note,
                target_peer=target[0],
                target_ratio=target[1],
            )
        )
        if sides.device == "cpu":
            extra = {library: sides.first(library, called, params, lists, n)[1] for library, called in names.items()}
            rows.append(sides.row(case, "MB", extra, note=note))
    return rows


def every(sides: Sides, lists: int, n: int) -> list[dict]:
    """Every loss of the catalogue with its defaults."""
    from ltr.losses import LOSSES

    return [
        sides.row(f"{name} as it comes, {lists} x {n}", sides.clock, sides.times({"ltr": name}, {}, lists, n, 3))
        for name in LOSSES.names()
    ]


def curve(sides: Sides, lengths: tuple[int, ...]) -> list[dict]:
    """Time and memory of one list, ever longer; every point a first step in a fresh process."""
    rows = []
    for name in CURVE:
        for n in lengths:
            names = {"ltr": name}
            if name in CURVE_PEER and n in PEER_LENGTHS:
                names["allrank"] = CURVE_PEER[name]
            found = {library: sides.first(library, called, {}, 1, n) for library, called in names.items()}
            for k, unit in enumerate((sides.clock, "MB")):
                rows.append(sides.row(f"{name}, one list of {n}", unit, {lib: v[k] for lib, v in found.items()}))
    return rows


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--device", default="cpu", help="where ours and allRank run")
    parser.add_argument(
        "--only",
        nargs="+",
        default=(),
        metavar="LOSS",
        help="these of the table alone; their rows take the place of those in the file",
    )
    args = parser.parse_args()
    if args.serve:
        device = os.environ["LTR_SPEED_DEVICE"]
        if device == "cpu":
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        return serve(make(args.serve, device))
    lists, n = (64, 240) if args.device == "cpu" else (256, 1251)
    sides = Sides(args.device, args.rounds or (2 if args.quick else 5))
    if args.quick:
        lists = 16
    rows = table(sides, lists, n, args.only) + ([] if args.only else every(sides, lists, n))
    if args.device == "cpu" and not args.only:
        rows += curve(sides, LENGTHS[:2] if args.quick else LENGTHS)
    for each in sides.all.values():
        each.close()
    name = "losses" if args.device == "cpu" else f"losses-{args.device.split(':')[0]}"
    if args.only:
        new = {(each["case"], each["unit"]): each for each in rows}
        kept = read((RESULTS / "quick" if args.quick else RESULTS) / f"{name}.json")
        rows = [new.pop((each["case"], each["unit"]), each) for each in kept] + list(new.values())
    write(name, rows, args.quick)


if __name__ == "__main__":
    main()
