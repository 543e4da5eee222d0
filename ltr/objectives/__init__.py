"""Several objectives at once: their labels, preferences between them, and one step direction out of many losses.

    objective.py         what an objective is; labels of a task made from raw columns, fitted on train
    label_transforms.py  identity, grade5, minmax, log-minmax, reciprocal
    tasks.py             tasks of several objectives by the names of a card
    targets.py           list targets z^k, blank objectives, mixes, the oracle ranking
    preferences.py       the lattice, Dirichlet draws, validation of what a user typed
    scalarisations.py    losses and a preference -> one number to descend (`SCALARISATIONS`)
    loss_weighting.py    those that remember: epsilon-constraint, UW, DWA, FAMO
    solvers.py           small exact problems over the simplex and the dual cone, m <= 6
    aggregators.py       Gramian of the gradients -> coefficients of one step (`AGGREGATORS`)
    gradient_aggregators.py  MGDA and its relatives: one point a run
    preference_aggregators.py  EPO and WC-MGDA: a point a preference
    multi_backward.py    one step: gradients in the space of scores or of parameters, combined and written to `.grad`

Names are imported when they are first used (torch takes seconds).
"""

from __future__ import annotations

from ltr.lazy import lazily

_HOME = {
    "objective": ["Labelling", "Objective", "label_objectives"],
    "label_transforms": ["LabelTransform"],
    "targets": [
        "arithmetic_mix",
        "counting",
        "geometric_mix",
        "list_targets",
        "mean_losses",
        "oracle_scores",
        "weighted_sum",
    ],
    "tasks": ["blank_lists", "load_multi", "task_objectives"],
    "preferences": ["check_preference", "dirichlet", "lattice"],
    "scalarisations": ["SCALARISATIONS", "coefficients", "scalarisation"],
    "aggregators": ["AGGREGATORS", "aggregator"],
    "multi_backward": ["backward", "gramian_of"],
}
__all__ = sorted(name for names in _HOME.values() for name in names)


__getattr__ = lazily(__name__, _HOME)


def __dir__() -> list[str]:
    return __all__
