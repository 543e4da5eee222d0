"""Scalarisations that remember: each a module whose state is its buffers, with `forward` pure and `update` explicit.

    uw = scalarisation("uw", 3)
    loss = uw(losses); loss.backward(); optimiser.step()      # the optimiser also holds uw.parameters()
    uw.update(losses)                                         # FAMO: uw.update(losses, after=losses of the same batch)

None of them can leave state behind between two runs of a process: a new module starts anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ltr.errors import InputError

from .parameters import at_least
from .scalarisations import EPSILON, SCALARISATIONS, Scalarisation, positive

__all__ = ["DWA", "FAMO", "EpsilonConstraint", "UncertaintyWeighting"]


@SCALARISATIONS.register(
    "uw",
    formula="sum_k (e^{-v_k} l_k + v_k) / 2, v learned with the network",
    source="uncertainty weighting: Kendall et al., CVPR 2018, 1705.07115; log-variance form as in LibMTL",
    preference="scales",
    positive=True,
    monotone=True,
)
class UncertaintyWeighting(Scalarisation):
    """UW: v is a parameter (`log_variance`) and belongs into the optimiser; DeepMTL2R forgets it there.

    At its best v_k = log l_k, where the value is sum_k (1 + log l_k) / 2: UW is log-linear with equal weights, followed
    with a delay. A preference that scales the losses is therefore forgotten as v adapts.

    Args:
        objectives: m.
        start: v at first.
    """

    def __init__(self, objectives: int, start: float = 0.0):
        super().__init__(SCALARISATIONS["uw"], objectives, {"start": start})
        self.log_variance = nn.Parameter(torch.full((objectives,), float(start)))

    def value(
        self, losses: Tensor, preference: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        v = self.log_variance.to(losses.dtype)
        return 0.5 * (torch.exp(-v) * positive(losses, "uw") + v).sum(-1)


@SCALARISATIONS.register(
    "dwa",
    formula="m sum_k softmax(r / T)_k l_k, r_k = L_k(t-1) / L_k(t-2), L(t) the mean loss of window t",
    source="dynamic weight average: Liu et al., CVPR 2019, eq. 7",
    preference="scales",
    positive=True,
    monotone=True,
    homogeneous=True,
)
class DWA(Scalarisation):
    """DWA: a loss that fell less than the others gets more weight. All weights are 1 in the first two windows.

    Args:
        objectives: m.
        temperature: T, above 0; the paper's 2.
        window: steps averaged, at least 1; the steps of an epoch give the paper's rule.
    """

    total: Tensor
    steps: Tensor
    means: Tensor
    windows: Tensor

    def __init__(self, objectives: int, temperature: float = 2.0, window: int = 25):
        at_least("dwa", 0, strictly=True, temperature=temperature)
        at_least("dwa", 1, window=window)
        super().__init__(SCALARISATIONS["dwa"], objectives, {"temperature": temperature, "window": window})
        self.register_buffer("total", torch.zeros(objectives))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.register_buffer("means", torch.ones(2, objectives))  # of windows t-2 and t-1; equal until both are there
        self.register_buffer("windows", torch.zeros((), dtype=torch.long))

    def weights(self) -> Tensor:
        """`[objective]`, summing to m."""
        ratio = (self.means[1] / self.means[0]).where(self.windows >= 2, 1.0)
        return self.objectives * torch.softmax(ratio / self.params["temperature"], -1)

    def value(
        self, losses: Tensor, preference: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        return (self.weights().to(losses.dtype) * positive(losses, "dwa")).sum(-1)

    @torch.no_grad()
    def update(self, losses: Tensor, after: Tensor | None = None) -> None:
        self.total += losses.detach()
        self.steps += 1
        full = self.steps >= self.params["window"]
        mean = self.total / self.steps + EPSILON
        self.means.copy_(torch.where(full, torch.stack([self.means[1], mean]), self.means))
        self.windows += full
        self.total.masked_fill_(full, 0.0)
        self.steps.masked_fill_(full, 0)


@SCALARISATIONS.register(
    "famo",
    formula="c sum_k q_k log(l_k - b_k), q = softmax(v), c = 1 / sum_k q_k / (l_k - b_k) kept constant",
    source="FAMO: Liu et al., NeurIPS 2023, 2306.03792, algorithm 1",
    preference="none",
    positive=True,
    monotone=True,
    scale_free=True,
    looks_back=True,
)
class FAMO(Scalarisation):
    """FAMO: all losses shrink by the same factor a step; v learns from how much each did.

    After the step v moves by Adam against J^T (log l_before - log l_after), J the Jacobian of q: what fell most loses
    weight. A preference is refused: log(w_k l_k) = log w_k + log l_k, so that weights cancel.

    Args:
        objectives: m.
        lr: of v; the paper's .025.
        decay: weight decay of v; 1e-3 in the paper and in the authors' code for mtrl, .01 in their famo.py, 1e-5 in
            their weight_methods.py (which also clips the step of the net to norm 1).
        lower: b, `[objective]`; None: 0.
    """

    lower: Tensor
    logits: Tensor
    first: Tensor
    second: Tensor
    steps: Tensor

    def __init__(self, objectives: int, lr: float = 0.025, decay: float = 1e-3, lower: Sequence[float] | None = None):
        at_least("famo", 0, lr=lr, decay=decay)
        super().__init__(SCALARISATIONS["famo"], objectives, {"lr": lr, "decay": decay, "lower": lower})
        bound = torch.zeros(objectives) if lower is None else torch.as_tensor(lower, dtype=torch.float32)
        if bound.shape != (objectives,):
            raise InputError("famo: one lower bound an objective", expected=f"[{objectives}]", came=tuple(bound.shape))
        self.register_buffer("lower", bound, persistent=False)  # a setting, not a state
        for name in ("logits", "first", "second"):  # v, and the two moments of Adam
            self.register_buffer(name, torch.zeros(objectives))
        self.register_buffer("steps", torch.zeros(()))

    def _above(self, losses: Tensor) -> Tensor:
        return positive(losses - self.lower.to(losses.dtype), "famo") + EPSILON

    def value(
        self, losses: Tensor, preference: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        above = self._above(losses)
        q = torch.softmax(self.logits, -1).to(losses.dtype)
        c = 1 / (q / above.detach()).sum(-1, keepdim=True)
        return (c * q * torch.log(above)).sum(-1)

    @torch.no_grad()
    def update(self, losses: Tensor, after: Tensor | None = None) -> None:
        if after is None:
            raise InputError("famo learns from the losses of the same batch after the step", do="Pass after=...")
        fell = (torch.log(self._above(losses.detach())) - torch.log(self._above(after.detach()))).to(self.logits.dtype)
        q = torch.softmax(self.logits, -1)
        gradient = q * (fell - (q * fell).sum()) + self.params["decay"] * self.logits
        # Adam (Kingma and Ba, 2015) with its usual constants; the weight decay is L2, as torch.optim.Adam has it.
        self.steps += 1
        self.first.lerp_(gradient, 0.1)
        self.second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        first, second = self.first / (1 - 0.9**self.steps), self.second / (1 - 0.999**self.steps)
        self.logits -= self.params["lr"] * first / (second.sqrt() + 1e-8)


@SCALARISATIONS.register(
    "epsilon-constraint",
    formula="(l_main + sum_k a_k l_k) / (1 + sum_k a_k); a_k <- 0 if l_k < eps_k else a_k + mu (l_k / eps_k - 1)",
    source="Momma et al., WWW 2020, in the form of DeepMTL2R's ec",
    preference="none",
    positive=True,
    monotone=True,
)
class EpsilonConstraint(Scalarisation):
    """The main loss under bounds on the others: a multiplier grows while its bound is broken and is dropped when not.

    One model a bound: to walk along a front, move `bounds` between the single-objective losses.

    Args:
        objectives: m.
        bounds: eps, `[m - 1]`, of the other objectives in their order; above 0.
        main: index of the main one.
        mu: how fast multipliers grow; 10.
    """

    bounds: Tensor
    main: Tensor
    multipliers: Tensor

    def __init__(self, objectives: int, bounds: Sequence[float], main: int = 0, mu: float = 10.0):
        given = torch.as_tensor(bounds, dtype=torch.float32)
        if given.shape != (objectives - 1,) or not (given > 0).all():
            expected = f"{objectives - 1} numbers above 0, one for each objective but the main one"
            raise InputError("epsilon-constraint: bounds", expected=expected, came=bounds)
        if not 0 <= main < objectives:
            raise InputError("epsilon-constraint: main", expected=f"0 to {objectives - 1}", came=main)
        at_least("epsilon-constraint", 0, strictly=True, mu=mu)
        params = {"bounds": bounds, "main": main, "mu": mu}
        super().__init__(SCALARISATIONS["epsilon-constraint"], objectives, params)
        # The main objective has an infinite bound: it is never broken.
        everyone = torch.cat([given[:main], torch.tensor([torch.inf]), given[main:]])
        self.register_buffer("bounds", everyone, persistent=False)
        self.register_buffer("main", torch.eye(objectives)[main], persistent=False)
        self.register_buffer("multipliers", torch.zeros(objectives))

    def _raised(self, losses: Tensor) -> Tensor:
        broken = losses.detach() / self.bounds - 1
        return torch.where(broken < 0, 0.0, self.multipliers + self.params["mu"] * broken)

    def value(
        self, losses: Tensor, preference: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        a = (self._raised(positive(losses, "epsilon-constraint")) + self.main).to(losses.dtype)
        return (a / a.sum(-1, keepdim=True) * losses).sum(-1)

    @torch.no_grad()
    def update(self, losses: Tensor, after: Tensor | None = None) -> None:
        self.multipliers.copy_(self._raised(losses))
