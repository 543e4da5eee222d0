"""Pretraining: a net that learns from all lists, without a label, before it learns from those that have labels."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal

from ltr.errors import InputError
from ltr.rankers.config import TrainingConfig, check
from ltr.rankers.neural import NeuralRanker
from ltr.rankers.training.job import FitJob, ObjectiveJob
from ltr.schema import bind, in_todays_words, to_dict

from .composed import ComposedRanker, Member, NetConfig, register_composed

__all__ = ["PretrainedConfig", "PretrainedRanker", "pretrain"]

_NETS = ("mlp", "transformer", "dasalc")
_SHARED = ("transform", "missing", "context")  # both trainings see the same inputs


@dataclass(frozen=True, kw_only=True)
class PretrainedConfig(NetConfig):
    """A net (mlp, transformer or dasalc) that is trained on lists without labels, then with the loss on those with.

    The first training sees the lists given as `unlabelled`, those of train by default, and neither a label nor a
    validation list; the transform is fitted on them. The second begins with its weights, but for a fresh last layer.

    Attributes:
        pretext: what is learned without labels: contrast (a document is to be known again among those of its list) or
            denoising (its inputs are to be put right). Formulas: `ltr.rankers.training.pretraining`.
        corruption: what stands for a value that is replaced: swap (the value of another document) or zero (the mean of
            a standardised input).
        corruption_rate: chance of a value to be replaced.
        temperature: of contrast.
        pretraining: settings of the first training, over those of the second, e.g. `{"epochs": 50}`; its last epoch is
            kept.
    """

    pretext: Literal["contrast", "denoising"] = "contrast"
    corruption: Literal["swap", "zero"] = "swap"
    corruption_rate: float = 0.3
    temperature: float = 0.1
    pretraining: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "pretraining", dict(in_todays_words(TrainingConfig, self.pretraining)))
        check(
            self,
            base=(self.base in _NETS, ", ".join(_NETS)),
            corruption_rate=(0 < self.corruption_rate < 1, "a chance in (0, 1)"),
            temperature=(self.temperature > 0, "above 0"),
        )
        if twice := [key for key in _SHARED if key in self.pretraining]:
            raise InputError(f"{twice[0]} is the same in both trainings", do=f"Set training.{twice[0]}")
        self.settings(TrainingConfig())  # a mistyped key is named here

    def settings(self, training: TrainingConfig) -> TrainingConfig:
        """Of the first training."""
        return bind(TrainingConfig, {**to_dict(training), **self.pretraining}, where="pretraining")

    @property
    def rankers(self) -> tuple[Member, ...]:
        """What is trained for it, beside the net: the same net before."""
        return (Member(self.base, self.base_params, training=self.pretraining),)


@register_composed(
    "pretrained",
    PretrainedConfig,
    formula="s trained on the loss l(s, y) from weights that tell documents apart, or put them right, without y",
    source="Hou et al., 2308.00177 (SimCLR-Rank); of tables: VIME, NeurIPS 2020, and SCARF, 2106.15147",
)
class PretrainedRanker(ComposedRanker):
    """The net after both trainings.

    Attributes:
        models: the net alone, an ordinary one; also in the subfolder `net` of a saved folder.
    """

    _folders = ("net",)

    def _fit(self, job: ObjectiveJob) -> int:
        c, began = self.config, time.perf_counter()
        first = pretrain(c, self.training, job)
        net = NeuralRanker(c.base, c.net, self.training, loss=job.loss, seed=job.seed)
        net.start = first
        job.hand_to(net, "net")
        net.start = None
        self.models, self.history = [net], net.history
        self.best = {**net.best, "pretraining_loss": first.history[-1]["loss"]}
        return self._trained([first, net], began)


def pretrain(config: PretrainedConfig, training: TrainingConfig, job: ObjectiveJob) -> NeuralRanker:
    """The first training: a ranker whose transform and net have seen the unlabelled lists of a job, or those of train.

    Its last layer is as it was drawn; `history` has the losses.
    """
    from ltr.rankers.training.loop import train
    from ltr.rankers.training.prepare import Prepared, seeded
    from ltr.rankers.training.pretraining import Pretrainer, PretrainingModule

    settings = config.settings(training)
    lists = (job.train if job.unlabelled is None else job.unlabelled).having(labels=None, weights=None)
    common: dict[str, Any] = {"seed": job.seed, "on_progress": job.on_progress, "accelerator": job.accelerator}
    alone = FitJob(train=lists, vali=None, folder=job.folder and job.folder / "pretraining", **common)
    data = Prepared(alone, settings)
    ranker = NeuralRanker(config.base, config.net, training, seed=job.seed)
    ranker.transform = data.transform
    ranker.build(data.width, job.seed)
    data.prepare([ranker.net])
    with seeded(job.seed):
        net = Pretrainer(ranker.net, data.width, config)
    facts = {"pretraining": to_dict(config), "training": to_dict(settings), "seed": job.seed}
    module = PretrainingModule(net, alone, settings)
    before, ranker.notes = train(module, data, data.identity(facts))
    ranker.history = module.state.history
    documents = data.batches.n_documents * len(ranker.history)
    ranker.cost = data.cost(module.state, before, documents)
    data.operations(net, config.net, documents, passes=1 if config.pretext == "denoising" else 2)
    return ranker
