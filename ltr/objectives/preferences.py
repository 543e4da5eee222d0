"""Preferences: weights w on the simplex, w_k >= 0 and sum_k w_k = 1, one weight an objective.

Three meanings share the notation and never one axis. Importance: linear scalarisation, HyperDPO, MODPO, soups.
Balance: Chebyshev and EPO make w_k l_k equal, so the losses lie along 1/w. Direction: COSMOS and PBI ask for losses
along w itself. Each scalarisation and aggregator says which is its own (claim `means`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltr.errors import InputError

__all__ = ["PARTITIONS", "check_preference", "dirichlet", "lattice"]

# Objectives -> H of the front protocol, hence 11, 66, 56, 70, 56 preferences.
PARTITIONS = {2: 10, 3: 10, 4: 5, 5: 4, 6: 3}


_MOST = 1_000_000  # preferences of a lattice


def lattice(objectives: int, partition: int | None = None) -> np.ndarray:
    """Every w whose entries are multiples of 1/H, float64 `[(H + m - 1 choose m - 1), m]`, in descending order.

    The first row is the preference for the first objective alone, the last for the last: with m = 2 the rows walk
    along the front. (Simplex-lattice design: Das and Dennis, 1998.)

    Args:
        objectives: m, at least 1.
        partition: H; None: the protocol's, for m = 2 to 6.

    >>> lattice(2, 4)[:, 0].tolist()
    [1.0, 0.75, 0.5, 0.25, 0.0]
    >>> [len(lattice(m)) for m in (2, 3, 4, 5, 6)]
    [11, 66, 56, 70, 56]
    """
    if objectives < 1:
        raise InputError("a lattice needs objectives", expected="at least 1", came=objectives)
    if partition is None:
        if objectives == 1:
            return np.ones((1, 1))
        if objectives not in PARTITIONS:
            known = f"2 to {max(PARTITIONS)} objectives, or a partition"
            raise InputError("the protocol has no lattice for so many objectives", expected=known, came=objectives)
        partition = PARTITIONS[objectives]
    if not isinstance(partition, int | np.integer) or partition < 1:
        raise InputError("a lattice needs a partition", expected="H of at least 1", came=partition)
    if (points := math.comb(partition + objectives - 1, objectives - 1)) > _MOST:
        expected = f"at most {_MOST:,} preferences"
        raise InputError(f"a lattice of H = {partition:,} for {objectives} objectives", expected=expected, came=points)
    # Stars and bars: m - 1 bars among H + m - 1 places; the gaps between them are the weights.
    size = partition + objectives - 1
    bars = np.array(list(itertools.combinations(range(size), objectives - 1)), dtype=np.int64)
    bars = bars.reshape(math.comb(size, objectives - 1), objectives - 1)
    edges = np.concatenate([np.full((len(bars), 1), -1), bars, np.full((len(bars), 1), size)], axis=1)
    return (np.diff(edges, axis=1) - 1)[::-1] / partition


def dirichlet(
    alpha: float | Sequence[float],
    objectives: int,
    size: Sequence[int] = (),
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draws w ~ Dir(alpha), float32 `[*size, objective]`.

    Args:
        alpha: concentration, above 0; one for all objectives or one each. Below 1 favours corners, 1 is uniform.
        objectives: m.
        size: leading shape: () one preference for the step, (lists,) one a list.
        generator: where the draws come from; None: torch's own.
        device: of the result; None: the generator's, else the CPU.

    >>> dirichlet(0.5, 3, (8, 4), generator=torch.Generator().manual_seed(0)).shape
    torch.Size([8, 4, 3])
    """
    alphas = np.broadcast_to(np.asarray(alpha, dtype=np.float64), (objectives,)) if np.ndim(alpha) == 0 else alpha
    alphas = np.asarray(alphas, dtype=np.float64)
    if alphas.shape != (objectives,) or not (np.isfinite(alphas) & (alphas > 0)).all():
        raise InputError("alpha of a Dirichlet", expected=f"a number, or {objectives}, above 0", came=alpha)
    source = generator.device if generator is not None else device or "cpu"
    concentration = torch.tensor(alphas, device=source).expand(*size, objectives).contiguous()
    # The kernel below torch.distributions.Dirichlet, which takes no generator. float64, since draws of a small alpha
    # underflow in float32.
    return torch._sample_dirichlet(concentration, generator).to(device or source, torch.float32)


def check_preference(preference: Any, objectives: int | Sequence[str], *, tolerance: float = 1e-4) -> np.ndarray:
    """The preference(s) a user gave as float64 `[..., objective]`, or an error that says what is wrong.

    Args:
        preference: numbers, an array or a tensor, `[objective]` or `[..., objective]`.
        objectives: how many, or their names (then errors name them).
        tolerance: how far from 1 the sum may be; within it the weights are divided by their sum.

    Raises:
        InputError: wrong length, a weight that is NaN, infinite or negative, or a sum that is not 1.

    >>> check_preference([0.25, 0.75], 2)
    array([0.25, 0.75])
    """
    names = [f"objective {k}" for k in range(objectives)] if isinstance(objectives, int) else list(objectives)
    expected = f"{len(names)} weights >= 0 that sum to 1"
    if not isinstance(objectives, int):
        expected += f", for {', '.join(names)}"
    given = preference.detach().cpu().numpy() if isinstance(preference, Tensor) else preference
    try:
        w = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError("a preference is numbers", expected=expected, came=preference) from error
    if w.ndim == 0 or w.shape[-1] != len(names):
        raise InputError("a preference has one weight an objective", expected=expected, came=w.tolist())
    for what, wrong in (("is not a number", np.isnan(w)), ("is infinite", np.isinf(w)), ("is negative", w < 0)):
        if wrong.any():
            place = tuple(np.argwhere(wrong)[0])
            raise InputError(f"the weight of {names[place[-1]]} {what}", expected=expected, came=w[place[:-1]].tolist())
    total = w.sum(-1, keepdims=True)
    off = np.abs(total - 1) > tolerance
    if off.any():
        row = w[tuple(np.argwhere(off)[0])[:-1]]
        do = f"Divide by the sum: {(row / row.sum()).round(4).tolist()}" if row.sum() > 0 else ""
        raise InputError(f"the weights sum to {row.sum():.6g}, not to 1", expected=expected, came=row.tolist(), do=do)
    checked: np.ndarray = w / total
    return checked
