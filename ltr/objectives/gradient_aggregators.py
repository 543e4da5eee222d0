"""Aggregators without a preference of their own: MGDA, UPGrad, DualProj, PCGrad, CAGrad, Nash-MTL, IMTL-G, Aligned-MTL,
GradDrop, SDMGrad. One point of the front a run; a preference scales the losses first, unless the page says more.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ltr.errors import InputError, check_name

from . import solvers
from .aggregators import AGGREGATORS, Aggregator
from .parameters import at_least

__all__ = [
    "SDMGrad",
    "aligned_mtl",
    "cagrad",
    "dual_projection",
    "graddrop",
    "imtl_g",
    "mgda",
    "nash_mtl",
    "pcgrad",
    "upgrad",
]


@AGGREGATORS.register(
    "mgda",
    formula="argmin a . M a over the simplex",
    source="Desideri, 2012; Sener and Koltun, NeurIPS 2018, 1810.04650 (exact here; they iterate Frank-Wolfe)",
    preference="scales",
    simplex=True,
    conflict_free=True,
    needs_losses=lambda params: "loss" in params.get("normalise", "none"),
)
def mgda(
    gramian: Tensor,
    *,
    losses: Tensor | None = None,
    normalise: Literal["none", "l2", "loss", "loss+"] = "none",
) -> Tensor:
    """The shortest convex combination of the gradients; 0 exactly where the point is Pareto stationary.

    Args:
        gramian: `[..., objective, objective]`.
        losses: `[..., objective]`, for "loss" and "loss+".
        normalise: each gradient divided by 1, its norm, its loss, or both, before it is combined. The coefficients
            returned include the divisor, so that d is the shortest vector between the *normalised* gradients and in
            conflict with none; they then do not sum to 1. (The authors' code finds a with the divisor and steps
            without it, which keeps neither.) A divisor of 0 counts as 1.
    """
    check_name("normalise", normalise, ("none", "l2", "loss", "loss+"))
    divisor = torch.ones_like(gramian[..., 0])
    if normalise in ("l2", "loss+"):
        divisor = divisor * solvers.unit_scaled(gramian)[1]
    if "loss" in normalise and losses is not None:
        divisor = divisor * losses
    divisor = divisor.where(divisor != 0, 1.0)
    return solvers.min_norm(gramian / divisor.unsqueeze(-1) / divisor.unsqueeze(-2)) / divisor


@AGGREGATORS.register(
    "upgrad",
    formula="sum_k w_k (weights of the projection of g_k onto the dual cone of all)",
    source="UPGrad: Quinton and Rey, 2024, 2406.16232, eq. 5",
    preference="optional",
    means="importance",
    conflict_free=True,
)
def upgrad(gramian: Tensor, *, preference: Tensor | None = None) -> Tensor:
    """Every gradient made harmless to the others, then averaged with weights w, or 1/m each."""
    m = gramian.shape[-1]
    eye = torch.eye(m, dtype=gramian.dtype, device=gramian.device).expand_as(gramian)
    v = solvers.dual_cone(gramian, eye)
    return v.mean(-2) if preference is None else (preference.unsqueeze(-1) * v).sum(-2)


@AGGREGATORS.register(
    "dualproj",
    formula="weights of the projection of sum_k w_k g_k onto the dual cone",
    source="gradient episodic memory: Lopez-Paz and Ranzato, NeurIPS 2017; DualProj of TorchJD",
    preference="optional",
    means="importance",
    conflict_free=True,
)
def dual_projection(gramian: Tensor, *, preference: Tensor | None = None) -> Tensor:
    """The weighted sum of the gradients (1/m each without w), moved just so far that it is in conflict with none."""
    m = gramian.shape[-1]
    w = gramian.new_full(gramian.shape[:-1], 1 / m) if preference is None else preference.expand(gramian.shape[:-1])
    return solvers.dual_cone(gramian, w.unsqueeze(-2)).squeeze(-2)


@AGGREGATORS.register(
    "pcgrad",
    formula="sum_i (g_i minus its component on each original g_j, in random order, where their product is negative)",
    source="PCGrad: Yu et al., NeurIPS 2020, 2001.06782, algorithm 1",
    preference="scales",
    stochastic=True,
)
def pcgrad(gramian: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Gradient surgery, one after another; not free of conflict for m > 2. The result is a sum, not a mean.

    Args:
        gramian: `[..., objective, objective]`.
        generator: of the orders, one for each g_i; None: torch's own. With m = 2 there is one order only.
    """
    m = gramian.shape[-1]
    device = gramian.device if generator is None else generator.device
    shape = gramian.shape
    order = torch.rand(shape, generator=generator, device=device).argsort(-1).to(gramian.device)
    c = torch.eye(m, dtype=gramian.dtype, device=gramian.device).expand(shape).clone()  # row i: how g_i is made up
    norms = gramian.diagonal(dim1=-2, dim2=-1)
    rows = torch.arange(m, device=gramian.device).unsqueeze(-1)
    for t in range(m):
        j = order[..., t : t + 1]  # [..., i, 1]
        product = (c @ gramian).gather(-1, j)
        wanted = (product < 0) & (j != rows)
        own = norms.unsqueeze(-2).expand(shape).gather(-1, j)
        c = c.scatter_add(-1, j, torch.where(wanted, -product / own.where(own > 0, 1.0), 0.0))
    return c.sum(-2)


@AGGREGATORS.register(
    "cagrad",
    formula="(1/m + c |g_0|/|g_w| w) / (1 + c^2), w = argmin g_w . g_0 + c |g_0| |g_w| over the simplex, g_0 the mean",
    source="CAGrad: Liu et al., NeurIPS 2021, 2110.14048, algorithm 1; divisor of the official code",
    preference="scales",
)
def cagrad(gramian: Tensor, *, c: float = 0.4) -> Tensor:
    """The step that helps the worst-off objective most, no further than c |g_0| from the mean gradient.

    Solved exactly. Where the best g_w is 0 (a Pareto stationary point) d = g_0 / (1 + c^2), as in TorchJD's limit.

    Args:
        gramian: `[..., objective, objective]`.
        c: radius, at least 0 (0: the mean); below 1 it converges to a minimum of the mean loss.
    """
    at_least("cagrad", 0, c=c)
    m = gramian.shape[-1]
    mean = gramian.mean(-1)  # g_k . g_0
    length = mean.mean(-1, keepdim=True).clamp(min=0).sqrt()
    w = solvers.cone_on_simplex(gramian, mean, c * length.squeeze(-1))
    other = (w * (gramian @ w.unsqueeze(-1)).squeeze(-1)).sum(-1, keepdim=True).clamp(min=0).sqrt()
    # sqrt of rounding: below 1e-7 of the gradients' size |g_w| is 0.
    size = gramian.diagonal(dim1=-2, dim2=-1).mean(-1, keepdim=True).clamp(min=0).sqrt()
    push = torch.where(other > 1e-7 * size, c * length / other.where(other > 0, 1.0), 0.0)
    return (1 / m + push * w) / (1 + c * c)


@AGGREGATORS.register(
    "nash-mtl",
    formula="a > 0 with (M / |M|) a = 1 / a",
    source="Nash-MTL: Navon et al., ICML 2022, 2202.01017, claim 3.1; solved by our own Newton iteration",
    preference="scales",
    conflict_free=True,
    scale_free=True,
)
def nash_mtl(gramian: Tensor) -> Tensor:
    """The Nash bargaining solution: every objective gains the same share, a_k g_k . d = |M| (Frobenius norm).

    |d| = sqrt(m |M|), whatever the conflict: the authors clip the step to norm 1. No solution exists at a Pareto
    stationary point; near it a grows up to a ridge's bound and d is noise of that length. A gradient of 0 gets 0.
    """
    size = torch.linalg.matrix_norm(gramian).unsqueeze(-1)
    a: Tensor = solvers.nash(gramian) * size.sqrt()
    return a


@AGGREGATORS.register(
    "imtl-g",
    formula="a ~ M^{-1} (|g_1|, ..., |g_m|), sum 1",
    source="IMTL-G: Liu et al., ICLR 2021, eq. 6, in the closed form of TorchJD",
    preference="scales",
)
def imtl_g(gramian: Tensor) -> Tensor:
    """Equal projections of d on all unit gradients. A coefficient may be negative.

    Trap of the published normalisation: where the a sum to a negative number, dividing by it turns d round, and the
    equal projections are all negative: a step uphill for everyone. Where unit gradients cancel and no common projection
    but 0 exists, unit gradients are averaged; a gradient of 0 gets coefficient 0.
    """
    unit, norms = solvers.unit_scaled(gramian)
    there = unit.diagonal(dim1=-2, dim2=-1) > 0
    x = (torch.linalg.pinv(unit, rtol=1e-10, hermitian=True) @ there.to(unit.dtype).unsqueeze(-1)).squeeze(-1)
    solved = ((unit @ x.unsqueeze(-1)).squeeze(-1) - 1).abs().masked_fill(~there, 0.0).amax(-1, keepdim=True) < 1e-6
    a = torch.where(solved, x, there.to(unit.dtype)) / norms
    total = a.sum(-1, keepdim=True)
    return a / total.where(total.abs() > 1e-12 * a.abs().amax(-1, keepdim=True), 1.0)


@AGGREGATORS.register(
    "aligned-mtl",
    formula="B w, B = sqrt(lambda_min) V Lambda^{-1/2} V^T, M = V Lambda V^T",
    source="Aligned-MTL: Senushkin et al., CVPR 2023, algorithm 1 (smallest eigenvalue that is not 0)",
    preference="optional",
    means="importance",
)
def aligned_mtl(gramian: Tensor, *, preference: Tensor | None = None) -> Tensor:
    """Gradients turned and shortened until they are orthogonal and equally long, then the weighted sum of those."""
    m = gramian.shape[-1]
    w = gramian.new_full(gramian.shape[:-1], 1 / m) if preference is None else preference.expand(gramian.shape[:-1])
    values, vectors = torch.linalg.eigh(gramian)
    # float32 gradients leave eigenvalues of this size where there are none.
    kept = values > 1e-10 * values.amax(-1, keepdim=True).clamp(min=0)
    least = values.masked_fill(~kept, torch.inf).amin(-1, keepdim=True)
    factor = torch.where(kept, (least / values.where(kept, 1.0)).sqrt(), 0.0)
    a = (vectors @ (factor.unsqueeze(-1) * (vectors.mT @ w.unsqueeze(-1)))).squeeze(-1)
    return torch.where(kept.any(-1, keepdim=True), a, w)


@AGGREGATORS.register(
    "graddrop",
    formula="d_i = sum of the positive g_ki with probability P_i, else of the negative; P_i = (1 + sum_k g_ki / "
    "sum_k |g_ki|) / 2",
    source="GradDrop: Chen et al., NeurIPS 2020, algorithm 1",
    preference="scales",
    direction=True,
    stochastic=True,
)
def graddrop(gradients: Tensor, *, generator: torch.Generator | None = None, leak: float = 0.0) -> Tensor:
    """Each coordinate follows one sign, drawn by how much of it there is.

    Args:
        gradients: `[objective, n]`.
        generator: None: torch's own.
        leak: share of every gradient that passes regardless, in [0, 1].
    """
    at_least("graddrop", 0, leak=leak)
    if leak > 1:
        raise InputError("graddrop: leak", expected="at most 1", came=leak)
    total, size = gradients.sum(0), gradients.abs().sum(0)
    up = 0.5 * (1 + total / size.where(size > 0, 1.0))
    device = gradients.device if generator is None else generator.device
    draw = torch.rand(total.shape, generator=generator, device=device, dtype=gradients.dtype).to(gradients.device)
    kept = torch.where(draw < up, gradients.clamp(min=0), gradients.clamp(max=0))
    return leak * total + (1 - leak) * kept.sum(0)


@AGGREGATORS.register(
    "sdmgrad",
    formula="a <- project(a - lr (M a + lambda M u)), 20 times, u = 1/m; coefficients (a + lambda u) / (1 + lambda)",
    source="SDMGrad: Xiao et al., NeurIPS 2023, 2305.18409, algorithm 1, with the scale of the official code",
    preference="optional",
    means="importance",
    simplex=True,
    stateful=True,
)
class SDMGrad(Aggregator):
    """MGDA drawn towards the mean gradient and solved a little at a time: a is kept between steps.

    M is divided by the squared mean norm of the gradients, for which the learning rate is made. The paper takes M from
    two independent batches, J_1 J_2^T, at three times the cost; such an M may be handed in, it need not be symmetric.
    Momentum starts anew at each call, as in TorchJD. Given a preference, u = w.

    Args:
        objectives: m.
        pull: lambda, at least 0; .3 in the experiments of the paper, .6 its default.
        lr: of a; 5 or 10 in the official scripts.
        momentum: in [0, 1).
        steps: of gradient descent a call.
    """

    weights: Tensor

    def __init__(self, objectives: int, pull: float = 0.3, lr: float = 10.0, momentum: float = 0.5, steps: int = 20):
        at_least("sdmgrad", 0, pull=pull, momentum=momentum)
        at_least("sdmgrad", 0, strictly=True, lr=lr)
        at_least("sdmgrad", 1, steps=steps)
        params = {"pull": pull, "lr": lr, "momentum": momentum, "steps": steps}
        super().__init__(AGGREGATORS["sdmgrad"], objectives, params)
        self.register_buffer("weights", torch.full((objectives,), 1 / objectives, dtype=torch.float64))

    def solve(  # type: ignore[override]  # it names what it takes, see Aggregator
        self, gramian: Tensor, *, preference: Tensor | None = None, among: Tensor | None = None
    ) -> Tensor:
        if gramian.ndim != 2:
            raise InputError("sdmgrad remembers one step, not a batch", came=tuple(gramian.shape))
        p = self.params
        kept = self.weights.to(gramian.device)
        kept = kept if among is None else kept[among]
        mass = kept.sum()  # of those left out nothing is learned
        a = torch.where(mass > 0, kept / mass.where(mass > 0, 1.0), 1 / len(kept))
        u = torch.full_like(a, 1 / len(kept)) if preference is None else preference
        M = gramian / (gramian.diagonal().clamp(min=0).sqrt().mean().square() + 1e-300)
        velocity = torch.zeros_like(u)
        for _ in range(p["steps"]):
            velocity = p["momentum"] * velocity + M @ (a + p["pull"] * u)
            a = solvers.onto_simplex(a - p["lr"] * velocity)
        new = torch.where(a.isfinite().all(), a * mass, kept)
        self.weights.copy_(new if among is None else self.weights.to(new).index_copy(0, among, new))
        step: Tensor = (a + p["pull"] * u) / (1 + p["pull"])
        return step
