"""Methods train rankers for several objectives with a preference between them. (One objective: `ltr.rankers`.)

    hyperdpo.py     one net for every preference, from a reference ranker
    preference_conditioned.py  one net for every preference, without one: COSMOS, PHN, YOTO, Pareto set learning
    scalarised.py   one model a preference: LS, DPO-LS, SLA, Chebyshev, epsilon-constraint
    modpo.py        MODPO, the others as margins: in pairs, as published, or lists
    spo.py          SPO, one objective after another
    gradient_methods.py  EPO, WC-MGDA; MGDA, PCGrad, UW and others, which no preference steers
    boosted_trees.py  LightGBM on mixed lambdas, on one label a list and round, or on mixed labels
    soups.py        one model an objective, merged after training: soups, MOD; and PaMaL, a soup trained as one
    ric.py          one net that is told the labels a document should have
    gdpo.py         policy gradient on measures, each normalised by itself
    conditioned_trees.py  one LightGBM for every preference
    baselines.py   a random ranking, and one model an objective
    plug_in.py      what a document is worth to each objective, in five forms; every preference a dot product
    plug_in_training.py  the regressors and rankers behind it
    reference_choice.py  what a reference is trained as, a ranker or a method
    base.py         what they share; criteria.py: what a step of theirs descends; reference.py: leaving a reference
    terms.py        what their scores are made of, through which maps of rankers/score_maps.py
    export.py       as a program; export_formats.py: as files of boosters and search engines
    explanation.py  what each feature gives to a score; stacked.py: many preferences in one program
    steering.py     how far the scores of a method follow the preference, and attention a prompt made of it
    catalogue.py    `METHODS`, `make_method`, `load_method`

Names are imported when they are first used.
"""

from __future__ import annotations

from ltr.lazy import lazily

_HOME = {
    "catalogue": ["METHODS", "load_method", "make_method"],
    "base": ["Method"],
    "steering": ["SteeringReport", "steering_report"],
    "loss_config": ["loss_params", "takes_loss"],
    "export": ["fixed", "ship"],
    "export_formats": ["export"],
    "explanation": ["Explanation", "explain"],
    ".rankers.training.validation": ["measured"],
}
__all__ = sorted(name for names in _HOME.values() for name in names)


__getattr__ = lazily(__name__, _HOME)


def __dir__():
    return __all__
