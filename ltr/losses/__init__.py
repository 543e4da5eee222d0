"""Losses: pure functions of scores and labels, one value a list, found by name in `LOSSES`.

    from ltr.losses import loss
    listnet = loss("listnet", target="lin")
    values = listnet(scores, labels, where)              # [...], one value a list
    mean = listnet.reduce(values, labels, where)         # over the lists that count

A family is a file; a new file is named once in base.py. Nothing is imported before it is used.
"""

from __future__ import annotations

from ltr.lazy import lazily

_HOME = {
    "base": ["LOSSES", "Loss", "counts", "describe", "loss", "reduce"],
    # Losses with a reference scorer: a catalogue of their own.
    "preference.base": [
        "PREFERENCE_LOSSES",
        "PreferenceLoss",
        "dpo",
        "implicit_rewards",
        "preference_loss",
        "preference_losses",
    ],
}
__all__ = sorted(name for names in _HOME.values() for name in names)


__getattr__ = lazily(__name__, _HOME)


def __dir__() -> list[str]:
    return __all__
