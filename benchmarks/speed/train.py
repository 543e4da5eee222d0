"""Training a list transformer: real documents per second beside allRank, and what our step adds to bare PyTorch.

    python -m benchmarks.speed.train [--quick] [--rounds 5] [--threads 1]

960 MSLR-shaped lists (136 features N(0, 1), lengths and grades as in data set S of metrics.py), lists longer than 240
documents cut to 240, 64 lists a batch, Adam. The net is allRank's published transformer (arXiv 2005.10084): 136-144, 2
blocks of 2 heads, feed-forward 512, dropout 0.1, pre-norm. A round is an epoch of ours and three batches of each
peer (all of its batches cost the same), each side in its own process; documents are real ones, padding not counted,
seconds are processor time. Ours is the whole training loop: resident batches by length, Lightning, loss, optimiser;
the peers get batches that were padded before the clock starts, and the mean list of all 960.

allRank is run where LTR_PEER_ALLRANK names a checkout of allegro/allRank (its pins exclude current Pythons, so it
cannot be installed beside a current torch). "the published architecture" is its step written down again in plain
PyTorch: fixed slates of 240, explicit attention weights, pair losses on [240, 240] matrices.
"""

from __future__ import annotations

from benchmarks.speed.measure import (
    Side,
    Timing,
    arguments,
    one_thread,
    race,
    race_sides,
    row,
    serve,
    versions,
    write,
)

one_thread()

import itertools  # noqa: E402
import math  # noqa: E402
import os  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
import types  # noqa: E402
from collections.abc import Callable  # noqa: E402

import numpy as np  # noqa: E402

LISTS, SLATE, BATCH, FEATURES = 960, 240, 64, 136
NET = {"width": 144, "blocks": 2, "heads": 2, "d_ff": 512, "dropout": 0.1}
PACKAGES = ("torch", "lightning", "numpy")


def task(lists: int = LISTS):
    """A training split shaped like MSLR's."""
    from ltr.types import Split

    rng = np.random.default_rng(20261121)
    lengths = np.clip(np.round(np.exp(rng.normal(np.log(104), 0.55, lists))), 1, 900).astype(int)
    X = rng.normal(size=(lengths.sum(), FEATURES)).astype(np.float32)
    labels = rng.choice(5, size=len(X), p=[0.53, 0.31, 0.13, 0.02, 0.01]).astype(np.float32)
    return Split.from_arrays(X, labels, lengths)


# ---------------------------------------------------------------------------------------------------------------- ours


class Ours:
    """A net and the batches it is trained on: by the library's loop, or by a loop anybody would write.

    Args:
        config: of the net.
        loss, params: what it descends.
        lists: of the training split, where none is given.
        split: the lists themselves.
        device, precision: where it trains, and how (`TrainingConfig.precision`).
        batch: lists a batch.
        epochs: of one call of `epoch`.
    """

    def __init__(
        self,
        config,
        loss: str,
        params: dict | None = None,
        lists: int = LISTS,
        *,
        split=None,
        device: str = "cpu",
        precision: str = "32-true",
        batch: int = BATCH,
        epochs: int = 1,
    ):
        import torch

        from ltr.losses import loss as make_loss
        from ltr.rankers.config import TrainingConfig
        from ltr.rankers.nets import build
        from ltr.rankers.training.job import ObjectiveJob
        from ltr.rankers.training.prepare import Prepared

        torch.manual_seed(0)
        cuda, room = device != "cpu", {"cells": batch * SLATE} if batch > BATCH else {}
        self.device, self.loss = torch.device(device), make_loss(loss, **(params or {}))
        self.net = build(config, FEATURES).to(self.device)
        self.settings = TrainingConfig(
            epochs=epochs, batch_size=batch, list_size=SLATE, precision=precision, transform="none", **room
        )
        self.job = ObjectiveJob(
            train=task(lists) if split is None else split,
            vali=None,
            loss=self.loss,
            on_progress=self._ended,
            accelerator="gpu" if cuda else "cpu",
        )
        self.data = Prepared(self.job, self.settings)
        self.batches = self.data.batches
        self.ready, self.ends = list(self.batches), []

    def _ended(self, event) -> None:
        self.ends.append(time.perf_counter())

    def epoch(self) -> dict:
        """One epoch of the library's training; the steps only, not the setting up of a trainer.

        `seconds` are the clock of the library, processor time on a CPU; `wall` is there where epochs follow each other.
        """
        from ltr.rankers.training.loop import ListModule, train

        self.ends = []
        module = ListModule(self.net, self.job, self.settings)
        train(module, self.data, "speed")
        self.net.to(self.device).train()  # a trainer that is taken down leaves its net on the CPU
        seconds = statistics.median(module.state.step_seconds) * len(self.batches)
        wall = [after - before for before, after in itertools.pairwise(self.ends)]
        return {"seconds": seconds, "documents": self.batches.n_documents} | (
            {"wall": statistics.median(wall)} if wall else {}
        )

    def bare(self) -> dict:
        """The same epoch in plain PyTorch, on batches that are ready."""
        import torch

        optimiser = torch.optim.Adam(self.net.parameters(), lr=self.settings.learning_rate)
        half = {"dtype": torch.bfloat16, "enabled": self.settings.precision == "bf16-mixed"}
        self.net.train()
        self.wait()
        wall, began = time.perf_counter(), time.process_time()
        for batch in self.ready:
            with torch.autocast(self.device.type, **half):
                scores = self.net(batch.features, batch.where)
            labels = batch.labels[..., 0]
            loss = self.loss.reduce(self.loss(scores, labels, batch.where), labels, batch.where)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        self.wait()
        seconds, wall = time.process_time() - began, time.perf_counter() - wall
        return {"seconds": seconds, "documents": self.batches.n_documents, "wall": wall}

    def gather(self) -> dict:
        """The batches of an epoch made and nothing done with them."""
        self.wait()
        began = time.perf_counter()
        for _ in self.batches:
            pass
        self.wait()
        return {"wall": time.perf_counter() - began}

    def forward(self) -> dict:
        """Scores of the batches that are ready."""
        import torch

        self.net.eval()
        self.wait()
        began = time.perf_counter()
        with torch.inference_mode():
            for batch in self.ready:
                self.net(batch.features, batch.where)
        self.wait()
        return {"documents": self.batches.n_documents, "wall": time.perf_counter() - began}

    def wait(self) -> None:
        """Until the device has done its work."""
        if self.device.type == "cuda":
            import torch

            torch.cuda.synchronize(self.device)


def ours(loss: str, params: dict, attention_dropout: float) -> Callable:
    from ltr.rankers.config import TransformerConfig

    return Ours(TransformerConfig(**NET, attention_dropout=attention_dropout), loss, params).epoch


# --------------------------------------------------------------------------------------------------------------- peers


def slates() -> tuple[list, int]:
    """(features, labels with -1 as padding, indices) of batches padded to 240, and how many documents are real."""
    import torch

    split, rng, batches = task(), np.random.default_rng(0), []
    for first in range(0, 3 * BATCH, BATCH):
        count = BATCH
        X, y = torch.zeros(count, SLATE, FEATURES), torch.full((count, SLATE), -1.0)
        index = torch.full((count, SLATE), -1)
        for k in range(count):
            rows = np.arange(*split.offsets[first + k : first + k + 2])
            rows = np.sort(rng.choice(rows, SLATE, replace=False)) if len(rows) > SLATE else rows
            X[k, : len(rows)], y[k, : len(rows)] = map(torch.from_numpy, (split.features[rows], split.labels[rows, 0]))
            index[k, : len(rows)] = torch.arange(len(rows))
        batches.append((X, y, index))
    return batches, 3 * BATCH * np.minimum(split.lengths, SLATE).mean()


def padded_epoch(net: Callable, parameters, loss: Callable) -> Callable:
    """An epoch over the slates; net(X, mask, index) -> scores, loss(scores, y)."""
    import torch

    (batches, real), optimiser = slates(), torch.optim.Adam(parameters, lr=1e-3)

    def epoch() -> dict:
        began = time.process_time()
        for X, y, index in batches:
            value = loss(net(X, y == -1, index), y)
            value.backward()
            optimiser.step()
            optimiser.zero_grad()
            value.item()
        return {"seconds": time.process_time() - began, "documents": float(real)}

    return epoch


def allrank(loss: str) -> Callable:
    folder = os.environ.get("LTR_PEER_ALLRANK")
    if not folder:
        raise ModuleNotFoundError("no checkout")
    sys.path.insert(0, folder)
    for absent in ("torchvision", "torchvision.transforms", "gcsfs", "pkg_resources"):  # its data loading wants them
        module = types.ModuleType(absent)
        module.__getattr__ = lambda attribute: None
        sys.modules.setdefault(absent, module)
    from allrank.config import TransformerConfig
    from allrank.models import losses
    from allrank.models.model import make_model

    fully = {"sizes": [NET["width"]], "input_norm": False, "activation": None, "dropout": 0.0}
    encoder = TransformerConfig(
        N=NET["blocks"], d_ff=NET["d_ff"], h=NET["heads"], positional_encoding=None, dropout=NET["dropout"]
    )
    net = make_model(fully, encoder, {"d_output": 1, "output_activation": None}, FEATURES)
    value = losses.listNet
    if loss == "lambdarank":
        value = lambda s, y: losses.lambdaLoss(s, y, weighing_scheme="lambdaRank_scheme")  # noqa: E731
    return padded_epoch(net.train(), net.parameters(), value)


def published(loss: str) -> Callable:
    """The published step in plain PyTorch."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    width, heads, p = NET["width"], NET["heads"], NET["dropout"]

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
            self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
            self.wide, self.narrow = nn.Linear(width, NET["d_ff"]), nn.Linear(NET["d_ff"], width)

        def forward(self, x, mask):
            z = self.norms[0](x)
            q, k, v = (f(z).unflatten(-1, (heads, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
            weight = (q @ k.transpose(-2, -1) / math.sqrt(width / heads)).masked_fill(mask[:, None, None], -1e9)
            mixed = F.dropout(weight.softmax(-1), p) @ v
            x = x + F.dropout(self.out(mixed.transpose(1, 2).flatten(-2)), p)
            return x + F.dropout(self.narrow(F.dropout(F.relu(self.wide(self.norms[1](x))), p)), p)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm, self.head = nn.Linear(FEATURES, width), nn.LayerNorm(width), nn.Linear(width, 1)
            self.blocks = nn.ModuleList(Block() for _ in range(NET["blocks"]))

        def forward(self, x, mask, index):
            x = self.first(x)
            for block in self.blocks:
                x = block(x, mask)
            return self.head(self.norm(x)).squeeze(-1)

    def listnet(s, y):
        pad = y == -1
        target = y.masked_fill(pad, -torch.inf).softmax(-1)
        return -(target * (s.masked_fill(pad, -torch.inf).softmax(-1) + 1e-10).log()).sum(-1).mean()

    def lambdarank(s, y):
        pad = y == -1
        s, order = s.masked_fill(pad, -torch.inf).sort(descending=True)
        y = y.gather(1, order)
        gain = 2 ** y.clamp(min=0) - 1
        rank = torch.log2(torch.arange(y.shape[1]) + 2.0)
        best = (gain.sort(descending=True).values / rank).sum(-1, keepdim=True).clamp(min=1e-10)
        gain = gain / best
        pairs = (y[:, :, None] > y[:, None]) & (y >= 0)[:, None]
        weight = (1 / rank[:, None] - 1 / rank).abs() * (gain[:, :, None] - gain[:, None]).abs()
        difference = (s[:, :, None] - s[:, None]).nan_to_num(0.0, 0.0, 0.0).clamp(-1e8, 1e8)
        return -((difference.sigmoid().clamp(min=1e-10) ** weight).log2()[pairs]).mean()

    net = Net()
    return padded_epoch(net, net.parameters(), {"listnet": listnet, "lambdarank": lambdarank}[loss])


def make(side: str) -> Callable:
    import warnings

    warnings.simplefilter("ignore")

    def step(loss: str, params: dict, attention_dropout: float) -> Callable:
        if side == "ltr":
            return ours(loss, params, attention_dropout)
        return {"allrank": allrank, "published": published}[side](loss)

    return step


# ---------------------------------------------------------------------------------------------------------------- rows


def throughput(quick: bool, rounds: int, threads: int) -> list[dict]:
    sides = {"ltr": Side("train", "ltr", threads=threads)}
    named = {"allrank": "allRank", "published": "the published architecture, plain PyTorch"}
    sides |= {name: Side("train", name, threads=threads) for name in named}
    cases = [
        ("lambdarank", {}, 0.0, "attention weights without dropout (our default), allRank's with"),
        ("lambdarank", {"k": 30}, 0.0, "pairs with the 30 best only; the peers sum over all"),
        ("lambdarank", {}, 0.1, "attention weights with dropout as allRank: no fused attention"),
        ("listnet", {"target": "soft"}, 0.0, "attention weights without dropout, allRank's with"),
    ]
    rows, beside = [], {}
    for loss, params, attention_dropout, note in cases[:1] if quick else cases:
        case = {"loss": loss, "params": params, "attention_dropout": attention_dropout}
        asked = {name: side for name, side in sides.items() if name == "ltr" or loss not in beside}
        found = race_sides(asked, case, rounds)
        beside.setdefault(loss, {named[name]: rate(found[name]) for name in named if name in found})
        if isinstance(found["ltr"], str):
            raise SystemExit(found["ltr"])
        options = f"({', '.join(f'{k}={v}' for k, v in params.items())})" if params else ""
        rows.append(
            row(
                f"transformer 2x144, {loss}{options}, attention dropout {attention_dropout:g}",
                "documents/s of processor time",
                rate(found["ltr"]),
                beside[loss],
                target_ratio=4,
                target_peer="allRank",
                note=note,
                threads=threads,
                packages=PACKAGES,
            )
        )
    for side in sides.values():
        side.close()
    return rows


def rate(timing: Timing | str) -> float | str:
    if isinstance(timing, str):
        return "no checkout: LTR_PEER_ALLRANK" if timing == "not installed" else timing
    return timing.fact("documents") / timing.fact("seconds")


def overheads(quick: bool, rounds: int, packages: dict[str, str]) -> list[dict]:
    """The step of the library's loop beside a bare one."""
    from ltr.rankers.config import LinearConfig, MLPConfig, TransformerConfig

    cases = {
        "transformer 2x144": (TransformerConfig(**NET), "lambdarank", {}, 3 * BATCH),
        "mlp 512-256-64": (MLPConfig(hidden=(512, 256, 64)), "listnet", {}, LISTS),
        "mlp 64-32": (MLPConfig(), "listnet", {}, LISTS),
        "linear": (LinearConfig(), "listnet", {}, LISTS),
    }
    rows = []
    for name, (config, loss, params, lists) in list(cases.items())[-2:] if quick else cases.items():
        it = Ours(config, loss, params, lists)
        found = race({"ltr": it.epoch, "bare": it.bare}, 2 * rounds + 1)
        steps = len(it.batches)
        ms = {side: 1e3 * timing.fact("seconds") / steps for side, timing in found.items()}
        note = f"{steps} batches of 64 lists, made in the clock for ours and before it for the bare loop; {loss}"
        rows.append(
            row(
                f"a step of {name}",
                "ms of processor time",
                ms["ltr"],
                {"bare PyTorch": ms["bare"]},
                lower=True,
                note=note,
                packages=packages,
            )
        )
        target = {"target": 1.03} if name.startswith("transformer") else {}
        rows.append(
            row(
                f"a step of {name}, Lightning and batches included",
                "times bare PyTorch",
                ms["ltr"] / ms["bare"],
                lower=True,
                packages=packages,
                **target,
            )
        )
        if name.startswith("mlp"):
            alone = race({"products": products(it)}, 2 * rounds + 1)["products"]
            share = 1e3 * alone.cpu / steps / ms["ltr"]
            rows.append(
                row(
                    f"matrix products of {name} alone",
                    "of our step",
                    share,
                    packages=packages,
                    note="forward, and backward to weights and inputs, of the same padded shapes",
                )
            )
    return rows


def products(it: Ours) -> Callable:
    """The matrix products of an epoch of an MLP and nothing else."""
    import torch

    weights = [p.detach() for p in it.net.parameters() if p.dim() == 2]
    cells = [batch.where.numel() for batch in it.ready]
    inputs = [torch.randn(max(cells), w.shape[1]) for w in weights]
    outputs = [torch.randn(max(cells), w.shape[0]) for w in weights]
    biases = [torch.zeros(w.shape[0]) for w in weights]

    def run() -> None:
        for n in cells:
            for k, w in enumerate(weights):
                x, g = inputs[k][:n], outputs[k][:n]
                torch.addmm(biases[k], x, w.T)
                g.T @ x
                if k:
                    g @ w

    return run


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if args.serve:
        return serve(make(args.serve))
    rounds = args.rounds or (2 if args.quick else 5)
    rows = throughput(args.quick, rounds, args.threads)
    if args.threads == 1:
        import torch

        torch.set_num_threads(1)
        rows += overheads(args.quick, rounds, versions(*PACKAGES))
    write("train", rows, args.quick)


if __name__ == "__main__":
    main()
