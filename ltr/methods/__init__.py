"""Methods train rankers: `single` one objective with one loss. Names are imported when they are first used."""

from __future__ import annotations

_HOME = {
    "loss_params": "choices", "takes_loss": "choices",
    "RankingEstimator": "estimator", "TrainingLog": "single", "train": "single",
}  # fmt: skip
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name in _HOME:
        import importlib

        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return __all__
