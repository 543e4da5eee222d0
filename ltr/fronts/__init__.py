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

# module -> the names of it that are public here
_HOME = {
    "dominance": ["n_outside", "nondominated"],
    "hypervolume": ["hypervolume", "hypervolumes"],
    "indicators": ["Control", "control", "epsilon", "igd_plus", "knee", "r2", "spread", "union_front"],
    "normalisation": [
        "Payoff",
        "ReferencePoints",
        "ThreeHypervolumes",
        "chosen",
        "normalise",
        "payoff",
        "rank_flips",
        "reference",
        "three_hypervolumes",
    ],
    "cost": ["cost_picture"],
    "pictures": ["front_picture", "pairs_picture", "parallel_picture", "plane_picture"],
    "attainment": ["attained", "attainment_surface", "staircase"],
    "bootstrap": ["difference_interval", "paired_hypervolumes", "poisson_weights"],
}
__all__ = sorted(name for names in _HOME.values() for name in names)


__getattr__ = lazily(__name__, _HOME)


def __dir__() -> list[str]:
    return __all__
