"""Measures of ranked lists and the significance of their differences.

    from ltr.metrics import evaluate, mean
    values = evaluate(["nDCG@10", "AP"], scores, labels, offsets)      # {name: float64 [queries]}
    mean(values["nDCG(gain=exp2,empty=skip)@10"])
    evaluate_rankings(["nDCG@10", "AP"], scores, judged)               # [ranking, list, objective], on a GPU too

Names are imported when they are first used; numpy is all they need on a CPU.
"""

from __future__ import annotations

from ltr.lazy import lazily

# Not lazy: the submodule has the name of its function, and the function must win whatever is imported first.
from .measure import Measure as Measure
from .measure import measure as measure

# name -> module that defines it
_HOME = {
    "MEASURES": "measures",
    "PRESETS": "presets",
    "Preset": "presets",
    "Judgements": "judgements",
    "count": "ranking",
    "count_blank": "ranking",
    "evaluate": "ranking",
    "mean": "ranking",
    "evaluate_rankings": "rankings",
    "Comparison": "significance",
    "Interval": "significance",
    "bootstrap_interval": "significance",
    "compare": "significance",
    "group_letters": "significance",
    "holm": "significance",
    "paired_randomisation": "significance",
}
__all__ = sorted([*_HOME, "Measure", "measure"])


__getattr__ = lazily(__name__, _HOME)


def __dir__():
    return __all__
