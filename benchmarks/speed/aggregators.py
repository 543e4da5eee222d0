"""What aggregating the gradients of several objectives costs a training step, in score space and in parameter space.

    python -m benchmarks.speed.aggregators [--quick] [--rounds 15]

One step (forward, backward, Adam) of an MLP 136-512-256-64-1 on 16 lists of 120 documents, ListNet for each of m
objectives, one thread, processor time. The yardstick is the plain step, `sum(losses).backward()`; TorchJD's own engine
makes the same step in parameter space where it is installed. "x plain" is ours by the plain step.
"""

from __future__ import annotations

from benchmarks.speed.measure import arguments, one_thread, race, row, write

one_thread()

import torch  # noqa: E402  what follows must find the number of threads set

from ltr.losses import loss  # noqa: E402
from ltr.objectives import aggregator, backward  # noqa: E402

PACKAGES = ("torch", "torchjd")
LISTS, LENGTH, FEATURES = 16, 120, 136
RULES = ("mgda", "pcgrad", "cagrad", "nash-mtl", "imtl-g", "upgrad")
PEERS = {"mgda": "MGDA", "pcgrad": "PCGrad", "cagrad": "CAGrad", "imtl-g": "IMTLG", "upgrad": "UPGrad"}


class Bench:
    """A net, its optimiser and one batch; `step(how)` makes one step."""

    def __init__(self, m: int):
        torch.manual_seed(0)
        sizes = (FEATURES, 512, 256, 64)
        layers = [x for i, o in zip(sizes, sizes[1:], strict=False) for x in (torch.nn.Linear(i, o), torch.nn.ReLU())]
        self.net = torch.nn.Sequential(*layers, torch.nn.Linear(64, 1))
        self.optimiser = torch.optim.Adam(self.net.parameters(), 1e-5)
        self.features = torch.randn(LISTS, LENGTH, FEATURES)
        self.labels = torch.randint(0, 5, (m, LISTS, LENGTH)).float()
        self.loss = loss("listnet")

    def losses(self) -> tuple[torch.Tensor, torch.Tensor]:
        scores = self.net(self.features).squeeze(-1)
        return torch.stack([self.loss(scores, y).mean() for y in self.labels]), scores

    def plain(self) -> None:
        self.optimiser.zero_grad()
        self.losses()[0].sum().backward()
        self.optimiser.step()

    def ours(self, rule: str, space: str):
        combine, generator = aggregator(rule, len(self.labels)), torch.Generator().manual_seed(0)

        def step() -> None:
            self.optimiser.zero_grad()
            losses, scores = self.losses()
            backward(losses, scores, self.net.parameters(), combine, space=space, generator=generator)
            self.optimiser.step()

        return step

    def torchjd(self, rule: str):
        """TorchJD's engine; None where it is missing."""
        try:
            from torchjd import aggregation, autojac
        except ImportError:
            return None
        options = {"c": 0.4} if rule == "cagrad" else {}
        try:
            combine = getattr(aggregation, PEERS[rule])(**options)
        except ImportError:  # its solver is an extra we keep out
            return None

        def step() -> None:
            self.optimiser.zero_grad()
            autojac.backward(self.losses()[0])
            autojac.jac_to_grad(self.net.parameters(), combine)
            self.optimiser.step()

        return step


def main() -> None:
    parser = arguments(__doc__)
    args = parser.parse_args()
    rounds, rows = args.rounds or (3 if args.quick else 15), []
    for m in (3,) if args.quick else (2, 3, 5):
        bench = Bench(m)
        for rule in RULES:
            contestants = {"plain": bench.plain, "scores": bench.ours(rule, "scores")}
            contestants["parameters"] = bench.ours(rule, "parameters")
            peer = bench.torchjd(rule) if rule in PEERS else None
            if peer is not None:
                contestants["torchjd"] = peer
            found = {name: 1e3 * timing.cpu for name, timing in race(contestants, rounds).items()}
            case = f"{rule}, m = {m}"
            theirs = (
                {"torchjd": found["torchjd"]} if "torchjd" in found else {"torchjd": "not there, or needs an extra"}
            )
            options = {"lower": True, "packages": PACKAGES}
            for space in ("scores", "parameters"):
                peers = theirs if space == "parameters" else {}
                rows.append(row(f"{case}, {space}", "ms of processor time", found[space], peers, **options))
                rows.append(row(f"{case}, {space}", "x plain", found[space] / found["plain"], {}, **options))
    write("aggregators", rows, args.quick)


if __name__ == "__main__":
    main()
