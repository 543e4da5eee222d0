"""Bagging: small nets, each trained on its own bootstrap sample of the queries, and the mean of their scores.

Queries are drawn, not documents: lists are what is independent. A sample is n draws out of n training queries; member b
sees query q as often as it was drawn, c_bq times, which is a weight of its loss. So all members share the data in
memory and train as one program (stacked.py).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ltr.rankers.config import check
from ltr.rankers.neural import NeuralRanker
from ltr.rankers.training.job import ObjectiveJob
from ltr.seeds import seed_of
from ltr.types import Split

from .composed import ComposedRanker, NetConfig, register_composed

__all__ = ["BaggedConfig", "BaggedRanker", "drawn"]


@dataclass(frozen=True, kw_only=True)
class BaggedConfig(NetConfig):
    """Bootstrap ensemble of a small net (bagging): the mean of the raw scores of nets trained on resampled queries.

    Members differ in the queries drawn for them (about 63 % of all, some repeatedly), in initial weights, and in all
    else that follows from a seed. Validation chooses the best epoch of each by itself. Features are transformed by what
    all training queries say, and a batch norm sees the documents of lists that were not drawn.

    Attributes:
        members: nets in the ensemble.
        stacked: train the members as one program, each as if it were alone; False: one after another. (`fleet` is its
            former name.)
        order: of the lists: each member's "own", or that of the "first" for all, with which all go through one stacked
            net: fewer and larger products, half the time for a linear base on a CPU; dropout is then another.
    """

    RENAMED: ClassVar = {"fleet": "stacked"}

    members: int = 10
    stacked: bool = True
    order: Literal["own", "first"] = "own"

    def __post_init__(self):
        check(
            self,
            members=(self.members >= 1, "1 or more"),
            order=(self.stacked or self.order == "own", '"own" where stacked = false'),
        )
        super().__post_init__()


def drawn(queries: int, seed: int) -> np.ndarray:
    """How often each query is drawn by n draws with replacement out of n, int64 `[query]`; they sum to n."""
    return np.random.default_rng(seed_of("bootstrap", seed)).multinomial(queries, np.full(queries, 1 / queries))


@register_composed(
    "bagged",
    BaggedConfig,
    formula="s = 1/B sum_b s_b, s_b trained on sum_q c_bq l_q / sum_q c_bq, c_b ~ Multinomial(n; 1/n, ...)",
    source="Breiman, Machine Learning 24 (1996), bagging; queries as the units of the bootstrap",
)
class BaggedRanker(ComposedRanker):
    """The mean of the members' scores.

    Scores are averaged as they are. One loss on one kind of net gives all members one scale, on which a member that is
    sure moves the mean further; what a loss leaves free, a constant a list, moves no ranking. Standardising within each
    list would give the least sure member the same say, and would let a document's score depend on its list. (Losses
    that ignore the scale of scores leave it to the length of training; members then weigh as they come.)

    `history` has one row: the epochs of the longest training, the mean of the members' last losses, and the measure of
    the mean scores on validation. Each member's own curve and best epoch are in `models`.

    Attributes:
        models: the members, ordinary rankers of the base; also in the subfolders `member-0`, ... of a saved folder.
    """

    @property
    def _folders(self) -> list[str]:
        return [f"member-{b}" for b in range(self.config.members)]

    def _ready(self) -> None:
        from . import stacked  # noqa: F401  (seconds, the first time)

    def _fit(self, job: ObjectiveJob) -> int:
        from .stacked import fit_stacked

        c, began = self.config, time.perf_counter()
        seeds = [seed_of("member", job.seed, b) for b in range(c.members)]  # those of few are the first of many
        models = [NeuralRanker(c.base, c.net, self.training, loss=job.loss, seed=seed) for seed in seeds]
        times = np.stack([drawn(job.train.n_queries, seed) for seed in seeds])
        for group in [slice(None)] if c.stacked else [slice(b, b + 1) for b in range(c.members)]:
            fit_stacked(
                models[group],
                job.train,
                job.vali,
                objective=job.train.objectives[job.objective],
                select=job.measure,
                times=times[group],
                order=c.order,
                progress=job.on_progress,
                accelerator=job.accelerator,
                folder=job.folder if job.folder is None or c.stacked else job.folder / self._folders[group.start],
            )
        self.models = models
        epoch, loss = max(len(m.history) for m in models), float(np.mean([m.history[-1]["loss"] for m in models]))
        vali = None if job.vali is None else float(job.select(self._score(job.vali)))
        self.best = {"epoch": epoch, "vali": None if vali is None or np.isnan(vali) else vali}
        self.history = [{"epoch": epoch, "loss": loss, "vali": self.best["vali"]}]
        documents = self._trained(models, began)
        self.cost["peak_memory"] = max(model.cost["peak_memory"] for model in models)
        return documents

    def _score(self, split: Split) -> np.ndarray:
        from .stacked import score_stacked

        return score_stacked(self.models, split).mean(0, dtype=np.float64).astype(np.float32)
