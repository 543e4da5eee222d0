"""One net for every preference, without a reference ranker.

    cosmos   w beside the features; sum_k w_k l_k - lambda cos(l, w)            w ~ Dir(alpha), one a step
    phn      a hypernetwork on the last layer; sum_k w_k l_k, or a step of EPO     w ~ Dir(.2), one a step
    yoto     FiLM; sum_k w_k l_k                                                w_k log-uniform, one a list
    psl      a hypernetwork on the last layer; smooth Chebyshev of l~             w ~ Dir(alpha), one a step

Their papers condition convolutional or fully connected nets on tables and images; where w enters is a setting here
(`conditioning`), and the defaults are those of the papers. l~ and its pay-off table: scalarised.py.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ltr.errors import InputError
from ltr.objectives import aggregator, scalarisation
from ltr.rankers.conditional.config import ConditioningConfig
from ltr.rankers.conditional.ranker import ConditionedRanker
from ltr.rankers.config import CheckpointsKept, check
from ltr.rankers.training.validation import weighted_mean

from .base import METHODS, FitContext
from .criteria import Aggregated, Criterion, Dirichlet, Importance, LogUniform, Scalarised
from .scalarised import EachConfig, OneEach, balance

__all__ = ["COSMOSConfig", "OneShot", "PHNConfig", "PSLConfig", "YOTOConfig"]


@dataclass(frozen=True)
class OneShotConfig(EachConfig):
    """One training.

    Attributes:
        conditioning: where w enters; the net starts from scratch.
        sampled: preferences drawn at once.
        checkpoints: "per-preference" keeps the best epoch of each preference of `fit` on validation, and scores others
            by that of the nearest; default: one for all.
    """

    conditioning: ConditioningConfig = ConditioningConfig("film", "scratch")
    sampled: int = 1
    checkpoints: CheckpointsKept = None

    def __post_init__(self):
        kind = self.conditioning
        check(
            self,
            conditioning=(kind.kind != "none" and kind.start == "scratch", 'a kind that takes w, start = "scratch"'),
            sampled=(self.sampled >= 1, "1 or more"),
        )


@dataclass(frozen=True)
class COSMOSConfig(OneShotConfig):
    """COSMOS; lambda is `rule = {penalty = .01}`, the paper's for tables.

    Attributes:
        alpha: of the Dirichlet; the paper has .5 for tables, 1.2 for images.
    """

    conditioning: ConditioningConfig = ConditioningConfig("concat", "scratch")
    alpha: float = 0.5


@dataclass(frozen=True)
class PHNConfig(OneShotConfig):
    """PHN on the last layer. The paper generates all weights of its nets and trains for 150 epochs; here the
    hypernetwork makes the head alone, since all weights of an MLP would take a map of a hundred times their number.

    Attributes:
        alpha: of the Dirichlet; .2.
        inner: what a step descends: "linear" (PHN-LS) or "epo" (PHN-EPO, on normalised losses).
        space: where EPO compares gradients.
    """

    conditioning: ConditioningConfig = ConditioningConfig("head", "scratch", hidden=(100, 100, 100))
    alpha: float = 0.2
    inner: Literal["linear", "epo"] = "linear"
    space: Literal["scores", "parameters"] = "scores"

    def __post_init__(self):
        super().__post_init__()
        check(self, sampled=(self.sampled == 1 or self.inner == "linear", "1 with EPO, which steps for one"))


@dataclass(frozen=True)
class YOTOConfig(OneShotConfig):
    """Loss-conditional training.

    Attributes:
        low: weights are drawn log-uniformly between this and 1, then divided by their sum. [recalled]
    """

    low: float = 0.01

    def __post_init__(self):
        super().__post_init__()
        check(self, low=(0 < self.low < 1, "between 0 and 1"))


@dataclass(frozen=True)
class PSLConfig(OneShotConfig):
    """Pareto set learning; mu of the smooth Chebyshev is `rule = {mu = .1}`.

    Attributes:
        alpha: of the Dirichlet; 1 is uniform on the simplex.
    """

    conditioning: ConditioningConfig = ConditioningConfig("head", "scratch")
    alpha: float = 1.0


class OneShot(OneEach):
    """A conditioned net; a child writes `_criterion(m)`, of m objectives."""

    config: Any  # the child's own

    @abstractmethod
    def _criterion(self, m: int) -> Criterion:
        """What a step descends."""

    def make(self, context: FitContext, w: np.ndarray) -> Criterion:
        return self._criterion(len(w))

    def _fit(self, context: FitContext) -> int:
        c, extra = self.config, self._payoff(context)
        ranker = ConditionedRanker(c.ranker, c.ranker_params, c.conditioning, c.training, seed=context.seed)
        context.fit_conditioned(
            ranker,
            criterion=self._criterion(len(context.objectives)),
            checkpoints=c.checkpoints,
            quality=weighted_mean if self.judge is None else self.judge,
        )
        self.models = [ranker]
        return 1 + extra

    def _step_source(self, m: int):
        return Dirichlet(self.config.alpha, m, self.config.sampled, by_list=False)


class COSMOS(OneShot):
    """The cosine asks for losses along w itself."""

    def _criterion(self, m: int) -> Criterion:
        return Scalarised(self._loss(), self._step_source(m), scalarisation("cosmos", m, **self.config.rule))


class PHN(OneShot):
    """PHN-LS asks for importance, PHN-EPO for balance."""

    @property
    def normalised(self) -> bool:  # type: ignore[override]  # set by a parameter
        return self.config.inner == "epo"

    @property
    def judge(self):
        return balance if self.config.inner == "epo" else None

    def _criterion(self, m: int) -> Criterion:
        c = self.config
        if c.inner == "linear":
            if c.rule:
                raise InputError("phn: rule belongs to inner = 'epo'", came=c.rule)
            return Importance(self._loss(), self._step_source(m))
        function = aggregator("epo", m, **c.rule)
        return Aggregated(self._loss(), self._step_source(m), function, c.space, **self._scale())


class YOTO(OneShot):
    """Every list has its own weights."""

    def _criterion(self, m: int) -> Criterion:
        return Importance(self._loss(), LogUniform(self.config.low, m, self.config.sampled))


class PSL(OneShot):
    """Asks for balance."""

    normalised = True
    judge = staticmethod(balance)

    def _criterion(self, m: int) -> Criterion:
        function = scalarisation("smooth-chebyshev", m, **self.config.rule)
        return Scalarised(self._loss(), self._step_source(m), function, **self._scale())


for _class, _config, _formula, _source, _means in (
    (
        COSMOS,
        COSMOSConfig,
        "E_w sum_k w_k l_k - lambda cos(l, w)",
        "Ruchte and Grabocka, ICDM 2021, 2103.13392",
        "direction",
    ),
    (PHN, PHNConfig, "E_w sum_k w_k l_k, or EPO at w; head h(w)", "Navon et al., ICLR 2021, 2010.04104", "importance"),
    (YOTO, YOTOConfig, "E_w sum_k w_k l_k, FiLM(w)", "Dosovitskiy and Djolonga, ICLR 2020", "importance"),
    (PSL, PSLConfig, "E_w mu log sum_k exp(w_k l~_k / mu)", "Pareto set learning, 2203.15386 [recalled]", "balance"),
):
    METHODS.register(
        _class.__name__.lower(),
        formula=_formula,
        source=_source,
        config=_config,
        preference="continuous",
        means=_means,
        models="one",
        payoff=_class is PSL,
    )(_class)
