"""Hypervolumes under resampled queries, all systems on the same resamples, and intervals of their differences.

A draw weighs query i by N_i ~ Poisson(1), independent over queries (in place of the multinomial counts of drawing n of
n; Hanley and MacGibbon, Comput. Methods Programs Biomed. 83, 2006; Chamandy et al., Google 2012). Every system, seed
and point sees the same weights, so one matrix product gives all points of all draws:

    point(draw, k) = sum_i N_i v_ik / sum_i N_i [v_ik counts]

Sampling noise that systems share cancels in the difference of two: its interval covers, while one of an absolute
hypervolume is biased (noise widens a front, never narrows it) and wide.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ltr.errors import InputError
from ltr.metrics.inference import errors_of_draws
from ltr.metrics.significance import Interval

from .dominance import Floats, as_reference, is_tensor
from .hypervolume import hypervolumes

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["difference_interval", "paired_hypervolumes", "poisson_weights"]

_CELLS = 1 << 18  # weights drawn at once: they stay in the cache while they pass the thresholds
_VALUES = 1 << 23  # values of one matrix product: 64 MB of float64
_ON_DEVICE = 1 << 26  # weights, or means, of one product on an accelerator, which has no such cache: 512 MB
# P(N <= k) of Poisson(1) in 2^-32: a draw of 32 bits passes so many thresholds. Beyond 12 the rest is below 2^-32.
_THRESHOLDS = [round(2**32 * sum(math.exp(-1) / math.factorial(i) for i in range(k + 1))) for k in range(12)]


def poisson_weights(draws: int, queries: int, generator: np.random.Generator) -> Floats:
    """How often each query occurs in each resample, uint8 `[draw, query]`, Poisson(1) to 2^-32.

    >>> weights = poisson_weights(1000, 100, np.random.default_rng(0))
    >>> bool(abs(weights.mean() - 1) < 0.01 and abs(weights.var() - 1) < 0.02)
    True
    """
    weights = np.zeros((draws, queries), dtype=np.uint8)
    step = max(1, _CELLS // max(queries, 1))
    for at in range(0, draws, step):
        part = weights[at : at + step]
        bits = generator.integers(0, 2**32, size=part.shape, dtype=np.uint32)
        for threshold in _THRESHOLDS:
            part += bits >= threshold
    return weights


def paired_hypervolumes(
    values: Any,
    members: Any,
    reference: Any,
    draws: int = 1000,
    seed: int = 0,
    device: Any = None,
    *,
    threads: int | None = None,
) -> Floats:
    """Hypervolume of every system's front under the same resamples of queries, float64 `[draw, ...]`.

    A list that is blank for an objective (NaN) has neither value nor weight there. A draw in which an objective has
    no list left is drawn again.

    Args:
        values: `[..., point, query, objective]`, measures of every query, NaN where it is blank for the objective;
            `...` is the system, or system and seed. Array (memory-mapped ones are read a few systems at a time) or
            tensor. Points of two systems need not correspond.
        members: bool `[..., point]`: the points of each front, decided on validation (`chosen`). A system without any
            has hypervolume 0. Values of the others are not looked at.
        reference: a number or `[objective]`, in the measures' own units (`ltr.fronts.reference`).
        draws: resamples.
        seed: of the weights, which depend on nothing but it, `draws` and which lists count: systems that are measured
            on the same queries in two calls are still paired.
        device: where products and hypervolumes are computed; None: where the values are. Weights come from the CPU,
            so that all devices see the same resamples.
        threads: of hypervolumes from four objectives; None: one a processor.

    Raises:
        InputError: shapes that do not fit, infinite values, an objective without a list that counts, or lists blank
            in some rows and not in others: blank is a matter of labels, so rows would be of different labels.

    >>> one_point = np.array([[[[0.2, 0.4], [0.4, np.nan], [0.6, 0.2]]]])  # [system, point, query, objective]
    >>> found = paired_hypervolumes(one_point, [[True]], reference=0, draws=4000)
    >>> bool(abs(np.median(found) - 0.4 * 0.3) < 0.01)
    True
    """
    import torch

    if is_tensor(values):
        values = values.detach()
        device = values.device if device is None else device
    else:
        values = np.asarray(values)
    if values.ndim < 3:
        raise InputError("values of fronts", expected="[..., point, query, objective]", came=tuple(values.shape))
    device = torch.device("cpu" if device is None else device)
    *batch, points, queries, objectives = values.shape
    members = np.asarray(members.cpu() if is_tensor(members) else members, dtype=bool)
    if members.shape != (*batch, points):
        raise InputError("members of fronts", expected=f"bool {[*batch, points]}, a flag a point", came=members.shape)
    if draws < 1:
        raise InputError("draws of a bootstrap", expected="a whole number from 1", came=draws)
    reference = as_reference(reference, objectives)
    systems = math.prod(batch)
    values, members = values.reshape(systems, points, queries, objectives), members.reshape(systems, points)
    if not members.any():
        return np.zeros((draws, *batch))

    counted = _counted(values, members)
    weights, totals = (torch.from_numpy(each).to(device) for each in _weights(counted, draws, seed))
    found = np.empty((draws, systems))
    together = max(1, _VALUES // max(1, int(members.sum(1).max()) * queries * objectives))
    for at in range(0, systems, together):
        some = slice(at, at + together)
        found[:, some] = _some_systems(values[some], members[some], weights, totals, reference, threads).cpu().numpy()
    return found.reshape(draws, *batch)


def _counted(values: Any, members: Floats) -> Floats:
    """Which lists count for which objective, bool `[query, objective]`, the same for every member point."""
    counted: Tensor | None = None
    for system, taking_part in zip(values, members, strict=True):
        if not taking_part.any():
            continue
        rows = _taken(system, taking_part)  # [point, query, objective]
        if bool(rows.isinf().any()):
            raise InputError("values of fronts", expected="finite numbers, or NaN for a blank list", came=math.inf)
        there = ~rows.isnan()
        counted = there[0] if counted is None else counted
        odd = (there != counted).any(0)
        if bool(odd.any()):
            query, objective = odd.nonzero()[0].tolist()
            raise InputError(
                f"query {query} is blank (NaN) for objective {objective} in some rows and counted in others",
                do="All systems and points must be measured on the same labels",
            )
    assert counted is not None  # the caller has seen a member
    flags: Floats = counted.cpu().numpy()
    if not flags.any(0).all():
        blank = int(np.flatnonzero(~flags.any(0))[0])
        raise InputError(f"objective {blank} has no list that counts", expected="one query or more that is not NaN")
    return flags


def _weights(counted: Floats, draws: int, seed: int) -> tuple[Floats, Floats]:
    """Poisson weights uint8 `[draw, query]` and their sums over the lists that count, float64 `[draw, objective]`."""
    generator = np.random.default_rng(seed)
    weights = poisson_weights(draws, len(counted), generator)
    totals = weights @ counted.astype(np.float32)  # whole numbers below 2^24 are exact
    while (empty := (totals == 0).any(1)).any():
        weights[empty] = poisson_weights(int(empty.sum()), len(counted), generator)
        totals[empty] = weights[empty] @ counted.astype(np.float32)
    return weights, totals.astype(np.float64)


def _taken(values: Any, members: Floats) -> Tensor:
    """The member points' values, a copy, `[member, query, objective]`."""
    import torch

    index = members.nonzero()
    if is_tensor(values):
        rows: Tensor = values[index]
        return rows
    return torch.from_numpy(np.asarray(values[index], dtype=np.float64))


def _some_systems(
    values: Any, members: Floats, weights: Tensor, totals: Tensor, reference: Floats, threads: int | None
) -> Tensor:
    """`[draw, system]`: the points of all draws as one product, then their hypervolumes."""
    import torch

    _, _, queries, objectives = values.shape
    system = members.nonzero()[0]
    widest = int(members.sum(1).max())
    found = torch.zeros((len(weights), len(members)), dtype=torch.float64, device=weights.device)
    if not widest:
        return found
    rows = _taken(values, members).to(weights.device, torch.float64).nan_to_num(nan=0.0)
    columns = rows.permute(2, 0, 1).reshape(-1, queries)  # [objective member, query]
    slot = np.concatenate([np.arange(n) for n in members.sum(1)])  # members stand at the left of their system's row
    where = np.arange(widest) < members.sum(1)[:, None]
    cells = _CELLS * 8 if weights.device.type == "cpu" else _ON_DEVICE
    step = max(1, cells // max(queries, len(members) * widest * objectives))
    for at in range(0, len(weights), step):
        part = slice(at, at + step)
        sums = (weights[part].double() @ columns.T).reshape(-1, objectives, len(system))
        means = (sums / totals[part, :, None]).mT  # [draw, member, objective]
        fronts = means.new_zeros(len(means), len(members), widest, objectives)
        fronts[:, system, slot] = means
        found[part] = hypervolumes(fronts, reference, where, threads=threads)
    return found


def difference_interval(
    draws_a: Any, draws_b: Any, level: float = 0.95, *, resample_seeds: bool = False, queries: int = 1 << 30
) -> Interval:
    """Interval of a's hypervolume less b's, both from the same resamples: percentiles, which speak of these nets.

    Args:
        draws_a, draws_b: `[draw]` or `[draw, seed]` of `paired_hypervolumes`; seeds are averaged.
        level: coverage, between 0 and 1.
        resample_seeds: over other trainings too, as the spread of the seeds says (`ltr.metrics.inference`): the
            interval speaks of the methods. From two seeds it is wide; a table of many systems knows more, see
            `ltr.metrics.errors_of_draws`.
        queries: how many were resampled; only few of them make a difference, with `resample_seeds`.

    Returns:
        (low, high); a lies above b at this level where low > 0.

    >>> difference_interval([0.25, 0.5, 0.75], [0.0, 0.25, 0.5])  # both better by the same query resamples
    Interval(low=0.25, high=0.25)
    """
    a, b = (np.asarray(d, dtype=np.float64) for d in (draws_a, draws_b))
    if not 0 < level < 1:
        raise InputError("level of the interval", expected="a number between 0 and 1", came=level)
    if a.ndim not in (1, 2) or b.ndim not in (1, 2) or not len(a) or len(a) != len(b):
        expected = "the same resamples of both, [draw] or [draw, seed]"
        raise InputError("draws of a difference", expected=expected, came=(a.shape, b.shape))
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("draws of a difference", expected="finite numbers")
    if resample_seeds:
        if a.ndim != 2 or a.shape != b.shape:
            expected = "[draw, seed] of both, with the same seeds"
            raise InputError("seeds to resample", expected=expected, came=(a.shape, b.shape))
        both = np.stack([a, b], axis=1)
        found = errors_of_draws(both.mean(0), both, queries).difference(0, 1, level)
        return Interval(found.low, found.high)
    difference = a.reshape(len(a), -1).mean(1) - b.reshape(len(b), -1).mean(1)
    return Interval(*np.quantile(difference, [(1 - level) / 2, (1 + level) / 2]).tolist())
