"""MODPO (2310.03708): one objective is learned, what the others want enters as margins. Two forms.

    form = "pair"   -log sg([beta (Delta_i - Delta_j) - sum_{l != k} w_l (R^l_i - R^l_j)] / w_k), y^k_i > y^k_j:
                    the published one
    form = "list"   CE(z^k, softmax((beta Delta - sum_{l != k} w_l R^l) / w_k)): ours, the default

with Delta = s - s_ref, and k the objective with the largest w, or `main` for all preferences, as in the published runs.
One model a preference. The scale of R sets the trade-off:

    rewards = "models"    R^l = beta (s_l - s_ref) of a model trained by DPO on objective l alone, as published;
                          m further trainings (m - 1 with `main`), made first
    rewards = "targets"   R^l = log z^l
    rewards = "labels"    R^l = y^l, standardised per list

On free scores the list form with log z^l ends at the geometric mix of the targets, where DPO-LS ends at the arithmetic
one; the pair form has no finite optimum there, as DPO has none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ltr.errors import unknown_name
from ltr.losses import loss
from ltr.losses.preference.base import dpo, preference_loss
from ltr.rankers.config import check
from ltr.types import Split

from .base import METHODS, FitContext
from .criteria import Criterion, Fixed, Importance, Margins
from .reference import ReferenceConfig, train_each
from .scalarised import DPOLS
from .terms import on_host

__all__ = ["MODPO", "MODPOConfig"]


@dataclass(frozen=True)
class MODPOConfig(ReferenceConfig):
    """Settings of one training, repeated for every preference.

    Attributes:
        form: "pair", the published loss, or "list", ours. `loss` is that of the form in any case; `loss_params` are the
            target, eps and temperature of the list form, or pairs, normalise, curve (logistic or hinge) and floor of
            the pair form.
        rewards: R of the others: "models", "targets" or "labels"; "auto": models in pair form, targets in list form.
        main: the objective that is learned; empty: at each preference the one with the largest weight. With one for all
            its weight counts as .05 at least (`floor`).
        eps: added to targets that hold zeros, for their logarithm.
    """

    form: Literal["list", "pair"] = "list"
    rewards: Literal["auto", "models", "targets", "labels"] = "auto"
    main: str = ""
    eps: float = 1e-3

    def __post_init__(self):
        super().__post_init__()
        left = self.loss == "listnet" and not self.losses
        check(self, loss=(left, "left alone, form says which"))

    @property
    def spoken(self) -> str:
        """`rewards`, made up."""
        return {"list": "targets", "pair": "models"}[self.form] if self.rewards == "auto" else self.rewards


@METHODS.register(
    "modpo",
    formula="list: CE(z^k, softmax((beta Delta - sum_{l != k} w_l R^l) / w_k)); pair, as published: "
    "-log sg([beta (Delta_i - Delta_j) - sum_{l != k} w_l (R^l_i - R^l_j)] / w_k); k = argmax w",
    source="2310.03708; list form ours",
    config=MODPOConfig,
    preference="fixed",
    base=True,
    models="preference",
)
class MODPO(DPOLS):
    """One net a preference; those that speak for the other objectives are not kept."""

    config: MODPOConfig

    def _train(self, context: FitContext) -> int:
        c, names = self.config, context.objectives
        if c.main and c.main not in names:
            raise unknown_name("main objective", c.main, list(names))
        self._main = names.index(c.main) if c.main else None
        if c.spoken != "models":
            return super()._train(context)
        speakers = [k for k in range(len(names)) if k != self._main]
        loss = dpo("dpo", beta=c.beta) if c.form == "pair" else self._list_loss("listnet-dpo", floor=False)
        corners = np.eye(len(names))[speakers]
        criteria = [Importance(loss, Fixed(tuple(w))) for w in corners]
        self.models = train_each(self, context, criteria, corners, "margin")
        s_train, s_vali = context.references
        train = self._told(context.train, corners, speakers, s_train)
        vali = None if context.vali is None else self._told(context.vali, corners, speakers, s_vali)
        return super()._train(replace(context, train=train, vali=vali)) + len(speakers)

    def _told(self, split: Split, corners: np.ndarray, speakers: list[int], s_ref) -> Split:
        """The split with R of every objective beside its labels, a column each: 0 for the one that is learned, and at
        least 0, since what is added to all documents of a list cancels."""
        labels = np.asarray(split.labels)
        rewards = np.zeros_like(labels, dtype=np.float32)
        for k, corner, model in zip(speakers, corners, self.models, strict=True):
            scores = model.score(split, corner[None], reference=s_ref if self.config.augmented else None)[0]
            moved = self.config.beta * (on_host(scores) - s_ref)
            rewards[:, k] = moved - np.repeat(np.minimum.reduceat(moved, split.offsets[:-1]), split.lengths)
        names = tuple(f"reward of {name}" for name in split.objectives)
        return split.having(labels=np.hstack([labels, rewards]), objectives=(*split.objectives, *names))

    def _criterion(self, source: Fixed) -> Criterion:
        c = self.config
        pair = preference_loss("modpo", beta=c.beta, **c.loss_params) if c.form == "pair" else None
        return Margins(pair or self._list_loss("modpo-list"), source, c.spoken, c.eps, self._main, self.gains)

    def _list_loss(self, name: str, floor: bool = True):
        params: dict[str, Any] = {k: v for k, v in self.config.loss_params.items() if floor or k != "floor"}
        return self._by_gain(preference_loss(name, beta=self.config.beta, **params))

    def _plain_loss(self, gain: str, objective: str):
        """Of an own base: RankNet is DPO without a reference, ListNet the list form."""
        if self.config.form == "pair":
            return loss("ranknet")
        params = {key: v for key, v in self.config.loss_params.items() if key != "floor"}
        own = {"gain": gain} if params.get("target", "gain") == "gain" else {}
        return loss("listnet", **{**own, **params})
