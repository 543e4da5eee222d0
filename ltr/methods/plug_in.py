"""The plug-in rule: estimate what every document is worth to every objective; a preference is then a dot product.

    minimise  mean over documents of (s_k(x) - G^k)^2  for every k,   G^k_i = g(y^k_i) / IDCG_k@K of the list
    score     s_w = sum_k w_k s_k

nDCG_k@K of a list is linear in its G^k, so the ranking that maximises the expected sum_k w_k nDCG_k given the features
sorts by sum_k w_k E[G^k | x] (T11 of our notes; one objective: Cossock and Zhang, COLT 2006 [recalled]). Squared error
estimates these m expectations once, whatever the regressor. With everything known s_w are the scores of the oracle
(`oracle_scores`). An objective blank on a list has G^k = 0 there, as it has in the oracle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ltr.losses import loss
from ltr.rankers import RANKERS, FittedRanker, load_ranker, make_ranker
from ltr.rankers.config import TrainingConfig, check
from ltr.rankers.trees.mixed_lambdas import label_gains
from ltr.types import Split

from .base import METHODS, FitContext, Method
from .terms import Term

__all__ = ["PlugIn", "PlugInConfig", "normalised_gains"]


@dataclass(frozen=True)
class PlugInConfig:
    """Settings of one regressor, repeated for every objective.

    Attributes:
        ranker: what estimates: a net, or trees (lightgbm, which take objective = "regression" unless told otherwise).
        ranker_params: its parameters.
        training: settings of each training of a net.
        measures: not asked: every regressor is chosen by the nDCG@k of its objective, with its gain.
        k: K, the cut-off of the ideal DCG and of that measure.
    """

    ranker: str = "mlp"
    ranker_params: dict[str, Any] = field(default_factory=dict)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    measures: tuple[str, ...] = ()
    k: int = 10

    def __post_init__(self):
        check(self, k=(self.k >= 1, "1 or more"))


def normalised_gains(labels: np.ndarray, offsets: np.ndarray, gains: Sequence[str], k: int) -> np.ndarray:
    """G^k, float64 `[documents, objective]`: gains over the ideal DCG@k of their list, 0 where a list has none.

    Args:
        labels: `[documents, objective]`.
        offsets: `[lists + 1]`, where lists begin and end.
        gains: "exp2" or "linear", one an objective.
        k: cut-off.

    >>> normalised_gains(np.array([[1.0], [0.0], [2.0], [0.0]]), np.array([0, 3, 4]), ["linear"], 1).ravel().tolist()
    [0.5, 0.0, 1.0, 0.0]
    """
    worth = label_gains(labels, tuple(gains))
    discount = 1 / np.log2(np.arange(2, k + 2))
    for first, last in zip(offsets[:-1], offsets[1:], strict=True):
        here = worth[first:last]
        best = -np.sort(-here, axis=0)[:k]
        ideal = discount[: len(best)] @ best
        here /= np.where(ideal > 0, ideal, 1.0)
    return worth


@METHODS.register(
    "plug-in",
    formula="s_w = sum_k w_k s_k, s_k = argmin E (s(x) - g(y^k) / IDCG_k)^2",
    source="expected gains: Cossock and Zhang, COLT 2006 [recalled]; for several objectives ours",
    config=PlugInConfig,
    preference="continuous",
    means="importance",
    base=False,
    models="objective",
    corners=0.75,  # squared error spends its epochs on the level of a list too, which ranks nothing
)
class PlugIn(Method):
    """A regressor for each objective, in their order; all of them are run to score."""

    config: PlugInConfig

    def _fit(self, context: FitContext) -> int:
        train, vali = (None if s is None else self._worth(s) for s in (context.train, context.vali))
        assert train is not None
        for name in context.objectives:
            below = None if context.folder is None else context.folder / f"model{len(self.models)}"
            ranker = self._regressor(context.seed)
            ranker.fit(
                train,
                vali,
                objective=name,
                # A list's nDCG does not change when its gains are divided by one number.
                select=f"nDCG(gain=linear,empty=skip)@{self.config.k}",
                folder=below,
                progress=context.progress,
                accelerator=context.accelerator,
            )
            self.models.append(ranker)
        return len(self.models)

    def _regressor(self, seed: int) -> FittedRanker:
        c, claims = self.config, RANKERS[self.config.ranker].claims
        if claims["needs_loss"]:
            return make_ranker(c.ranker, loss=loss("mse"), seed=seed, training=c.training, **c.ranker_params)
        return make_ranker(c.ranker, seed=seed, **{"objective": "regression", **c.ranker_params})

    def _worth(self, split: Split) -> Split:
        worth = normalised_gains(np.asarray(split.labels), split.offsets, self.gains, self.config.k)
        return replace(split, labels=worth.astype(np.float32))

    def terms(self, w: np.ndarray) -> list[Term]:
        return [Term(float(share), model, w) for share, model in zip(w, self.models, strict=True)]

    def _load_model(self, folder: Path) -> FittedRanker:
        return load_ranker(folder)
