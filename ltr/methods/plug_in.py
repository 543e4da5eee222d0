"""The plug-in rule: estimate what every document is worth to every objective; a preference is then a dot product.

    score     s_w = sum_k w_k c_k map_k(a_k(x)),          estimate of sum_k w_k E[G^k | x],  G^k_i = g(y^k_i) / IDCG_k@K

nDCG_k@K of a list is linear in its G^k, so the ranking that maximises the expected sum_k w_k nDCG_k given the features
sorts by sum_k w_k E[G^k | x] (T11 of our notes; one objective: Cossock and Zhang, COLT 2006 [recalled]). m models, or
one with m outputs, rank for every preference. Five forms estimate these expectations; on free scores (regressors at
their optimum, labels known) they end at G^k, and s_w ranks as the oracle (`oracle_scores`) does:

    squared    a_k = G^k, map the identity, c = 1                     at every w
    centred    a_k = G^k - its mean in the list, over sd_k; c = sd    at every w: a list's constant ranks nothing
    softmax    softmax(a_k) = G^k / sum G^k; c_k = mean sum G^k       at the corners; elsewhere on lists whose sums
                                                                      sum_i G^k_i stand to each other as their means do
    mixture    any ranker; map the softmax of the list, c = 1         at the corners; elsewhere it supposes that the
                                                                      scores are log-worths up to T and a list constant
    isotonic   any ranker; map the increasing one nearest to G^k      where one and the same increasing function makes
               on validation, c = 1                                   the G^k of all lists out of the scores

Squared error spends its fit on the level of a list too (its ideal DCG), which the others drop; the price is that
softmax and mixture know the levels of two objectives in a list on average only. T (of softmax and mixture) and the
form, where several are given, are chosen by the mean over preferences of sum_k w_k measure_k on validation; the map of
isotonic is judged there crosswise, fitted on one half of the lists and applied to the other.

A list without gain for an objective has G^k = 0: squared and centred learn that like any worth, since E[G^k | x] holds
the chance that a list is blank, as the oracle has it; softmax and ranking losses have no target there and skip it, but
the mean c_k counts it. Lists whose grades are all equal and not 0 are worth the same everywhere: that is learned, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch

from ltr.errors import InputError
from ltr.rankers import RANKERS
from ltr.rankers.conditional.ranker import ConditionedRanker
from ltr.rankers.config import TrainingConfig, check
from ltr.rankers.score_maps import ListSoftmax, Monotone, ScoreMap, monotone
from ltr.rankers.training.validation import PreferenceQuality, weighted_mean
from ltr.types import Split

from .base import METHODS, FitContext, Method
from .plug_in_training import Kind, Regression, normalised_gains
from .terms import Term, combined, on_host

__all__ = ["PlugIn", "PlugInConfig", "normalised_gains", "trainings"]

Form = Literal["squared", "centred", "softmax", "mixture", "isotonic"]
_KIND: dict[Form, Kind] = {
    "squared": "squared",
    "centred": "centred",
    "softmax": "softmax",
    "mixture": "ranking",
    "isotonic": "ranking",
}
_LEARNED_BY_ONE_BOOSTER: tuple[Form, ...] = ("squared",)


@dataclass(frozen=True)
class PlugInConfig:
    """Settings of one regressor or ranker, repeated for every objective.

    Attributes:
        ranker: what estimates: a net, or trees (lightgbm, xgboost, catboost), whose objective the form says.
        ranker_params: its parameters.
        training: settings of each training of a net.
        measures: one an objective, by which validation chooses T and the form; every model is chosen by the nDCG@k of
            its objective, with its gain.
        k: K, the cut-off of the ideal DCG and of that measure.
        form: how the worth is estimated, see above; several, or "validation" for all, are trained, and validation
            chooses one. mixture and isotonic share their rankers.
        nets: "each": a model an objective. "one": one net with an output an objective (linear, mlp, transformer), or
            one booster (xgboost with vector leaves, catboost MultiRMSE; squared only).
        loss: ranking loss of mixture and isotonic; trees know lambdarank, and lightgbm xendcg besides.
        temperatures: T to choose from; the one nearest to 1 without validation, and of equals.
    """

    ranker: str = "mlp"
    ranker_params: dict[str, Any] = field(default_factory=dict)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    measures: tuple[str, ...] = ()
    k: int = 10
    form: Form | Literal["validation"] | tuple[Form, ...] = "squared"
    nets: Literal["each", "one"] = "each"
    loss: str = "lambdarank"
    temperatures: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)

    def __post_init__(self):
        check(
            self,
            k=(self.k >= 1, "1 or more"),
            form=(len(self.form) > 0, "one form or several"),
            temperatures=(
                len(self.temperatures) > 0 and all(t > 0 for t in self.temperatures),
                "one or more, above 0",
            ),
        )

    @property
    def forms(self) -> tuple[Form, ...]:
        """Those that are tried."""
        if self.form != "validation":
            return (self.form,) if isinstance(self.form, str) else self.form
        one_booster = self.nets == "one" and not RANKERS[self.ranker].claims["needs_loss"]
        return _LEARNED_BY_ONE_BOOSTER if one_booster else tuple(_KIND)


def trainings(config: PlugInConfig, m: int) -> int:
    """How many models `fit` trains for m objectives."""
    return len({_KIND[form] for form in config.forms}) * (1 if config.nets == "one" else m)


@METHODS.register(
    "plug-in",
    formula="s_w = sum_k w_k c_k map_k(a_k), an estimate of sum_k w_k E[g(y^k) / IDCG_k | x]",
    source="expected gains: Cossock and Zhang, COLT 2006 [recalled]; for several objectives ours",
    config=PlugInConfig,
    preference="continuous",
    models="objective",
    corners=0.75,  # squared error spends its epochs on the level of a list too, which ranks nothing
)
class PlugIn(Method):
    """The models of one form; `memory` says which, and what it takes to combine them."""

    config: PlugInConfig

    def _fit(self, context: FitContext) -> int:
        forms, regression = self.config.forms, Regression(self.config, self.gains, context)
        if context.vali is None and (len(forms) > 1 or "isotonic" in forms):
            raise InputError("validation chooses the form, and fits the map of isotonic", do="Give lists, or one form.")
        trained = {kind: regression.train(kind) for kind in dict.fromkeys(_KIND[form] for form in forms)}
        best, told = -np.inf, {}
        for form in forms:
            kind = _KIND[form]
            how, value = self._combination(form, trained[kind], regression)
            told[form] = None if np.isnan(value) else value
            if not self.models or value > best:
                self.models, self.memory, best = trained[kind], how, value
        self.memory["judged"] = told
        return sum(len(models) for models in trained.values())

    def _combination(self, form: Form, models: list[Any], regression: Regression) -> tuple[dict[str, Any], float]:
        """What `terms` must remember of a form, and what validation says of it (NaN without)."""
        how: dict[str, Any] = {"form": form, "scale": regression.scale(_KIND[form]).tolist()}
        soft, vali = form in ("softmax", "mixture"), regression.context.vali
        mild = sorted(self.config.temperatures, key=lambda t: abs(np.log(t)))
        if vali is None:
            return {**how, "temperature": mild[0]} if soft else how, float("nan")
        m = len(self.gains)
        raw = np.asarray(on_host(combined([[_term(models, k, m)] for k in range(m)], vali)), np.float64)
        context = regression.context
        judge = _Judge(context.measures, vali, context.preferences, np.array(how["scale"]))
        if soft:
            values = [judge([ListSoftmax(t)] * m, raw) for t in mild]
            chosen = int(np.argmax(np.nan_to_num(values, nan=-np.inf)))
            return {**how, "temperature": mild[chosen]}, values[chosen]
        if form != "isotonic":
            return how, judge([None] * m, raw)
        worth = regression.worth_of(vali)
        maps = [monotone(a, g) for a, g in zip(raw, worth.T, strict=True)]
        value = judge([None] * m, _crosswise(vali, raw, worth))
        return {**how, "maps": [[list(each.x), list(each.y)] for each in maps]}, value

    def terms(self, w: np.ndarray) -> list[Term]:
        how, m = self.memory, len(w)
        shares = w * how.get("scale", 1.0)
        maps = _maps(how, m)
        return [_term(self.models, k, m)._replace(share=float(shares[k]), map=maps[k]) for k in range(m)]


def _term(models: list[Any], k: int, m: int) -> Term:
    """The scores of objective k."""
    corner = np.eye(m)[k]
    if len(models) == m:
        return Term(1.0, models[k], corner)
    output = None if isinstance(models[0], ConditionedRanker) else k
    return Term(1.0, models[0], corner, output=output)


def _maps(how: Mapping[str, Any], m: int) -> list[ScoreMap | None]:
    if "maps" in how:
        return [Monotone(tuple(x), tuple(y)) for x, y in how["maps"]]
    return [ListSoftmax(how["temperature"]) if "temperature" in how else None] * m


class _Judge:
    """What validation says of scores a_k `[objective, documents]` under maps: the mean over the preferences."""

    def __init__(self, measures, vali: Split, preferences: np.ndarray, scale: np.ndarray):
        self.quality = PreferenceQuality(measures, vali, weighted_mean, preferences)
        self.shares, self.offsets = preferences * scale, vali.offsets

    def __call__(self, maps: list[ScoreMap | None], raw: np.ndarray) -> float:
        worth = [
            a if each is None else each.flat(torch.from_numpy(a), self.offsets).numpy()
            for each, a in zip(maps, raw, strict=True)
        ]
        return float(self.quality((self.shares @ np.stack(worth)).astype(np.float32)))


def _crosswise(vali: Split, raw: np.ndarray, worth: np.ndarray) -> np.ndarray:
    """The worth `[objective, documents]` that maps fitted on every other list see in the lists between them."""
    odd = np.repeat(np.arange(vali.n_queries) % 2 == 1, vali.lengths)
    out = np.empty_like(raw)
    for here in (odd, ~odd):
        there = ~here if (~here).any() else here
        for k, a in enumerate(raw):
            out[k, here] = monotone(a[there], worth[there, k]).flat(torch.from_numpy(a[here])).numpy()
    return out
