"""Scalarisations: the losses of all objectives and a preference in, one number to descend out.

A registered function is `f(losses, preference, **params) -> value`, or `f(losses, **params)` where a preference has no
place. Shapes: losses `[..., objective]`, preference `[objective]` or `[..., objective]`, value `[...]`. Its gradient
with respect to the losses is the vector of coefficients a_k of the step sum_k a_k g_k; `coefficients` returns it for
models without autograd (trees take the same mix of lambdas). Those that remember stand in `loss_weighting.py`.

    cheb = scalarisation("chebyshev", 2)
    cheb(losses, preference).backward()

Claims (proven in tests/test_scalarisations.py):

    preference   "steers": needed; "scales": optional, and then l_k <- w_k l_k comes first; "none": refused
    means        what w asks for: "importance"; "balance": w_k l_k equal, losses along 1/w; "direction": along w
    positive     needs losses >= 0 (its logarithms add 1e-8: an objective whose whole batch is blank has loss 0)
    monotone     coefficients are never negative
    homogeneous  f(c l) = c f(l) for c > 0
    scale_free   rescaling one loss leaves the ratios of the a_k l_k
    convex       in the losses
    stochastic   draws from the generator
    looks_back   `update` needs the losses of the same batch after the step
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ltr.catalogue import Catalogue, Entry
from ltr.errors import InputError

from .parameters import at_least, vector

__all__ = ["EPSILON", "SCALARISATIONS", "Scalarisation", "coefficients", "positive", "scalarisation"]

SCALARISATIONS = Catalogue(
    "scalarisation",
    ["ltr.objectives.scalarisations", "ltr.objectives.loss_weighting"],
    shared=("losses", "preference", "generator", "objectives"),
)
EPSILON = 1e-8  # inside logarithms; FAMO's official value


def positive(losses: Tensor, owner: str) -> Tensor:
    """The losses, or an error if one is negative (looked at on the CPU only: on a GPU the look would wait for it)."""
    if losses.device.type == "cpu" and (losses < 0).any():
        raise InputError(
            f"{owner} needs losses that are not negative",
            came=losses.min().item(),
            do="Feed 1 - NDCG instead of -NDCG.",
        )
    return losses


def _shifted(losses: Tensor, ideal: Sequence[float] | Tensor | None) -> Tensor:
    return losses if ideal is None else losses - vector(ideal, losses, "ideal value")


@SCALARISATIONS.register(
    "linear",
    formula="sum_k w_k l_k",
    source="weighted sum; LS of our notes, 4.1",
    preference="steers",
    means="importance",
    monotone=True,
    homogeneous=True,
    convex=True,
)
def linear(losses: Tensor, preference: Tensor) -> Tensor:
    """The weighted sum. Coefficients w; reaches the convex part of a front only."""
    return (preference * losses).sum(-1)


@SCALARISATIONS.register(
    "log-linear",
    formula="sum_k w_k log l_k",
    source="scale-invariant linear scalarisation (DeepMTL2R's scaleinvls)",
    preference="steers",
    means="importance",
    positive=True,
    monotone=True,
    scale_free=True,
)
def log_linear(losses: Tensor, preference: Tensor) -> Tensor:
    """The weighted sum of logarithms: coefficients w_k / l_k, which no rescaling of a loss can change in effect."""
    return (preference * torch.log(positive(losses, "log-linear") + EPSILON)).sum(-1)


@SCALARISATIONS.register(
    "chebyshev",
    formula="max_k w_k (l_k - zeta_k)",
    source="weighted Chebyshev; methods 4.1",
    preference="steers",
    means="balance",
    monotone=True,
    homogeneous=True,
    convex=True,
)
def chebyshev(losses: Tensor, preference: Tensor, *, ideal: Sequence[float] | Tensor | None = None) -> Tensor:
    """The worst weighted loss. The coefficient of the active objective is its w_k, of the others 0.

    MO-LightGBM and DeepMTL2R take coefficient 1 there, which is another step. Objectives that tie share (any convex
    combination is a subgradient).

    Args:
        losses, preference: `[..., objective]`.
        ideal: zeta, `[objective]`: a point no loss falls below; None: 0.
    """
    return (preference * _shifted(losses, ideal)).amax(-1)


@SCALARISATIONS.register(
    "smooth-chebyshev",
    formula="mu log sum_k exp(w_k (l_k - zeta_k) / mu)",
    source="STCH: Lin et al., ICML 2024, 2402.19078, eq. 5",
    preference="steers",
    means="balance",
    monotone=True,
    convex=True,
)
def smooth_chebyshev(
    losses: Tensor, preference: Tensor, *, ideal: Sequence[float] | Tensor | None = None, mu: float = 0.1
) -> Tensor:
    """Chebyshev with a soft maximum, at most mu log m above it. Coefficients softmax(w (l - zeta) / mu)_k w_k.

    DeepMTL2R's "soft_wc" leaves out the last w_k and is something else.

    Args:
        losses, preference: `[..., objective]`.
        ideal: zeta, `[objective]`; None: 0.
        mu: smoothing, above 0; the paper tried .01, .1, .5 and 1.
    """
    at_least("smooth-chebyshev", 0, strictly=True, mu=mu)
    return mu * torch.logsumexp(preference * _shifted(losses, ideal) / mu, -1)


@SCALARISATIONS.register(
    "cosmos",
    formula="sum_k w_k l_k - lambda cos(l, w)",
    source="COSMOS: Ruchte and Grabocka, ICDM 2021, 2103.13392, eq. 6, and ruchtem/cosmos",
    preference="steers",
    means="direction",
    monotone=False,
)
def cosmos(losses: Tensor, preference: Tensor, *, penalty: float = 0.01) -> Tensor:
    """The weighted sum, less a reward for losses that lie along w itself. A coefficient may be negative.

    Args:
        losses, preference: `[..., objective]`; the method also feeds w to the model and draws it anew each step.
        penalty: lambda, at least 0; the paper has .01 on tables and 2 to 8 on images.
    """
    at_least("cosmos", 0, penalty=penalty)
    cosine = torch.nn.functional.cosine_similarity(losses, preference.to(losses).expand_as(losses), dim=-1)
    return (preference * losses).sum(-1) - penalty * cosine


@SCALARISATIONS.register(
    "pbi",
    formula="d_1 + theta d_2, d_1 = (l - zeta) . w/|w|, d_2 = |(l - zeta) - d_1 w/|w||",
    source="penalty-based boundary intersection: Zhang and Li, MOEA/D, 2007 (a minus sign for minimisation) [recalled]",
    preference="steers",
    means="direction",
    monotone=False,
    homogeneous=True,
    convex=True,
)
def pbi(
    losses: Tensor, preference: Tensor, *, ideal: Sequence[float] | Tensor | None = None, theta: float = 5.0
) -> Tensor:
    """How far along w the losses are, plus theta times how far beside it.

    Args:
        losses, preference: `[..., objective]`; w not all 0.
        ideal: zeta, `[objective]`; None: 0.
        theta: penalty, at least 0; the paper's 5. A coefficient may be negative when it is above 0.
    """
    at_least("pbi", 0, theta=theta)
    shifted = _shifted(losses, ideal)
    along = preference / torch.linalg.vector_norm(preference, dim=-1, keepdim=True)
    d1 = (shifted * along).sum(-1)
    beside = shifted - d1.unsqueeze(-1) * along
    # The norm has no gradient at 0, where the losses lie on w: vector_norm gives the subgradient 0.
    penalised: Tensor = d1 + theta * torch.linalg.vector_norm(beside, dim=-1)
    return penalised


@SCALARISATIONS.register(
    "rlw",
    formula="sum_k softmax(x)_k l_k, x ~ N(0, I) anew each call",
    source="random loss weighting: Lin et al., TMLR 2022, 2111.10603",
    preference="scales",
    monotone=True,
    homogeneous=True,
    stochastic=True,
)
def random_weights(losses: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """The weighted sum under random weights; in expectation the mean."""
    device = losses.device if generator is None else generator.device
    x = torch.randn(losses.shape, generator=generator, device=device, dtype=losses.dtype).to(losses.device)
    return (x.softmax(-1) * losses).sum(-1)


class Scalarisation(nn.Module):
    """A scalarisation with its parameters bound and, for the adaptive ones, its state.

    State lives in buffers and learned numbers in parameters, so that a checkpoint of the module that holds this one
    keeps both, and an optimiser that is given that module's parameters learns the latter.
    """

    def __init__(self, entry: Entry, objectives: int, params: dict[str, Any] | None = None):
        super().__init__()
        self.entry, self.objectives, self.params = entry, objectives, dict(params or {})
        self.draws = "generator" in inspect.signature(entry.function).parameters

    def forward(
        self, losses: Tensor, preference: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """The number to descend, `[...]`. Changes no state; `update` does.

        Args:
            losses: `[..., objective]`.
            preference: `[objective]` or `[..., objective]`; see the claim `preference`.
            generator: of those that draw.
        """
        if losses.shape[-1:] != (self.objectives,):
            expected = f"[..., {self.objectives}]"
            raise InputError(f"{self.entry.name}: one loss an objective", expected=expected, came=tuple(losses.shape))
        rule = self.entry.claims["preference"]
        if rule == "steers":
            if preference is None:
                raise InputError(f"{self.entry.name} needs a preference")
            preference = preference.to(losses)
        elif preference is not None:
            if rule == "none":
                raise InputError(f"{self.entry.name} cannot be steered by a preference", do="Leave it out.")
            losses = losses * preference.to(losses)
        return self.value(losses, preference, generator)

    def value(self, losses: Tensor, preference: Tensor | None, generator: torch.Generator | None) -> Tensor:
        given = (losses, preference) if self.entry.claims["preference"] == "steers" else (losses,)
        value: Tensor = self.entry.function(*given, **({"generator": generator} if self.draws else {}), **self.params)
        return value

    def update(self, losses: Tensor, after: Tensor | None = None) -> None:
        """Tells the adaptive ones what happened; to be called after every optimiser step.

        Args:
            losses: `[objective]`, of the step, as `forward` got them, before any preference.
            after: the losses of the same batch after the step; FAMO alone needs them (claim `looks_back`).
        """

    def extra_repr(self) -> str:
        return ", ".join([self.entry.name, *(f"{k}={v!r}" for k, v in self.params.items())])


def scalarisation(name: str, objectives: int, **params: Any) -> Scalarisation:
    """The scalarisation of that name for so many objectives, with these parameters.

    Raises:
        InputError: unknown name or parameter (the near miss is named), or a value it refuses.

    >>> f = scalarisation("chebyshev", 2, ideal=(1.0, 0.0))
    >>> f(torch.tensor([3.0, 1.0]), torch.tensor([0.25, 0.75]))
    tensor(0.7500)
    """
    entry = SCALARISATIONS[name]
    if objectives < 1:
        raise InputError("a scalarisation needs objectives", expected="at least 1", came=objectives)
    params = entry.bind(params)
    if isinstance(entry.function, type):
        own: Scalarisation = entry.function(objectives, **params)
        return own
    made = Scalarisation(entry, objectives, params)
    steers = entry.claims["preference"] == "steers"
    # One vector goes through, so that a wrong value fails here and not at the first step.
    one = torch.ones(objectives)
    try:
        made(one, one / objectives if steers else None, generator=torch.Generator())
    except (TypeError, RuntimeError, ValueError) as problem:
        if isinstance(problem, InputError):
            raise
        raise InputError(f"scalarisation {name!r} does not take these parameters: {problem}", came=params) from problem
    return made


def coefficients(function: Callable[..., Tensor], losses: Tensor, *given: Any, **options: Any) -> Tensor:
    """a_k = d f / d l_k, `[..., objective]`: the weights of the gradients in the step that descends f.

    Args:
        function: a scalarisation, or one of the registered functions.
        losses: `[..., objective]`; detached.
        given, options: what else the function takes (a preference, a generator).

    >>> coefficients(chebyshev, torch.tensor([3.0, 1.0]), torch.tensor([0.3, 0.7]))
    tensor([0.3000, 0.0000])
    """
    with torch.enable_grad():
        losses = losses.detach().requires_grad_()
        return torch.autograd.grad(function(losses, *given, **options).sum(), losses)[0]
