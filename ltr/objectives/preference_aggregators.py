"""Aggregators that a preference steers to its own point: EPO and WC-MGDA. Both make w_k l_k equal, so that the losses
end along 1/w; the scale of the losses matters, and losses that mean different things should be normalised first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ltr.errors import InputError

from . import solvers
from .aggregators import AGGREGATORS, Aggregator
from .parameters import at_least, vector

__all__ = ["WCMGDA", "epo", "nonuniformity"]


def nonuniformity(losses: Tensor, preference: Tensor) -> Tensor:
    """sum_k p_k log(m p_k), p = w l / sum(w l), `[...]`: 0 where all w_k l_k are equal, at most log m.

    >>> nonuniformity(torch.tensor([1.0, 3.0]), torch.tensor([0.75, 0.25]))
    tensor(0.)
    """
    p = preference * losses
    p = p / p.sum(-1, keepdim=True)
    return torch.xlogy(p, p.shape[-1] * p).sum(-1)


@AGGREGATORS.register(
    "epo",
    formula="balance: max a . M b s.t. M a >= rhs; descent: max 1 . M a s.t. M a >= 0, a . M b >= min(0, max M b); a "
    "on the simplex, b = w (log(m p) - nu), p = w l / sum(w l), nu = sum p log(m p)",
    source="EPO search: Mahapatra and Rajan, ICML 2020 and 2108.00597, in the form of dbmptr/EPOSearch",
    preference="steers",
    means="balance",
    simplex=True,
    needs_losses=True,
)
def epo(gramian: Tensor, *, losses: Tensor, preference: Tensor, threshold: float = 1e-4) -> Tensor:
    """Exact Pareto search: steps to the ray where w_k l_k are equal, then down along it.

    Balance (nu above the threshold) lowers nu, whose gradient b is, as fast as its conditions allow, and lets an
    objective rise only if it is too good for its preference: rhs_k is (M b)_k where that is not positive, 0 for the
    largest w_k l_k, nothing elsewhere; 0 for all if no (M b)_k is positive. Now and then the conditions force nu up.
    Descent raises nobody. The linear programs go through HiGHS on the CPU (2 to 4 ms a step); when one has no solution:
    descent without its last condition, else a = w.

    Args:
        gramian: `[objective, objective]`.
        losses: `[objective]`, above 0 where w_k is.
        preference: `[objective]`. An objective of weight 0 has no say in nu.
        threshold: of nu.
    """
    from scipy.optimize import linprog

    at_least("epo", 0, threshold=threshold)
    if gramian.ndim != 2:
        raise InputError("epo solves one step, not a batch", came=tuple(gramian.shape))
    M, loss, w = (each.cpu().numpy() for each in (gramian, losses, preference))
    if (loss < 0).any():
        raise InputError(
            "epo needs losses that are not negative", came=float(loss.min()), do="Feed 1 - NDCG instead of -NDCG."
        )
    total = (w * loss).sum()
    if total == 0:
        return preference / preference.sum()
    m, p = len(loss), w * loss / total
    log = np.log(np.where(p > 0, m * p, 1.0))
    nu = (p * log).sum()
    M = M / max(np.abs(M).max(), 1e-300)  # HiGHS has absolute tolerances
    b = np.where(p > 0, w * (log - nu), 0.0)
    Mb = M @ b

    def best(objective: np.ndarray, rows: np.ndarray, low: np.ndarray) -> np.ndarray | None:
        """argmax objective . a over the simplex subject to rows a >= low."""
        found = linprog(-objective, A_ub=-rows, b_ub=-low, A_eq=np.ones((1, m)), b_eq=[1.0], bounds=(0, None))
        return found.x if found.status == 0 else None

    if nu > threshold:
        low = np.where(Mb > 0, -np.inf, Mb)
        low[p == p.max()] = 0.0
        low = low if (Mb > 0).any() else np.zeros(m)
        some = low > -np.inf
        a = best(Mb, M[some], low[some])
    else:
        a = best(M.sum(0), np.vstack([M, Mb]), np.append(np.zeros(m), min(0.0, Mb.max())))
        a = best(M.sum(0), M, np.zeros(m)) if a is None else a
    a = w if a is None else a.clip(0)
    return torch.as_tensor(a / a.sum(), dtype=gramian.dtype, device=gramian.device)


@AGGREGATORS.register(
    "wc-mgda",
    formula="a ~ v * argmax a . (v * (l - zeta)) - c |sum_k a_k v_k g_k| / |K_0| over the simplex, v = w / |w * l_0|",
    source="WC-MGDA: Momma et al., ICML 2022, in the form of MO-LightGBM",
    preference="steers",
    means="balance",
    simplex=True,
    needs_losses=True,
    stateful=True,
)
class WCMGDA(Aggregator):
    """Weighted Chebyshev and MGDA in one: a trades the largest v_k l_k against the shortness of the step.

    What is solved, exactly (`solvers.cone_on_simplex`): the problem of the formula, l_0 and |K_0| = |(v_k g_k)_k|
    (Frobenius norm) taken from the first call. Large c is MGDA on w_k g_k, c = 0 the worst objective alone. For c > 0
    descent stops short of equal w_k l_k, where the shortness of the step outweighs what is left of the difference: the
    farther the larger c. The result is v * a with sum 1 (DeepMTL2R leaves v out). Not here: the authors' lower bounds
    of a.

    c is retuned as in MO-LightGBM. The first two calls solve with the least c and note the value reached, the target.
    Later calls take the least c in its range whose value is not above the target; if c = 0 would do, c stays what it
    was and the target becomes the value reached.

    Args:
        objectives: m.
        ideal: zeta, `[objective]`; None: 0.
        least, most: range of c, [.1, 10].
        tune: False: c is `least` throughout.
    """

    _GRID = 33  # two rounds of so many trial values settle c to (most - least) / 1024

    ideal: Tensor
    calls: Tensor
    loss_norm: Tensor
    step_norm: Tensor
    target: Tensor
    c: Tensor

    def __init__(
        self,
        objectives: int,
        ideal: Sequence[float] | None = None,
        least: float = 0.1,
        most: float = 10.0,
        tune: bool = True,
    ):
        at_least("wc-mgda", 0, least=least)
        at_least("wc-mgda", least, most=most)
        params = {"ideal": ideal, "least": least, "most": most, "tune": tune}
        super().__init__(AGGREGATORS["wc-mgda"], objectives, params)
        like = torch.zeros(objectives, dtype=torch.float64)
        self.register_buffer("ideal", like if ideal is None else vector(ideal, like, "ideal value"), persistent=False)
        for name in ("calls", "loss_norm", "step_norm", "target"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))
        self.register_buffer("c", torch.tensor(float(least), dtype=torch.float64))

    def _value(self, a: Tensor, G: Tensor, gains: Tensor, c: Tensor) -> Tensor:
        return (a * gains).sum(-1) - c * (a * (G @ a.unsqueeze(-1)).squeeze(-1)).sum(-1).clamp(min=0).sqrt()

    def solve(  # type: ignore[override]  # it names what it takes, see Aggregator
        self, gramian: Tensor, *, losses: Tensor, preference: Tensor, among: Tensor | None = None
    ) -> Tensor:
        if gramian.ndim != 2:
            raise InputError("wc-mgda remembers one step, not a batch", came=tuple(gramian.shape))
        first = self.calls == 0
        norm = torch.linalg.vector_norm(preference * losses)
        self.loss_norm.copy_(torch.where(first, norm.where(norm > 0, 1.0), self.loss_norm))
        v = preference / self.loss_norm
        G = gramian * v.unsqueeze(-1) * v
        size = G.diagonal().sum().sqrt()
        self.step_norm.copy_(torch.where(first, size.where(size > 0, 1.0), self.step_norm))
        ideal = self.ideal.to(losses)
        G, gains = G / self.step_norm.square(), v * (losses - (ideal if among is None else ideal[among]))
        c = self._tuned(G, gains)
        a = solvers.cone_on_simplex(G, -gains, c)
        reached = self._value(a, G, gains, c)
        # The target is noted twice at first, and again where the worst objective alone lies below it.
        note = (self.calls < 2) | (gains.max() <= self.target)
        self.target.copy_(torch.where(note, reached, self.target))
        self.c.copy_(c)
        self.calls += 1
        a = v * a
        total = a.sum()
        return torch.where(total > 0, a / total.where(total > 0, 1.0), preference)

    def _tuned(self, G: Tensor, gains: Tensor) -> Tensor:
        least, most = (torch.full_like(self.c, self.params[key]) for key in ("least", "most"))
        if not self.params["tune"]:
            return least
        low, high = least, most
        share = torch.linspace(0, 1, self._GRID, dtype=G.dtype, device=G.device)
        for _ in range(2):  # the value falls as c grows: the first trial at or below the target ends the search
            trials = low + (high - low) * share
            a = solvers.cone_on_simplex(G.expand(self._GRID, *G.shape), -gains.expand(self._GRID, -1), trials)
            below = self._value(a, G, gains, trials) <= self.target
            at = torch.where(below.any(), below.to(torch.int8).argmax(), self._GRID - 1)
            low, high = trials[(at - 1).clamp(min=0)], trials[at]
        tuned = torch.where(gains.max() <= self.target, self.c, high)
        return torch.where(self.calls < 2, least, tuned)
