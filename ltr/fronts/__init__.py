"""Fronts: sets of points, one a preference, judged together. Everything is maximised.

    dominance.py    who dominates whom; what points must be
    hypervolume.py  exact hypervolume, of one front and of many at once
    hypervolume_batched.py  the batched form for two and three objectives, on any device
    indicators.py   IGD+, additive epsilon, R2, spread, knee; whether preferences are obeyed
    normalisation.py  reference points of a task, normalisation, three hypervolumes, choice on validation
    bootstrap.py    hypervolumes of resampled queries, and intervals of their differences
    attainment.py   what share of seeds attains a point
    pictures.py     fronts drawn: two objectives, three, more

Names are imported when they are first used.
"""

from __future__ import annotations

from ltr.lazy import lazily

# name -> module that defines it
_HOME = {
    "n_outside": "dominance", "nondominated": "dominance",
    "hypervolume": "hypervolume", "hypervolumes": "hypervolume",
    "Control": "indicators", "control": "indicators", "epsilon": "indicators", "igd_plus": "indicators",
    "knee": "indicators", "r2": "indicators", "spread": "indicators", "union_front": "indicators",
    "Payoff": "normalisation", "ReferencePoints": "normalisation", "ThreeHypervolumes": "normalisation", "chosen": "normalisation",
    "normalise": "normalisation", "payoff": "normalisation", "rank_flips": "normalisation", "reference": "normalisation",
    "three_hypervolumes": "normalisation",
    "cost_picture": "pictures", "front_picture": "pictures", "pairs_picture": "pictures",
    "parallel_picture": "pictures", "plane_picture": "pictures",
    "attained": "attainment", "attainment_surface": "attainment", "staircase": "attainment",
    "difference_interval": "bootstrap", "paired_hypervolumes": "bootstrap", "poisson_weights": "bootstrap",
}  # fmt: skip
__all__ = sorted(_HOME)


__getattr__ = lazily(__name__, _HOME)


def __dir__():
    return __all__
