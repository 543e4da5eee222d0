"""Methods train rankers: one objective with one loss, or several objectives with a preference between them.

    single.py       one objective with one loss
    hyperdpo.py     one net for every preference, from a reference ranker
    preference_conditioned.py  one net for every preference, without one: COSMOS, PHN, YOTO, Pareto set learning
    scalarised.py   one model a preference: LS, DPO-LS, SLA, Chebyshev, epsilon-constraint
    modpo.py        MODPO, the others as margins
    spo.py          SPO, one objective after another
    gradient_methods.py  EPO, WC-MGDA; MGDA, PCGrad, UW and others, which no preference steers
    mixing.py       LightGBM on labels mixed by the preference, one model each
    boosted_trees.py  LightGBM on mixed lambdas, or on one label a list and round
    soups.py        one model an objective, merged after training: soups, MOD
    pamal.py        a soup trained as one
    ric.py          one net that is told the labels a document should have
    base.py         what they share; criteria.py: what a step of theirs descends; reference.py: leaving a reference
    catalogue.py    `METHODS`, `make_method`, `load_method`

Names are imported when they are first used.
"""

from __future__ import annotations

from ltr.lazy import lazily

_HOME = {
    "catalogue": ["METHODS", "load_method", "make_method"],
    "base": ["Method"],
    "loss_config": ["loss_params", "takes_loss"],
    "single": ["TrainingLog", "train"],
}
__all__ = sorted(name for names in _HOME.values() for name in names)


__getattr__ = lazily(__name__, _HOME)


def __dir__():
    return __all__
