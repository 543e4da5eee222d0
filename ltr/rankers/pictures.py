"""The picture of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt

from ltr.errors import InputError

__all__ = ["history_picture"]


def history_picture(history: Sequence[Mapping[str, Any]], best: Mapping[str, Any], ax: Any = None) -> Any:
    """Loss (left axis) and selection measure (right axis) by epoch, and the epoch that was kept.

    Args:
        history: rows of epoch, loss and vali; either may be None.
        best: `FittedRanker.best`.
        ax: matplotlib axes to draw on; new ones by default.
    """
    if not history:
        raise InputError("no history to draw", do="Fit a ranker that is trained by epochs or rounds")
    ax = plt.subplots(figsize=(6, 3), layout="constrained")[1] if ax is None else ax
    epochs = [row["epoch"] for row in history]
    sides = {"loss": (ax, "training loss", "C0"), "vali": (None, "validation", "C1")}
    for key, (axes, words, colour) in sides.items():
        values = [row.get(key) for row in history]
        if all(value is None for value in values):
            continue
        axes = ax.twinx() if axes is None else axes
        # A lone row (a bag of nets, a booster without rounds) is a point.
        axes.plot(epochs, values, color=colour, marker="o" if len(epochs) == 1 else None)
        axes.set_ylabel(words, color=colour)
    ax.set_xlabel("epoch")
    if best.get("epoch") is not None:
        ax.axvline(best["epoch"], color="0.7", linestyle=":", zorder=0)
    return ax
