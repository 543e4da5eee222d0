"""Methods train rankers: `single` one objective with one loss. Names are imported when they are first used."""

from __future__ import annotations

from ..lazy import lazily

_HOME = {
    "loss_params": "choices", "takes_loss": "choices",
    "RankingEstimator": "estimator", "TrainingLog": "single", "train": "single",
}  # fmt: skip
__all__ = sorted(_HOME)


__getattr__ = lazily(__name__, _HOME)


def __dir__():
    return __all__
