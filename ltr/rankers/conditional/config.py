"""Where a net learns of the preference it scores for: the settings. No torch here: the command line reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ltr.rankers.config import check

__all__ = ["STEERING", "ConditioningConfig"]

STEERING = ("prefix", "readout")  # kinds of conditioning that leave a transformer as it is and stand beside it
_PLACES = ("film", "prompt", "prefix")


@dataclass(frozen=True)
class ConditioningConfig:
    """How a net learns of the preference w it scores for (and, if asked, of the temperature beta).

    Attributes:
        kind: where w enters.
            none: nowhere; the net has one ranking for all.
            concat: w beside the features of every document (COSMOS, 2103.13392); the first layer adds V w to its W x.
            film: h <- (1 + gamma(w)) h + delta(w) in every hidden layer before its activation, after every block of a
                transformer, and on the features where there is neither (Perez et al., AAAI 2018; YOTO, ICLR 2020).
            prompt: w becomes `prompts` vectors that stand as documents in front of the list and are dropped from the
                output; list transformer only (Hyper Prompt Tuning of HyperDPO, 2410.08316; the list form is ours). They
                barely steer long lists, whose documents leave them little of the attention.
            prefix: w becomes `pairs` keys and values beside the attention of every block, with a softmax of their own,
                and `prompts` tokens that read the list and meet the last hidden state of its documents by a product;
                list transformer only (ours; steering.py has the formula). Starts without any effect.
            readout: the tokens of prefix without the pairs: documents are computed once for all preferences.
            head: a hypernetwork adds v(w) to the weights of the last layer (PHN, 2010.04104, on the head alone).
            mixture: one output a_k an objective, and log sum_k w_k softmax(a_k) over the list. That is where a list
                cross entropy with weights w ends when the net can do everything (T1 and T2 of our notes), so w needs no
                learning; ours. It sees the list through its normaliser. beta, if conditioned on, divides it.
            outputs: one output a_k an objective, and sum_k w_k a_k.
        start: "scratch": s = net(x, w). "augmented": s = s_ref + net(x, w) with a last layer of zeros, so that the
            scores start at those of the reference exactly; the rest starts from the weights of the reference where that
            is the same kind of net.
        hidden: widths of the map from w to what it changes; "mixture" and "outputs" have none.
        prompts: documents put in front of the list by "prompt"; tokens that "prefix" and "readout" read the list with.
        frozen: keep the net as the reference left it. Only what comes from w learns, and the last layer, which kinds
            that do not reach the scores without it need: all but "prefix" and "readout". For "augmented".
        temperature: log beta is a further input beside w.
        temperature_by: "objective": log beta_k of every objective are further inputs; by default one for all.
        only: "last": "film" changes the last hidden layer or block alone, "prompt" stands before the last block
            alone, and "prefix" has pairs there alone, so that all else is computed once for every preference; by
            default they enter everywhere.
        pairs: keys and values a block of "prefix"; default 16.
    """

    kind: Literal["none", "concat", "film", "prompt", "prefix", "readout", "head", "mixture", "outputs"] = "film"
    start: Literal["scratch", "augmented"] = "augmented"
    hidden: tuple[int, ...] = (32,)
    prompts: int = 4
    frozen: bool = False
    temperature: bool = False
    only: Literal["last"] | None = None  # None stays out of tables: configs keep the hash they had
    pairs: int | None = None
    temperature_by: Literal["objective"] | None = None

    def n_inputs(self, objectives: int) -> int:
        """Numbers a net of so many objectives is told: w, and what is said of beta."""
        return objectives + self.temperature * (1 if self.temperature_by is None else objectives)

    @property
    def n_pairs(self) -> int:
        """Pairs a block, where the kind has them."""
        return 16 if self.pairs is None else self.pairs

    def __post_init__(self):
        check(
            self,
            hidden=(all(width >= 1 for width in self.hidden), "positive widths"),
            pairs=(
                self.pairs is None or (self.kind == "prefix" and self.pairs >= 1),
                '1 or more, with kind = "prefix"',
            ),
            prompts=(self.prompts >= 1, "1 or more"),
            frozen=(not self.frozen or self.start == "augmented", 'false, or start = "augmented"'),
            temperature=(not self.temperature or self.kind not in ("none", "outputs"), "a kind that takes inputs"),
            temperature_by=(
                self.temperature_by is None or (self.temperature and self.kind != "mixture"),
                "temperature, and a kind that learns what to do with it (mixture divides by one beta)",
            ),
            only=(self.only is None or self.kind in _PLACES, f"a kind with several places: {', '.join(_PLACES)}"),
        )
