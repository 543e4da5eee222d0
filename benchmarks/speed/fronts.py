"""Hypervolumes of many fronts and their paired bootstrap, ours beside a loop over moocore, on one thread.

    python -m benchmarks.speed.fronts [--quick] [--device cuda]

Fronts are shaped like the suite's: a concave front at a lattice of preferences, 1,000 resamples of it, with noise that
its points share and noise of each. Every peer must return our values to 1e-12 before it is timed. The bootstrap is the
protocol's: 1,000 Poisson resamples of 6,306 queries (MSLR's test fold), 8 systems of 11 points on two objectives.
Processor time, except where threads are the point.
"""

from __future__ import annotations

from benchmarks.speed.measure import arguments, one_thread, race, row, write

one_thread()

import os  # noqa: E402  what follows must find the number of threads set
from collections.abc import Callable  # noqa: E402

import numpy as np  # noqa: E402

from ltr import fronts  # noqa: E402

MILLISECONDS = "ms of processor time"
PACKAGES = ("moocore", "torch", "numpy")
REPEATS = 10  # of a batch between two looks at the clock: the shortest takes a tenth of a millisecond


def resampled_fronts(objectives: int, partition: int, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Fronts float64 `[draw, point, objective]`, and the reference point -1/10 of their span below their base."""
    from ltr.objectives import lattice

    rng = np.random.default_rng(0)
    w = lattice(objectives, partition)
    base, span = rng.uniform(0.3, 0.5, objectives), rng.uniform(0.02, 0.1, objectives)
    front = base + span * (1 - (1 - w) ** 2)
    shared = rng.normal(size=(draws, 1, objectives)) * 0.05 * span
    return front + shared + rng.normal(size=(draws, *w.shape)) * 0.02 * span, base - 0.1 * span


def moocore_loop(points: np.ndarray, reference: np.ndarray) -> np.ndarray:
    import moocore

    return np.array([moocore.hypervolume(front, ref=reference, maximise=True) for front in points])


def same(ours, peer, what: str) -> None:
    ours = ours.cpu().numpy() if hasattr(ours, "cpu") else ours
    np.testing.assert_allclose(ours, peer, rtol=1e-12, atol=1e-18, err_msg=what)


def repeated(run: Callable[[], object]) -> Callable[[], None]:
    def several() -> None:
        for _ in range(REPEATS):
            run()

    return several


def batches(draws: int, rounds: int, device: str):
    """Hypervolumes alone; points live on the device before the clock starts, as they do in the bootstrap."""
    import torch

    for objectives, partition in ((2, 10), (2, 65), (3, 3), (3, 10)):
        points, reference = resampled_fronts(objectives, partition, draws)
        mine = torch.from_numpy(points).to(device)

        def ours(mine=mine, reference=reference):
            found = fronts.hypervolumes(mine, reference)
            return found if device == "cpu" else found.cpu()  # a device has finished when its numbers are here

        def peer(points=points, reference=reference):
            return moocore_loop(points, reference)

        same(ours(), peer(), f"d = {objectives}")
        times = race({"ours": repeated(ours), "moocore": repeated(peer)}, rounds)
        clock = "cpu" if device == "cpu" else "wall"
        yield row(
            f"hypervolume of {draws:,} fronts, {objectives} objectives, {points.shape[1]} points",
            MILLISECONDS if device == "cpu" else "ms",
            1e3 * getattr(times["ours"], clock) / REPEATS,
            {"moocore, a call a front": 1e3 * getattr(times["moocore"], clock) / REPEATS},
            lower=True,
            target_ratio=2 if objectives == 2 else None,
            packages=PACKAGES,
            on=device,
            name="fronts",
        )


def threads(draws: int, rounds: int):
    """From four objectives moocore does the work on both sides: what our checks cost, and what threads give."""
    cores = os.cpu_count() or 1
    for objectives, partition in ((4, 5), (5, 4)):
        points, reference = resampled_fronts(objectives, partition, draws)
        contestants = {
            "ours": lambda p=points, r=reference: fronts.hypervolumes(p, r, threads=1),
            "threads": lambda p=points, r=reference: fronts.hypervolumes(p, r),
            "moocore": lambda p=points, r=reference: moocore_loop(p, r),
        }
        for name in ("ours", "threads"):
            np.testing.assert_allclose(contestants[name](), contestants["moocore"](), rtol=1e-10)
        times = race(contestants, rounds)
        case = f"hypervolume of {draws:,} fronts, {objectives} objectives, {points.shape[1]} points"
        common = {"lower": True, "packages": PACKAGES, "name": "fronts"}
        yield row(
            case,
            MILLISECONDS,
            1e3 * times["ours"].cpu,
            {"moocore, a call a front": 1e3 * times["moocore"].cpu},
            note="The same library on both sides: ours adds the checks.",
            **common,
        )
        yield row(
            case,
            "ms",
            1e3 * times["threads"].wall,
            {"moocore, a call a front, one thread": 1e3 * times["moocore"].wall},
            threads=cores,
            note="Wall time of threads, which is worth what the cores had free: "
            f"load {os.getloadavg()[0]:.1f} on {cores}.",
            **common,
        )


def bootstrap(draws: int, queries: int, rounds: int, device: str):
    """The protocol's paired bootstrap, from values of every query to hypervolumes of every draw."""
    import torch

    rng = np.random.default_rng(0)
    systems, points, objectives = 8, 11, 2
    values = rng.beta(2, 3, (systems, points, queries, objectives))
    values[..., rng.random((queries, objectives)) < 0.03] = np.nan  # blank lists: MSLR has 2 to 4 %
    members = np.ones((systems, points), dtype=bool)
    reference = np.full(objectives, 0.35)
    mine = torch.from_numpy(values).to(device)
    weights = fronts.poisson_weights(draws, queries, np.random.default_rng(0))

    def ours():
        return fronts.paired_hypervolumes(mine, members, reference, draws=draws, seed=0)

    def means_and_loop(weights=None):
        """numpy's Poisson, products of sums and counts, moocore on every front of every draw."""
        n = (np.random.default_rng(0).poisson(1, (draws, queries)) if weights is None else weights).astype(np.float64)
        columns = values.transpose(2, 0, 1, 3).reshape(queries, -1)
        there = ~np.isnan(columns)
        means = (n @ np.where(there, columns, 0)) / (n @ there.astype(np.float64))
        return moocore_loop(means.reshape(-1, points, objectives), reference).reshape(draws, systems)

    def draw_by_draw():
        """The obvious loop: choose queries, average, ask moocore; a tenth of the draws, times ten."""
        generator, found = np.random.default_rng(0), []
        for _ in range(draws // 10):
            chosen = values[:, :, generator.integers(0, queries, queries)]
            found.append(moocore_loop(np.nanmean(chosen, axis=2), reference))
        return np.array(found)

    same(ours(), means_and_loop(weights), "bootstrap")
    times = race({"ours": ours, "product": means_and_loop}, rounds)
    slow = race({"loop": draw_by_draw}, 1, warm=False)
    clock = "cpu" if device == "cpu" else "wall"
    yield row(
        f"paired bootstrap of {systems} fronts, {draws:,} draws, {queries:,} queries, {points} points",
        MILLISECONDS if device == "cpu" else "ms",
        1e3 * getattr(times["ours"], clock),
        {
            "numpy products, moocore loop": 1e3 * getattr(times["product"], clock),
            "numpy draw by draw, moocore loop": 1e4 * getattr(slow["loop"], clock),
        },
        lower=True,
        note="Draw by draw: measured on a tenth of the draws.",
        packages=PACKAGES,
        on=device,
        name="fronts",
    )


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--device", default="cpu", help="where ours runs; peers stay on the CPU")
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    draws, queries = (100, 600) if args.quick else (1000, 6306)
    rounds = args.rounds or (3 if args.quick else 11)
    rows = [*batches(draws, rounds, args.device), *bootstrap(draws, queries, rounds, args.device)]
    on_cpu = args.device == "cpu"
    if on_cpu:
        rows += threads(draws, rounds)
    write("fronts" if on_cpu else f"fronts-{args.device.split(':')[0]}", rows, args.quick)


if __name__ == "__main__":
    main()
