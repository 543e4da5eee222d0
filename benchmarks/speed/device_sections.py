"""What device.py measures, a section each: a generator of rows, for the GPU and for the CPU beside it.

Everything is wall time: CUDA events around blocks of steps, or a clock that waits for the device; medians of rounds in
which every contestant takes its turn, after a warm-up. Memory is what torch's allocator held at its highest, less what
lay there before.
"""

from __future__ import annotations

import functools
import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from benchmarks.speed.losses import COMPILED as PAYS
from benchmarks.speed.losses import data
from benchmarks.speed.losses import ours as our_loss
from benchmarks.speed.measure import race, row, why
from ltr.datasets import load
from ltr.losses import loss
from ltr.rankers import RANKERS, TrainingConfig, make_ranker

# train, stacked and chain ask for one thread when they are imported, so they are imported where they are used.

# What an H200 does in bf16 products of 8,192 cubed on random data, and what model FLOPs are divided by. Counted model
# FLOPs over this and the time are the model FLOP utilisation (MFU).
PEAK = 790e12
PACKAGES = ("torch", "lightning", "numpy")
Rows = Iterator[dict[str, Any]]


class Budget:
    """Seconds of a section; cases that no longer fit are remembered, and where they would have run."""

    def __init__(self, seconds: float):
        self.end, self.left_out, self.where = time.monotonic() + seconds, [], ""

    def allows(self, case: str, seconds: float) -> bool:
        """Whether so many seconds are left for a case."""
        if time.monotonic() + seconds <= self.end:
            return True
        self.left_out.append(case + self.where)
        return False


class Home:
    """A device with its clock and its memory: "cuda" or "cpu".

    Args:
        device: the torch device.
        quick: small sizes and few rounds.
        threads: of torch, for the rows.
    """

    def __init__(self, device: str, quick: bool, threads: int):
        self.device, self.quick, self.gpu = device, quick, device != "cpu"
        self.accelerator = "gpu" if self.gpu else "cpu"
        self.rounds, self.fits = (1, 1) if quick else (5, 3) if self.gpu else (3, 2)  # of steps, of whole trainings
        self.row = functools.partial(row, threads=threads, packages=PACKAGES, on=device, name="device")

    def wait(self) -> None:
        if self.gpu:
            torch.cuda.synchronize()

    def seconds(self, run: Callable[[], Any], count: int) -> float:
        """Of one step, in a block of `count`."""
        if not self.gpu:
            began = time.perf_counter()
            for _ in range(count):
                run()
            return (time.perf_counter() - began) / count
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        for _ in range(count):
            run()
        last.record()
        last.synchronize()
        return first.elapsed_time(last) / 1e3 / count

    def turns(self, contestants: Mapping[str, Callable[[], Any]]) -> dict[str, float | str]:
        """name -> median seconds of a step, or why there are none; blocks take 20 ms, or one step."""
        block, counts, found = 0.002 if self.quick else 0.02, {}, {}
        for turn in range(-1, self.rounds):
            for name, run in contestants.items():
                try:
                    if turn < 0:
                        run()  # compiled, if it must be
                        once = min(self.seconds(run, 1) for _ in range(2))
                        counts[name], found[name] = max(1, min(1000, int(block / max(once, 1e-9)))), []
                    elif not isinstance(found[name], str):
                        found[name].append(self.seconds(run, counts[name]))
                except Exception as problem:  # noqa: BLE001  a contestant that cannot is a sentence in the table
                    found[name] = reason(problem)
                    self.empty()
        return {name: each if isinstance(each, str) else statistics.median(each) for name, each in found.items()}

    def empty(self) -> None:
        """Gives the allocator's free memory back."""
        if self.gpu:
            gc.collect()
            torch.cuda.empty_cache()

    def peak(self, run: Callable[[], Any]) -> float | str:
        """MB of the device that one step takes beyond what lay there."""
        self.empty()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        try:
            run()
            self.wait()
        except Exception as problem:  # noqa: BLE001
            return reason(problem)
        return max(torch.cuda.max_memory_allocated() - before, 1) / 2**20


def reason(problem: Exception) -> str:
    return "out of memory" if type(problem).__name__ == "OutOfMemoryError" else why(problem)


# ------------------------------------------------------------------------------------------------------------ ceilings


def ceilings(home: Home, budget: Budget) -> Rows:
    """What the device can do: a large matrix product, and a copy through its memory."""
    n = 8192 if home.gpu and not home.quick else 256 if home.quick else 2048
    for dtype in (torch.bfloat16, torch.float32) if home.gpu else (torch.float32,):
        a, b = (torch.randn(n, n, device=home.device).to(dtype) for _ in range(2))
        seconds = home.turns({"it": lambda a=a, b=b: a @ b})["it"]
        case = f"matrix product of {n:,} cubed, {str(dtype).removeprefix('torch.')}"
        yield home.row(case, "TFLOP/s", 2 * n**3 / seconds / 1e12, note="random data")
    megabytes = 4096 if home.gpu and not home.quick else 1 if home.quick else 256
    source = torch.randn(megabytes * 2**18, device=home.device)
    target = torch.empty_like(source)
    seconds = home.turns({"it": lambda: target.copy_(source)})["it"]
    yield home.row(f"copy of {megabytes:,} MiB", "GB/s", 2 * megabytes * 2**20 / seconds / 1e9, note="read and written")


# -------------------------------------------------------------------------------------------------------------- losses


def _pairs(x):
    """x_i - x_j, whole."""
    return x[..., :, None] - x[..., None, :]


def _gains(y):
    """2^y - 1 over the ideal DCG."""
    gain = torch.exp2(y) - 1
    ideal = gain.sort(-1, descending=True).values / torch.log2(torch.arange(y.shape[-1], device=y.device) + 2.0)
    return gain / ideal.sum(-1, keepdim=True)


def eager_listnet(s, y):
    return -(y.softmax(-1) * s.log_softmax(-1)).sum(-1).mean()


def eager_listmle(s, y):
    s = s.gather(-1, y.argsort(dim=-1, descending=True, stable=True))
    return (s.flip(-1).logcumsumexp(-1).flip(-1) - s).mean(-1).mean()


def eager_ranknet(s, y):
    better = _pairs(y) > 0
    return ((torch.nn.functional.softplus(-_pairs(s)) * better).sum((-2, -1)) / better.sum((-2, -1))).mean()


def eager_lambdarank(s, y):
    rank = s.detach().argsort(-1, descending=True).argsort(-1) + 1
    weight = _pairs(_gains(y)).abs() * _pairs(1 / torch.log2(rank + 1.0)).abs() * (_pairs(y) > 0)
    return (torch.nn.functional.softplus(-_pairs(s)) * weight).sum((-2, -1)).mean() / math.log(2)


def eager_approxndcg(s, y, temperature: float = 0.1):
    rank = 0.5 + (-_pairs(s) / temperature).sigmoid().sum(-1)  # a document's 1/2 against itself is taken off
    return (1 - (_gains(y) / torch.log2(1 + rank)).sum(-1)).mean()


# Written as rax writes them, whole matrices of pairs and all, in PyTorch's own operations.
EAGER = {
    "listnet": ({"target": "soft"}, eager_listnet),
    "listmle": ({}, eager_listmle),
    "ranknet": ({}, eager_ranknet),
    "lambdarank": ({}, eager_lambdarank),
    "approxndcg": ({}, eager_approxndcg),
}
SIZES = {"quick": ((4, 32),), "cpu": ((64, 240),), "gpu": ((64, 240), (64, 1000), (64, 4000))}  # lists x documents


def step(f: Callable, scores, labels) -> Callable[[], None]:
    """Forward and backward; the gradient is dropped with its leaf."""

    def run() -> None:
        f(scores.detach().requires_grad_(), labels).backward()

    return run


def agree(name: str, device: str) -> None:
    """Raises where the eager form is another function than ours."""
    params, eager = EAGER[name]
    scores, labels = (torch.as_tensor(each, device=device).double() for each in data(4, 24))
    found = []
    for f in (our_loss(name, params), eager):
        leaf = scores.clone().requires_grad_()
        value = f(leaf, labels)
        value.backward()
        found.append((value.detach(), leaf.grad))
    torch.testing.assert_close(*found, rtol=1e-6, atol=1e-9)


def losses(home: Home, budget: Budget) -> Rows:
    """Losses, forward and backward, beside eager forms with whole matrices of pairs."""
    for name in EAGER:
        agree(name, home.device)
    for lists, n in sizes(home):
        for name in EAGER:
            if budget.allows(f"{name} at {n}", 4):
                yield from raced(home, name, lists, n)
                home.empty()


def compiled(home: Home, budget: Budget) -> Rows:
    """The same through torch.compile, which takes seconds a form: last, and on a GPU alone."""
    if not (home.gpu or home.quick):  # results/losses.json has it on a CPU
        return
    (small, *_), (large, *_) = sizes(home), sizes(home)[::-1]
    # Ours takes long lists in a hundred blocks, which a compiler would unroll.
    cases = [(large, name, ("eager",)) for name in EAGER] + [(small, name, ("ltr",)) for name in PAYS]
    for (lists, n), name, forms in cases[:1] if home.quick else cases:
        if budget.allows(f"torch.compile of {name} at {n}", 15):
            yield from raced(home, name, lists, n, forms)
            home.empty()


def sizes(home: Home) -> tuple[tuple[int, int], ...]:
    """(lists, documents) a batch."""
    return SIZES["quick" if home.quick else "gpu" if home.gpu else "cpu"]


def raced(home: Home, name: str, lists: int, n: int, through: tuple[str, ...] = ()) -> Rows:
    """Time and memory of a loss in its forms, and of those of them that go `through` torch.compile."""
    params, eager = EAGER[name]
    given = [torch.as_tensor(each, device=home.device) for each in data(lists, n)]
    forms = {"ltr": our_loss(name, params), "eager": eager}
    backend, how = ("eager", " (traced only)") if home.quick else ("inductor", "")
    for form in through:
        forms[f"torch.compile{how} of {form}"] = torch.compile(forms[form], dynamic=False, backend=backend)
    steps = {key: step(f, *given) for key, f in forms.items()}
    found = {key: each if isinstance(each, str) else 1e3 * each for key, each in home.turns(steps).items()}
    options = ", ".join(f"{k}={v}" for k, v in params.items())
    case = f"{name}{f'({options})' if options else ''}, {lists} x {n:,}"
    yield compared(home, case, "ms", found)
    if home.gpu:
        yield compared(home, case, "MB", {key: home.peak(run) for key, run in steps.items()})


def compared(home: Home, case: str, unit: str, found: dict[str, float | str], note: str = "") -> dict[str, Any]:
    """Ours, or why there is none, beside the others; less is better."""
    mine = found.pop("ltr")
    if isinstance(mine, str):
        mine, note = None, mine
    return home.row(case, unit, mine, found, lower=True, note=note)


# ------------------------------------------------------------------------------------------------------------ training


def flops(config, n_features: int, lengths: np.ndarray) -> float:
    """Of the matrix products of a training step of a list transformer on lists of these lengths, padding not counted.

    A product of the forward pass comes back as two of its size, one for the weights and one for the inputs; the
    features need no gradient. Attention multiplies [n, width] by [width, n] and back.
    """
    lengths, width = np.asarray(lengths, dtype=np.float64), config.width
    documents = lengths.sum()
    first = 2 * n_features * width * documents
    block = 2 * (4 * width**2 + 2 * width * config.d_ff) * documents + 4 * width * np.square(lengths).sum()
    return float(2 * first + 3 * (config.blocks * block + 2 * width * documents))


def transformer(width: int, quick: bool):
    """The published net (width 144), or one like it with heads of 64 and a feed-forward of four times the width."""
    from benchmarks.speed.train import NET

    config = RANKERS["transformer"].claims["config"]
    if quick:
        return config(width=width, blocks=1, heads=2, d_ff=2 * width)
    return config(**NET) if width == 144 else config(**NET | {"width": width, "heads": width // 64, "d_ff": 4 * width})


@functools.cache
def lists_of(number: int):
    """A training split shaped like MSLR's."""
    from benchmarks.speed.train import task

    return task(number)


def nets(home: Home) -> list[tuple[str, int, str, int, int]]:
    """(name, width, precision, lists a batch, lists) of what is trained."""
    if home.quick:
        return [("transformer 1 x 16", 16, "32-true", 4, 8), ("transformer 1 x 16", 16, "bf16-mixed", 4, 8)]
    published = "published transformer 2 x 144"
    if not home.gpu:
        return [(published, 144, "32-true", 64, 128)]
    return [
        (published, 144, "32-true", 64, 960),
        (published, 144, "bf16-mixed", 64, 960),
        (published, 144, "bf16-mixed", 512, 4096),
        *((f"transformer 2 x {width}", width, "bf16-mixed", 512, 4096) for width in (128, 256, 512)),
    ]


def training(home: Home, budget: Budget) -> Rows:
    """Training list transformers with LambdaRank: documents/s, model FLOP utilisation, what is not the step itself."""
    from benchmarks.speed.train import FEATURES, SLATE, Ours

    for name, width, precision, batch, lists in nets(home):
        case = f"{name}, {precision}, {batch} lists a batch"
        if not budget.allows(case, 12 if home.gpu else 8):
            continue
        config = transformer(width, home.quick)
        it = Ours(
            config,
            "lambdarank",
            split=lists_of(lists),
            device=home.device,
            precision=precision,
            batch=batch,
            epochs=4 if home.gpu else 2,
        )
        found = race({"ltr": it.epoch, "bare": it.bare, "data": it.gather}, home.fits)
        wall = {side: timing.fact("wall") for side, timing in found.items()}
        documents, steps = it.batches.n_documents, len(it.batches)
        speeds = {side: documents / wall[side] for side in ("ltr", "bare")}
        note = f"{steps} steps of {1e3 * wall['ltr'] / steps:.3g} ms an epoch; the bare step has its batches ready"
        yield home.row(case, "documents/s", speeds["ltr"], {"bare PyTorch": speeds["bare"]}, note=note)
        if home.gpu:
            counted = flops(config, FEATURES, np.minimum(it.job.train.lengths, SLATE))
            used = {side: 100 * counted / wall[side] / PEAK for side in speeds}
            unit = f"% of {PEAK / 1e12:g} TFLOP/s in bf16 (MFU)"
            if precision == "bf16-mixed":
                yield home.row(
                    case,
                    unit,
                    used["ltr"],
                    {"bare PyTorch": used["bare"]},
                    note=f"{counted / documents / 1e6:.3g} MFLOP a document, no padding",
                )
            memory = {"ltr": home.peak(it.epoch)}
            yield compared(home, case, "MB", memory, "beyond the data, which lies on the device")
        around = 1 - wall["bare"] / wall["ltr"]
        yield home.row(
            case,
            "% of a step in data path and Lightning",
            100 * around,
            note="what the library's loop takes beyond the bare step",
        )
        yield home.row(
            case,
            "% of a step in the data path",
            100 * wall["data"] / wall["ltr"],
            note="batches alone; on a GPU some of it passes while the step computes",
        )
        del it
        home.empty()


# ------------------------------------------------------------------------------------------------------------- scoring


def scoring(home: Home, budget: Budget) -> Rows:
    """Scoring whole lists, from arrays of the host to scores on the host."""
    from benchmarks.speed.train import NET, Ours

    wide = NET | {"width": 512, "heads": 8, "d_ff": 2048}
    cases = [
        ("mlp 64-32", "mlp", {"hidden": (64, 32)}),
        ("mlp 512-256-64", "mlp", {"hidden": (512, 256, 64)}),
        ("published transformer 2 x 144", "transformer", NET),
        ("transformer 2 x 512", "transformer", wide),
    ]
    lists = 16 if home.quick else 4096 if home.gpu else 128
    for name, ranker, params in cases[:1] if home.quick else cases if home.gpu else cases[:3]:
        if not budget.allows(name, 5):
            continue
        once = TrainingConfig(epochs=1, patience=0)
        fitted = make_ranker(ranker, loss=loss("listnet"), training=once, **params)
        fitted.fit(lists_of(16 if home.quick else 64), accelerator=home.accelerator)
        split = lists_of(lists)
        it = Ours(
            RANKERS[ranker].claims["config"](**params),
            "listnet",
            split=split,
            device=home.device,
            batch=8 if home.quick else 64,
        )
        found = race({"ltr": lambda f=fitted, s=split: f.score(s), "net": it.forward}, home.rounds)
        alone = found["net"].fact("documents") / found["net"].fact("wall")
        yield home.row(
            f"score: {name}",
            "documents/s",
            split.n_documents / found["ltr"].wall,
            {"the net alone, batches ready": alone},
            note=f"{split.n_documents:,} documents; the net alone on lists cut to 240",
        )
        if home.gpu:
            del it
            memory = {"ltr": home.peak(lambda f=fitted, s=split: f.score(s))}
            yield compared(home, f"score: {name}", "MB", memory, "the data included")


# ------------------------------------------------------------------------------------------------------------- stacked


def stacked(home: Home, budget: Budget) -> Rows:
    """Nets stacked into one program, one a preference, beside the same nets one after another."""
    from benchmarks.speed.stacked import Contest

    queries, epochs = (30, 1) if home.quick else (300, 3)
    members, few = (3, 2) if home.quick else (64, 4) if home.gpu else (8, 2)
    task = load(f"synthetic:queries={queries},objectives=2")
    cases = [
        ("mlp 64-32", "mlp", {"hidden": (64, 32)}),
        ("transformer 1 x 32", "transformer", {"width": 32, "blocks": 1, "heads": 2, "d_ff": 64, "dropout": 0.0}),
    ]
    for name, net, params in cases if home.gpu else cases[:1]:
        if not budget.allows(name, 25 if home.gpu else 5):
            continue
        together, alone = (Contest(task, net, params, k, epochs, home.accelerator) for k in (members, few))
        note = f"one after another: {few} nets"
        for what, ours, theirs, documents in (
            ("train", together.together, alone.alone, task.train.n_documents * epochs),
            ("score", together.score_together, alone.score_alone, task.test.n_documents),
        ):
            found = race({"ltr": ours, "peer": theirs}, min(home.fits, 2))
            peer = {"one after another": documents * few / found["peer"].wall}
            yield home.row(
                f"{what} {members} members: {name}",
                "documents/s",
                documents * members / found["ltr"].wall,
                peer,
                note=note,
                target_ratio=20 if home.gpu and what == "train" else None,
            )
        if home.gpu:
            memory = {"ltr": home.peak(together.together)}
            yield compared(home, f"train {members} members: {name}", "MB", memory, "the data included")


# --------------------------------------------------------------------------------------------------------------- chain


def chain(home: Home, budget: Budget) -> Rows:
    """From scores to the bootstrap of a front, tensors of the device beside arrays on the CPU."""
    from benchmarks.speed.chain import Front

    ours, other = ("tensors", "arrays") if home.gpu else ("arrays", "tensors")
    objectives, partition, queries, draws = (2, 3, 12, 50) if home.quick else (3, 10, 500 if home.gpu else 100, 1000)
    if not budget.allows("front", 20 if home.gpu else 10):
        return
    front = Front(objectives, partition, queries, draws, home.device)
    for stage, contestants in front.stages(ours, other).items():
        if not home.gpu:
            contestants.pop(other, None)
        times = {name: 1e3 * timing.wall for name, timing in race(contestants, home.fits).items()}
        names = {other: "arrays on the CPU", "one": "one ranking and objective at a time"}
        mine = times.pop(ours)
        peers = {names[name]: value for name, value in times.items()}
        yield home.row(f"{stage}: {front.what}", "ms", mine, peers, lower=True)


SECTIONS: dict[str, Callable[[Home, Budget], Rows]] = {
    "ceilings": ceilings,
    "losses": losses,
    "training": training,
    "scoring": scoring,
    "stacked": stacked,
    "chain": chain,
    "compiled": compiled,
}
