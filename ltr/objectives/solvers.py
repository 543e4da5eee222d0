"""Small exact problems on a Gramian, for at most a handful of objectives: every active set is tried.

With m <= 6 there are at most 64 sets of objectives that can be active. For each the optimality conditions are one
linear system; all systems are solved in one batched call and the best feasible candidate is kept. That is exact (no
iteration, no tolerance to choose), batched over leading axes, differentiates nothing, and never waits for a GPU.
Duplicate, opposite and zero gradients make some systems singular; an optimum with affinely independent gradients
always exists (Caratheodory), so those sets may drop out.

All arithmetic is float64; G is `[..., m, m]`, symmetric and positive semi-definite.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from ltr.errors import InputError

__all__ = ["cone_on_simplex", "dual_cone", "min_norm", "nash", "onto_simplex", "unit_scaled"]

MOST = 8  # 255 systems of 9 x 9; beyond, enumerating is the wrong tool
_RIDGE = 1e-8  # float32 gradients leave noise of this size in a unit-scaled Gramian


@functools.lru_cache(maxsize=64)
def _subsets(m: int, device: torch.device, empty: bool) -> Tensor:
    if m > MOST:
        raise InputError("too many objectives to enumerate active sets", expected=f"at most {MOST}", came=m)
    numbers = torch.arange(0 if empty else 1, 2**m, device=device)
    return (numbers.unsqueeze(-1) >> torch.arange(m, device=device) & 1).bool()


def _restricted(G: Tensor, subsets: Tensor) -> Tensor:
    """G on each subset, the identity elsewhere: `[..., set, m, m]`."""
    inside = subsets.unsqueeze(-1) & subsets.unsqueeze(-2)
    return torch.where(inside, G.unsqueeze(-3), torch.eye(G.shape[-1], dtype=G.dtype, device=G.device))


def _solve(A: Tensor, b: Tensor) -> Tensor:
    """A x = b, NaN where A is singular; no check, hence no wait for the device."""
    x, info = torch.linalg.solve_ex(A, b, check_errors=False)
    solved: Tensor = x.masked_fill((info != 0)[..., None, None], torch.nan)
    return solved


def _best(candidates: Tensor, values: Tensor) -> Tensor:
    """The candidate `[..., set, m]` of least value `[..., set]`; NaN never wins unless nothing else is there."""
    pick = values.nan_to_num(nan=torch.inf).argmin(-1, keepdim=True)
    return candidates.gather(-2, pick.unsqueeze(-1).expand(*pick.shape, candidates.shape[-1])).squeeze(-2)


def _quadratic(a: Tensor, G: Tensor) -> Tensor:
    """a . G a, `[..., set]` for a `[..., set, m]`."""
    return ((a @ G) * a).sum(-1).clamp(min=0)


def _edges(G: Tensor, linear: Tensor) -> tuple[Tensor, Tensor]:
    """For every set S: the point of least norm of the affine hull of S, and the direction in which `linear` moves it.

    w0 solves G_S w + mu 1 = 0, sum w = 1; w1 solves G_S w + mu 1 = linear_S, sum w = 0. Both `[..., set, m]`.
    """
    m = G.shape[-1]
    subsets = _subsets(m, G.device, False)
    A = torch.zeros(*G.shape[:-2], len(subsets), m + 1, m + 1, dtype=G.dtype, device=G.device)
    A[..., :m, :m] = _restricted(G, subsets)
    A[..., :m, m] = A[..., m, :m] = subsets.to(G.dtype)
    b = torch.zeros(*A.shape[:-1], 2, dtype=G.dtype, device=G.device)
    b[..., m, 0] = 1.0
    b[..., :m, 1] = linear.unsqueeze(-2) * subsets
    w = _solve(A, b)[..., :m, :]
    return w[..., 0], w[..., 1]


def _on_simplex(w: Tensor) -> Tensor:
    """Rounding removed: no entry below 0, sum 1. A candidate that was not feasible becomes a point that is."""
    w = w.clamp(min=0)
    return w / w.sum(-1, keepdim=True)


def min_norm(G: Tensor) -> Tensor:
    """argmin a . G a over the simplex, `[..., m]`: the shortest vector of the convex hull of the gradients.

    >>> min_norm(torch.tensor([[1.0, 0.0], [0.0, 4.0]]))  # a ~ 1 / |g|^2 for orthogonal gradients
    tensor([0.8000, 0.2000], dtype=torch.float64)
    """
    G = _unit_trace(G)
    w = _on_simplex(_edges(G, torch.zeros_like(G[..., 0]))[0])
    return _best(w, _quadratic(w, G))


def cone_on_simplex(G: Tensor, linear: Tensor, weight: Tensor | float) -> Tensor:
    """argmin linear . a + weight sqrt(a . G a) over the simplex, `[..., m]`: the problem of CAGrad and WC-MGDA.

    `linear` is `[..., m]`, `weight` `[...]` and at least 0.

    On the interior of a face S the conditions are weight G a / r + linear = const, r = sqrt(a . G a). With t =
    r / weight they are linear in t: a = w0 - t w1 (see `_edges`), and a . G a = w0 . G w0 + t^2 w1 . G w1 because the
    cross term vanishes. So t^2 (weight^2 - w1 . G w1) = w0 . G w0: one t a face, in closed form. [derived; proven
    against a grid and a general solver in the tests]
    """
    G, linear = G.double(), linear.double()
    scale = _trace_scale(G)
    weight = torch.as_tensor(weight, dtype=G.dtype, device=G.device) * scale.sqrt()
    G = G / scale[..., None, None]
    w0, w1 = _edges(G, linear)
    room = weight.square().unsqueeze(-1) - _quadratic(w1, G)
    t = (_quadratic(w0, G) / room.masked_fill(room <= 0, torch.nan)).sqrt()
    corners = torch.eye(G.shape[-1], dtype=G.dtype, device=G.device).expand_as(G)
    # Faces without a stationary point have their best on their border, that is on another face; corners always count.
    w = torch.cat([_on_simplex(w0 - t.unsqueeze(-1) * w1), corners], -2)
    return _best(w, (w @ linear.unsqueeze(-1)).squeeze(-1) + weight.unsqueeze(-1) * _quadratic(w, G).sqrt())


def dual_cone(G: Tensor, U: Tensor) -> Tensor:
    """Weights of the projection of every row of U onto the dual cone {d: g_k . d >= 0}, `[..., row, m]`.

    The projection of J^T u is J^T v with v = argmin v . G v over v >= u (Quinton and Rey, 2406.16232, proposition 1).
    """
    G, U = G.double(), U.double()
    unit, norms = unit_scaled(G)  # the cone does not know the lengths of the gradients
    U = U * norms.unsqueeze(-2)
    size = U.abs().amax((-2, -1), keepdim=True).clamp(min=1e-300)
    U = U / size
    subsets = _subsets(G.shape[-1], G.device, True)
    slope = U @ unit  # [..., row, m]
    x = _solve(_restricted(unit, subsets), -(slope.mT.unsqueeze(-3) * subsets.unsqueeze(-1)))  # [..., set, m, row]
    v = U.unsqueeze(-3) + x.mT.clamp(min=0)  # [..., set, row, m]
    slope = v @ unit.unsqueeze(-3)
    # How far the conditions are from holding: g_k . d >= 0, and x_k g_k . d = 0. Their objective alone would not do: a
    # singular set gives huge x, whose a . G a is rounding.
    broken = torch.maximum(-slope, (x.mT.clamp(min=0) * slope).abs()).amax(-1)  # [..., set, row]
    best = _best(v.transpose(-3, -2), broken.transpose(-2, -1))
    return best * size / norms.unsqueeze(-2)


def nash(G: Tensor, steps: int = 60) -> Tensor:
    """a > 0 with G a = 1 / a (elementwise), `[..., m]`; 0 for a gradient of 0.

    The minimiser of a . G a / 2 - sum_k log a_k, which is strictly convex and self-concordant: Newton's method with
    step 1 / (1 + decrement) gets there from anywhere. A ridge of 1e-8 (of unit-scaled gradients) keeps a finite where
    the gradients can be combined to 0, where no solution exists.
    """
    unit, norms = unit_scaled(G.double())
    m = unit.shape[-1]
    eye = torch.eye(m, dtype=unit.dtype, device=unit.device)
    zero = unit.diagonal(dim1=-2, dim2=-1) == 0
    C = unit + (_RIDGE + zero.to(unit.dtype)).unsqueeze(-1) * eye
    b = (m / C.sum((-2, -1)).clamp(min=_RIDGE)).sqrt().unsqueeze(-1).expand(unit.shape[:-1])
    for _ in range(steps):
        # In p = (change of b) / b the Hessian is diag(b) C diag(b) + I, well conditioned however b runs.
        slope = b * (C @ b.unsqueeze(-1)).squeeze(-1) - 1
        hessian = b.unsqueeze(-1) * C * b.unsqueeze(-2) + eye
        p = _solve(hessian, -slope.unsqueeze(-1)).squeeze(-1)
        decrement = -(p * slope).sum(-1, keepdim=True)
        b = b * (1 + p / (1 + decrement.clamp(min=0).sqrt()))
        if b.device.type == "cpu" and not (decrement > 1e-26).any():  # looking costs nothing here
            break
    return (b / norms).masked_fill(zero, 0.0)


def onto_simplex(x: Tensor) -> Tensor:
    """The nearest point of the simplex, `[..., m]` (Held, Wolfe and Crowder, 1974: sort, then one threshold).

    >>> onto_simplex(torch.tensor([0.5, 1.5, -1.0]))
    tensor([0., 1., 0.])
    """
    ordered = x.sort(dim=-1, descending=True).values
    excess = (ordered.cumsum(-1) - 1) / torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
    last = (ordered > excess).sum(-1, keepdim=True) - 1
    return (x - excess.gather(-1, last)).clamp(min=0)


def unit_scaled(G: Tensor) -> tuple[Tensor, Tensor]:
    """The Gramian of the gradients divided by their norms, and the norms `[..., m]` (1 for a gradient of 0)."""
    norms = G.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
    norms = norms.where(norms > 0, 1.0)
    return G / norms.unsqueeze(-1) / norms.unsqueeze(-2), norms


def _trace_scale(G: Tensor) -> Tensor:
    mean = G.diagonal(dim1=-2, dim2=-1).mean(-1)
    return mean.where(mean > 0, 1.0)


def _unit_trace(G: Tensor) -> Tensor:
    """G / (trace / m), so that the ones of the bordered systems have its size; G itself when it is 0."""
    G = G.double()
    return G / _trace_scale(G)[..., None, None]
