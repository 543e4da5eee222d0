"""What one number says about a front: distance to the best known front, reach, knee; and whether it obeys preferences.

Points are `[point, objective]`, maximised and finite. IGD+, additive epsilon and R2 are distances: lower is better,
and a front that dominates another is never worse by them. (GD, IGD and spacing can prefer the dominated one, and are
not here.) None of them sees control: whether the preference w gets the point that w asked for. `control` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ltr.errors import InputError

from .dominance import Floats, Points, as_points, nondominated

__all__ = ["Control", "control", "epsilon", "igd_plus", "knee", "r2", "spread", "union_front"]


def _front(points: Points, what: str = "points") -> Floats:
    front: Floats = np.asarray(as_points(points, what=what))
    if front.ndim != 2:
        raise InputError(what, expected="one front, [point, objective]", came=front.shape)
    return front


def union_front(fronts: Sequence[Points]) -> Floats:
    """The best of all fronts together: what no point of any dominates, each point once, `[point, objective]`.

    >>> union_front([[[3, 1], [1, 1]], [[1, 3], [3, 1]]]).tolist()
    [[3.0, 1.0], [1.0, 3.0]]
    """
    fronts = [_front(f) for f in fronts]
    if len({f.shape[1] for f in fronts}) != 1:
        raise InputError("fronts to unite", expected="one or more, with the same objectives", came=len(fronts))
    points = np.concatenate(fronts)
    best: Floats = points[nondominated(points, duplicates="first")]
    return best


def _gaps(points: Points, union: Points) -> Floats:
    """union - points for every pair, `[union point, point, objective]`."""
    points, union = _front(points), _front(union, "the union front")
    if not len(union) or union.shape[1] != points.shape[1]:
        expected = f"[point, objective={points.shape[1]}], one point or more"
        raise InputError("the union front", expected=expected, came=union.shape)
    gaps: Floats = union[:, None] - points
    return gaps


def igd_plus(points: Points, union: Points) -> float:
    """Mean over the union front's points u of min_a ||max(u - a, 0)||: how far the front stays behind it.

    0 if and only if every u is reached; infinite for an empty front. Source: Ishibuchi, Masuda, Tanigaki and Nojima,
    EMO 2015.

    Args:
        points: `[point, objective]`.
        union: `[point, objective]`, one or more; `union_front` of all that are compared.

    >>> igd_plus([[3, 1], [1, 3]], union=[[3, 1], [2, 2], [1, 3]])  # 0, 1 and 0 behind
    0.3333333333333333
    """
    behind = np.maximum(_gaps(points, union), 0)
    return float(np.sqrt((behind**2).sum(-1)).min(1, initial=np.inf).mean())


def epsilon(points: Points, union: Points) -> float:
    """max_u min_a max_k (u_k - a_k): what must be added to every objective until the front covers the union front.

    Below 0 where the front is better than all of `union`; infinite for an empty front. Source: Zitzler, Thiele,
    Laumanns, Fonseca and Grunert da Fonseca, IEEE Trans. Evol. Comput. 7, 2003 (additive form).

    Args:
        points: `[point, objective]`.
        union: `[point, objective]`, one or more.

    >>> epsilon([[3, 1], [1, 3]], union=[[3, 1], [2, 2], [1, 3]])
    1.0
    """
    return float(_gaps(points, union).max(-1).min(1, initial=np.inf).max())


def r2(points: Points, ideal: Any, weights: Any) -> float:
    """Mean over preferences w of min_a max_k w_k (ideal_k - a_k): what the best point for each w costs it.

    The sign is kept, so that a point beyond the ideal is still the better for it; infinite for an empty front.
    Source: Hansen and Jaszkiewicz, IMM-REP-1998-7, with the Chebyshev utility.

    Args:
        points: `[point, objective]`.
        ideal: a number or `[objective]`: 1 for normalised points.
        weights: `[preference, objective]`, `ltr.objectives.lattice(m)`, say.

    >>> r2([[1.0, 0.0], [0.0, 1.0]], ideal=1, weights=[[1, 0], [0.5, 0.5], [0, 1]])  # 0, 0.5 and 0
    0.16666666666666666
    """
    points, weights = _front(points), _front(weights, "weights")
    if weights.shape[1] != points.shape[1] or not len(weights) or (weights < 0).any():
        expected = f"[preference, objective={points.shape[1]}], none negative"
        raise InputError("weights of R2", expected=expected, came=weights.shape)
    costs = (weights[:, None] * (_ideal(ideal, points.shape[1]) - points)).max(-1)
    return float(costs.min(1, initial=np.inf).mean())


def _ideal(ideal: Any, objectives: int) -> Floats:
    point: Floats = np.asarray(ideal, dtype=np.float64)
    if point.ndim > 1 or point.size not in (1, objectives) or not np.isfinite(point).all():
        raise InputError("the ideal point", expected=f"a finite number, or {objectives} of them", came=point.tolist())
    return point


def spread(points: Points) -> float:
    """Diagonal of the box around the non-dominated points, sqrt(sum_k (max_k - min_k)^2): how wide the choice is.

    0 for one point or none. Alone it says nothing: a worse front can be wider. Source: maximum spread, Zitzler, PhD
    thesis, ETH 1999, over the bounding box.

    >>> spread([[3, 0], [0, 4], [0, 0]])
    5.0
    """
    front = _front(points)
    front = front[nondominated(front)]
    return float(np.linalg.norm(np.ptp(front, axis=0))) if len(front) else 0.0


def knee(points: Points) -> int:
    """Index of the point farthest beyond the plane through the ends of the front: giving there costs most elsewhere.

    Objectives are scaled to [0, 1] over the non-dominated points; the knee has the largest sum, that is the largest
    distance from the plane through the unit points (with two objectives: from the line that joins the ends). Of equal
    ones the first. Source: Das, Structural Optimization 18, 1999, with the box in place of the normal boundary.

    Raises:
        InputError: no points.

    >>> knee([[1.0, 0.0], [0.9, 0.8], [0.0, 1.0], [0.2, 0.2]])
    1
    """
    points = _front(points)
    if not len(points):
        raise InputError("a knee needs points", expected="[point, objective], one or more", came=points.shape)
    on_front = nondominated(points)
    low, high = points[on_front].min(0), points[on_front].max(0)
    sums = ((points - low) / np.where(high > low, high - low, 1.0)).sum(1)
    return int(np.argmax(np.where(on_front, sums, -np.inf)))


@dataclass(frozen=True)
class Control:
    """Does a preference get what it asks for? One front, a point a preference.

    Attributes:
        spearman: float64 `[objective]`, rank correlation of w_k with objective k over the preferences: 1 where more
            weight never buys less. 0 where the points do not move (nothing is controlled); NaN where the w_k do not.
        regret: mean over preferences of max_k w_k l_k, l = ideal - point, never below 0: the weighted Chebyshev
            loss of the point that w got.
        worst_regret: the largest of them.
        switching: mean over preferences of max_j (w . p_j) - w . p_w: what w would win with the point of another
            preference. 0 where every w gets the point of the front that serves it best.
        nonuniformity: mean over preferences of sum_k q_k log(m q_k), q = w l / sum(w l), over the m objectives with
            w_k > 0: 0 where all w_k l_k are equal, which is what methods of balance (EPO, Chebyshev) aim for. Others
            need not be low (Mahapatra and Rajan, ICML 2020).
    """

    spearman: Floats
    regret: float
    worst_regret: float
    switching: float
    nonuniformity: float


def control(preferences: Any, points: Points, ideal: Any = 1.0) -> Control:
    """How well the points follow the preferences they were asked for.

    Args:
        preferences: `[preference, objective]`, weights >= 0.
        points: `[preference, objective]`, the point each preference got; regret, switching and nonuniformity compare
            objectives with each other, so points should be normalised (`ltr.fronts.normalise`).
        ideal: a number or `[objective]`; 1 is the ideal of normalised points.

    >>> c = control([[1, 0], [0.5, 0.5], [0, 1]], [[1.0, 0.0], [0.8, 0.8], [0.0, 1.0]])
    >>> c.spearman.tolist(), round(c.regret, 4), c.switching, c.nonuniformity
    ([1.0, 1.0], 0.0333, 0.0, 0.0)
    """
    w, points = _front(preferences, "preferences"), _front(points)
    if w.shape != points.shape or not len(w) or (w < 0).any():
        expected = f"{list(points.shape)}: weights >= 0, a row a point, one or more"
        raise InputError("preferences of points", expected=expected, came=w.shape)
    weighted = w * np.maximum(_ideal(ideal, points.shape[1]) - points, 0)
    regrets = weighted.max(1)
    values = w @ points.T  # [preference, point]
    total = weighted.sum(1, keepdims=True)
    # Equal shares where nothing is lost at all; an objective of weight 0 has no say.
    shares = np.divide(weighted, total, out=np.zeros_like(weighted), where=total > 0)
    asked = (w > 0).sum(1, keepdims=True)
    terms = shares * np.log(np.where(shares > 0, asked * shares, 1.0))
    return Control(
        spearman=np.array([_spearman(a, b) for a, b in zip(w.T, points.T, strict=True)]),
        regret=float(regrets.mean()),
        worst_regret=float(regrets.max()),
        switching=float((values.max(1) - np.diagonal(values)).mean()),
        nonuniformity=float(terms.sum(1).mean()),
    )


def _spearman(a: Floats, b: Floats) -> float:
    if np.ptp(a) == 0:
        return float("nan")
    if np.ptp(b) == 0:
        return 0.0
    from scipy.stats import rankdata

    a, b = (rankdata(x) - (len(x) + 1) / 2 for x in (a, b))
    return float(np.clip(a @ b / np.sqrt((a @ a) * (b @ b)), -1, 1))
