"""From a fitted method to its front and the bootstrap of it, a stage at a time, without leaving the device.

    found = chain(method, {"vali": task.vali, "test": task.test}, measures, lattice(2), device="cuda")
    found.front                     # points a preference, which of them make the front
    found.values["test"]            # measures of every query, float64 [preference, query, objective]
    found.draws                     # hypervolumes of the front under resampled queries
    found.seconds                   # score, measure, front, bootstrap

On a GPU the K rankings, the measures of every query, the products of the bootstrap, the filter and the hypervolumes
(up to three objectives; from four by moocore on threads) are tensors of that GPU, and what comes to the host are K
points and the draws. On a CPU the same stages run on arrays. Both give the same numbers to 1e-12 for the same scores;
scores of a net differ between devices as float32 sums do, and with them the place of documents that all but tie.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ltr.fronts import hypervolumes, nondominated, paired_hypervolumes
from ltr.metrics import Judgements, evaluate_rankings, mean
from ltr.metrics.backends import TorchBackend
from ltr.objectives import lattice
from ltr.rankers.neural import pick_device
from ltr.types import Split

from .front import Front
from .systems import load

__all__ = ["STAGES", "Chain", "Clock", "chain", "chain_on", "home_of", "measured", "points_of", "scored"]

STAGES = ("score", "measure", "front", "bootstrap")


@dataclass(frozen=True, eq=False)
class Chain:
    """What `chain` found.

    Attributes:
        front: the points of every split, on the host.
        values: split -> measures of every query with documents, float64 `[preference, query, objective]`, NaN where a
            query does not count; a tensor on the device, or an array.
        volume: hypervolume of the front's points on the last split; NaN where one is no number.
        draws: float64 `[draw]`, that hypervolume under resampled queries; empty where none were asked for.
        seconds: stage -> wall time, of all splits; a device has finished when its stage ends.
        on: "cuda" (or another device's type) for tensors, "host" for arrays.
    """

    front: Front
    values: dict[str, Any]
    volume: float
    draws: np.ndarray
    seconds: dict[str, float]
    on: str


class Clock:
    """Seconds by stage; on an accelerator a stage ends when the device has done its work.

    Args:
        home: torch device, or None for the host.
    """

    def __init__(self, home: torch.device | None):
        self.home = home
        self.seconds: dict[str, float] = {}

    @property
    def on(self) -> str:
        """Where it runs: "host" for arrays, else the type of the device its tensors are on."""
        return "host" if self.home is None else self.home.type

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._wait()
        started = time.perf_counter()
        yield
        self._wait()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def _wait(self) -> None:
        if self.home is not None and self.home.type == "cuda":
            torch.cuda.synchronize(self.home)


def home_of(device: str = "auto", tensors: bool | None = None) -> torch.device | None:
    """The torch device a front is measured on; None: arrays on the host.

    Args:
        device: as of a run.
        tensors: None: on an NVIDIA GPU only (others have no float64, and on a CPU numpy is faster); True also
            elsewhere, as the tests do; False never.
    """
    home = pick_device(device)
    wanted = home.type == "cuda" if tensors is None else tensors
    return home if wanted else None


def scored(method, split: Split, preferences: np.ndarray, home: torch.device | None):
    """float32 `[preference, documents]`: an array, or a tensor at home."""
    return method.score(split, preferences) if home is None else method.score_tensor(split, preferences).to(home)


def measured(split: Split, scores, objectives: Sequence[str], measures: Sequence[str], home: torch.device | None):
    """Measures of every query with documents, float64 `[preference, query, objective]`, where the scores are.

    Args:
        split: with labels.
        scores: `[preference, documents]`.
        objectives, measures: label columns, and one measure for each.
        home: see `home_of`.
    """
    lengths = split.lengths[split.lengths > 0]  # a query without documents is nobody's average
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    arrays = "cpu" if home is None else TorchBackend(home)
    # Copies: a store's labels may be read-only, which torch warns of.
    weights = None if split.weights is None else split.query_weights[split.lengths > 0]
    judged = [Judgements(np.array(split.label(name)), offsets, weights=weights, device=arrays) for name in objectives]
    if len(scores) < 2 or not bool((scores[1:] == scores[:1]).all()):
        return evaluate_rankings(measures, scores, judged)
    once = evaluate_rankings(measures, scores[:1], judged)  # methods that no preference steers repeat themselves
    return np.repeat(once, len(scores), axis=0) if home is None else once.repeat(len(scores), 1, 1)


def points_of(values):
    """Means over the queries that count, float64 `[preference, objective]`, NaN where none does; as `values` are."""
    if not isinstance(values, np.ndarray):
        return values.nanmean(1)
    columns = np.ascontiguousarray(values.transpose(0, 2, 1))
    points = [mean(column) for column in columns.reshape(-1, values.shape[1])]
    return np.array(points, np.float64).reshape(columns.shape[:2])


def chain(
    method,
    splits: Mapping[str, Split],
    measures: Sequence[str],
    preferences: np.ndarray,
    *,
    reference=0.0,
    draws: int = 0,
    seed: int = 0,
    device: str = "auto",
    tensors: bool | None = None,
) -> Chain:
    """Scores a fitted method for all preferences, measures every query, and makes the front and its bootstrap.

    Args:
        method: fitted or loaded; its nets lie where `device` says (`ltr.runs.systems.load`).
        splits: name -> labelled lists. "vali", or the first, says which points make the front; the last is reported.
        measures: one an objective.
        preferences: `[preference, objective]`.
        reference: point of the hypervolumes, a number or `[objective]`, in the measures' own units.
        draws: resamples of the queries of the last split; 0: none.
        seed: of the resamples; the same ones on every device.
        device, tensors: see `home_of`.

    Raises:
        InputError: as the method, the measures and `ltr.fronts.paired_hypervolumes` do.
    """
    home, names = home_of(device, tensors), tuple(method.objectives)
    clock, values, points = Clock(home), {}, {}
    for name, split in splits.items():
        with clock.stage("score"):
            scores = scored(method, split, preferences, home)
        with clock.stage("measure"):
            values[name] = measured(split, scores, names, measures, home)
        del scores  # K rankings are the largest thing here
    judge, last = "vali" if "vali" in values else next(iter(values)), list(values)[-1]
    with clock.stage("front"):
        for name in values:
            points[name] = points_of(values[name])
        member = np.zeros(len(preferences), bool)
        if bool(_finite(points[judge]).all()):
            member = nondominated(points[judge])
            member = member if isinstance(member, np.ndarray) else member.cpu().numpy()
        inside = points[last][member.nonzero()[0]]
        counts = len(inside) > 0 and bool(_finite(inside).all())
        volume = float(hypervolumes(inside, reference)) if counts else float("nan")
        points = {name: each if home is None else each.cpu().numpy() for name, each in points.items()}
    found = np.zeros(0)
    if draws:
        with clock.stage("bootstrap"):
            found = paired_hypervolumes(values[last], member, reference, draws, seed)
    front = Front(names, tuple(measures), np.asarray(preferences, np.float64), points, judge)
    return Chain(front, values, volume, found, clock.seconds, clock.on)


def _finite(points):
    return np.isfinite(points) if isinstance(points, np.ndarray) else points.isfinite()


def chain_on(
    folder: Path | str,
    splits: Mapping[str, Split],
    measures: Sequence[str] | Mapping[str, str],
    *,
    partition: int | None = None,
    device: str = "auto",
    **options,
) -> Chain:
    """`chain` for a kept method: on a GPU scores and measures stay there, and only the points come to the host.

    Args:
        folder: of the method, as a run keeps it.
        splits: name -> lists with the method's labels; "vali" says which points make the front where it is there.
        measures: one an objective, or label column -> its measure.
        partition: H of the lattice; by default the protocol's, or the preferences it has models for.
        device: where it is computed.
        options: of `chain`: reference, draws, seed, tensors.
    """
    method = load(folder, device)
    names = tuple(method.objectives)
    measures = [measures[name] for name in names] if isinstance(measures, Mapping) else measures
    if partition is None and method.claims["preference"] == "fixed":
        preferences = np.asarray(method.preferences, np.float64)
    else:
        preferences = lattice(len(names), partition)
    return chain(method, splits, measures, preferences, device=device, **options)
