"""Losses: pure functions of scores and labels, one value a list, found by name in `LOSSES`.

    from ltr.losses import loss
    listnet = loss("listnet", target="lin")
    values = listnet(scores, labels, where)              # [...], one value a list
    mean = listnet.reduce(values, labels, where)         # over the lists that count

A family is a file; a new file is imported once below. Nothing is imported before a name is used (torch takes seconds).
"""

from __future__ import annotations

__all__ = ["LOSSES", "Loss", "counts", "describe", "loss", "reduce"]
# Losses with a reference scorer: a catalogue of their own, see preference.py.
_PREFERENCE = ["PREFERENCE_LOSSES", "PreferenceLoss", "dpo", "implicit_rewards", "preference_loss", "preference_losses"]


def __getattr__(name: str):
    if name in __all__:
        # The families register themselves.
        from . import (  # noqa: F401
            base,
            lambdas,
            listwise,
            neuralsort,
            pairwise,
            plackett,
            pointwise,
            smooth,
            sortnet,
        )

        globals().update({each: getattr(base, each) for each in __all__})
        return globals()[name]
    if name in _PREFERENCE:
        from .preference import base as preference

        preference.fill()
        globals().update({each: getattr(preference, each) for each in _PREFERENCE})
        return globals()[name]
    raise AttributeError(f"module 'ltr.losses' has no attribute {name!r}")


def __dir__():
    return sorted([*__all__, *_PREFERENCE])
