"""Measures of ranked lists and the significance of their differences.

    from ltr.metrics import evaluate, mean
    values = evaluate(["nDCG@10", "AP"], scores, labels, offsets)      # {name: float64 [queries]}
    mean(values["nDCG(gain=exp2,empty=skip)@10"])
    evaluate_rankings(["nDCG@10", "AP"], scores, judged)             # [ranking, list, objective], on a GPU too

Names are imported when they are first used; numpy is all they need on a CPU.
"""

from __future__ import annotations

from ltr.lazy import lazily

# Not lazy: the submodule has the name of its function, and the function must win whatever is imported first.
from .measure import Measure as Measure
from .measure import measure as measure

# module -> the names of it that are public here
_HOME = {
    "measures": ["MEASURES"],
    "presets": ["PRESETS", "Preset"],
    "judgements": ["Judgements"],
    "evaluation": ["count", "count_blank", "evaluate", "evaluate_rankings", "mean"],
    "calibration": ["Reliability", "reliability"],
    "inference": ["VERDICTS", "Difference", "Errors", "errors_of_draws", "errors_of_values", "verdicts"],
    "significance": [
        "Interval",
        "bootstrap_interval",
        "group_letters",
        "holm",
        "paired_randomisation",
    ],
}
__all__ = sorted(["Measure", "measure", *(name for names in _HOME.values() for name in names)])


__getattr__ = lazily(__name__, _HOME)


def __dir__() -> list[str]:
    return __all__
