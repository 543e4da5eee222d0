"""Label mixing for boosted trees: one LightGBM a preference, on the labels of all objectives mixed into one.

    gain_i = sum_k w_k g(y^k_i)        lambdarank with these gains (`label_gain`), each distinct value its own grade

The mix is exact: 5 grades and m objectives make at most 5^m values. What is optimised is the NDCG of the mixed gain,
divided by one ideal for all objectives; the sum sum_k w_k nDCG_k divides each by its own (T7 of our notes). Rounds are
chosen by the NDCG of the mixed gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ltr.errors import InputError
from ltr.rankers.trees.mixed_lambdas import label_gains
from ltr.types import Split

from .base import METHODS, Work
from .boosted_trees import Boosted

__all__ = ["LabelMixing", "MixingConfig", "mixed_gains"]

_LARGEST_GRADE = 9_999  # so many different values are a quantity, not grades


@dataclass(frozen=True)
class MixingConfig:
    """Settings of one booster, repeated for every preference.

    Attributes:
        lightgbm: parameters of the ranker `lightgbm`.
        gain: g, "exp2" 2^y - 1 or "linear" y; one for all objectives, or one each; None: those of the task.
        measures: not asked; rounds are chosen by the NDCG of the mixed gain at `k`.
        k: its cut-off.
    """

    lightgbm: dict[str, Any] = field(default_factory=dict)
    gain: Literal["exp2", "linear"] | tuple[Literal["exp2", "linear"], ...] | None = None
    measures: tuple[str, ...] = ()
    k: int = 10


def mixed_gains(labels: np.ndarray, preference: np.ndarray, gain: str | Sequence[str] = "exp2") -> np.ndarray:
    """sum_k w_k g(y^k), float64 `[documents]`.

    Args:
        labels: `[documents, objective]`.
        preference: `[objective]`.
        gain: one for all objectives or one each.

    >>> mixed_gains(np.array([[1, 3], [3, 0], [0, 1]]), np.array([0.5, 0.5])).tolist()
    [4.0, 3.5, 0.5]
    """
    kinds = (gain,) * labels.shape[1] if isinstance(gain, str) else tuple(gain)
    if len(kinds) != labels.shape[1]:
        raise InputError("one gain an objective", expected=f"{labels.shape[1]}", came=list(kinds))
    # Rounded, so that equal mixes are equal numbers, whatever the order of their sums.
    return np.round(label_gains(labels, kinds) @ preference, 9)


class LabelMixing(Boosted):
    """LightGBM on mixed labels."""

    config: MixingConfig

    def _one(self, work: Work, w: np.ndarray):
        from ltr.rankers import make_ranker

        c = self.config
        gain = c.gain or self.gains
        values, grades = np.unique(mixed_gains(work.train.labels, w, gain), return_inverse=True)
        if len(values) > _LARGEST_GRADE:
            raise InputError(
                "label mixing makes a grade of every distinct mix",
                expected=f"at most {_LARGEST_GRADE}",
                came=len(values),
                do="Regrade the objectives (grade5).",
            )
        gains = values.tolist()
        if gains[0] != 0:  # no document of train is worthless; LightGBM's grade 0 need not be either
            grades, gains = grades + 1, [0.0, *gains]
        vali = None if work.vali is None else _labelled(work.vali, mixed_gains(work.vali.labels, w, gain))
        params = dict(c.lightgbm)
        own = {**params.pop("params", {}), "label_gain": gains}
        ranker = make_ranker("lightgbm", seed=work.seed, params=own, **params)
        select = f"nDCG(gain=linear,empty=skip)@{c.k}"
        return ranker.fit(_labelled(work.train, grades), vali, select=select, progress=work.progress)


def _labelled(split: Split, column: np.ndarray) -> Split:
    return replace(split, labels=column.astype(np.float32)[:, None], objectives=("mixed",))


@METHODS.register(
    "label-mixing",
    formula="lambdarank on sum_k w_k g(y^k)",
    source="linear label aggregation for trees, e.g. Carmel et al., WWW 2020; baseline of MO-LightGBM, 2207.03060",
    config=MixingConfig,
    steers="fitted",
    means="importance",
    base=False,
)
def label_mixing(config: MixingConfig, **options) -> LabelMixing:
    return LabelMixing("label-mixing", config, **options)
