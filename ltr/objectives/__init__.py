"""Several objectives at once: their labels, preferences between them, and one step direction out of many losses.

    objective.py         what an objective is; labels of a task made from raw columns, fitted on train
    label_transforms.py  identity, grade5, minmax, log-minmax
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

_HOME = {
    "Labelling": "objective", "Objective": "objective", "label_objectives": "objective",
    "LabelTransform": "label_transforms",
    "arithmetic_mix": "targets", "counting": "targets", "geometric_mix": "targets", "list_targets": "targets",
    "mean_losses": "targets", "oracle_scores": "targets", "weighted_sum": "targets",
    "blank_lists": "tasks", "load_multi": "tasks", "task_objectives": "tasks",
    "check_preference": "preferences", "dirichlet": "preferences", "lattice": "preferences",
    "SCALARISATIONS": "scalarisations", "coefficients": "scalarisations", "scalarisation": "scalarisations",
    "AGGREGATORS": "aggregators", "aggregator": "aggregators",
    "backward": "multi_backward", "gramian_of": "multi_backward",
}  # fmt: skip
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name in _HOME:
        import importlib

        from_families = {"SCALARISATIONS": ("adaptive",), "scalarisation": ("adaptive",)}
        from_families |= {"AGGREGATORS": ("directions", "steered"), "aggregator": ("directions", "steered")}
        for family in from_families.get(name, ()):  # a family registers itself when it is imported
            importlib.import_module(f".{family}", __name__)
        value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'ltr.objectives' has no attribute {name!r}")


def __dir__():
    return __all__
