"""A run of a ranker: one net, forest or baseline, trained on one objective with one loss."""

from __future__ import annotations

import contextlib
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ltr import losses
from ltr.datasets import load
from ltr.errors import InputError, MissingExtra
from ltr.methods.loss_config import loss_params, takes_loss
from ltr.metrics import measure
from ltr.metrics.presets import spelled
from ltr.objectives import Labelling
from ltr.objectives.tasks import is_made, load_multi
from ltr.rankers import RANKERS, FittedRanker, TrainingConfig, fit_stacked, load_ranker, make_ranker, resolve_params
from ltr.runs.config import LossChoice, RankerChoice, RunConfig
from ltr.schema import to_dict
from ltr.types import Split, Task

from .base import Heard, System, Trained, place_model

__all__ = ["RankerSystem", "fit_together"]

_COUNTED = ("operations", "cpu_seconds")
_LISTED, _CALLS = 100, 20  # documents of the list that is timed, and how often


@dataclass(frozen=True)
class RankerSystem(System):
    """The ranker of a config, with its loss and the settings of its training."""

    place: ClassVar[str] = "ranker"

    @property
    def ranker(self) -> RankerChoice:
        assert self.config.ranker is not None
        return self.config.ranker

    @property
    def name(self) -> str:
        return self.ranker.name

    def resolved(self) -> RunConfig:
        config, name = self.config, self.name
        ranker = RankerChoice(name, resolve_params(name, self.ranker.params))
        if config.data.main is not None:
            raise InputError(
                f"ranker {name!r} learns one label", expected="data.objective", came=f"data.main = {config.data.main!r}"
            )
        if config.preferences is not None:
            raise InputError(f"ranker {name!r} is asked with no preference", do="preferences belong to a method")
        if takes_loss(name) and config.loss is None:
            raise InputError(f"ranker {name!r} is trained with a loss, and none is given", do="Add one: --loss listnet")
        if not takes_loss(name) and config.loss is not None:
            raise InputError(f"ranker {name!r} brings its own objective and takes no loss", came=config.loss.name)
        loss = config.loss and LossChoice(config.loss.name, to_dict(loss_params(config.loss.name, config.loss.params)))
        training = (config.training or TrainingConfig()) if RANKERS[name].claims.get("training") else None
        measures = tuple(dict.fromkeys(repr(measure(m)) for m in spelled(config.measures)))
        if not measures:
            raise InputError("a run reports at least one measure", expected="e.g. nDCG@10", came=list(config.measures))
        select = repr(measure(config.select))
        return replace(config, ranker=ranker, loss=loss, training=training, measures=measures, select=select)

    def _load_task(self, source: str | Path | None) -> Task:
        data = self.config.data
        roles = {} if source else data.roles  # another place holds a store, whose columns have their roles
        if any(is_made(name) for name in data.columns):
            task, labelling = load_multi(source or data.name, data.columns, data.fold, **roles)
            return replace(task, facts={**task.facts, "labelling": labelling})
        return load(source or data.name, fold=data.fold, objectives=data.columns or None, **roles)

    def labelling(self, task: Task) -> Labelling | None:
        return task.facts.get("labelling")

    def measures(self, task: Task) -> dict[str, tuple[str, ...]]:
        return dict.fromkeys(self.config.data.columns or task.objectives[:1], self.config.measures)

    def unfitted(self, seed: int) -> FittedRanker:
        """The ranker as its training begins."""
        config = self.config
        bound = None if config.loss is None else losses.loss(config.loss.name, **config.loss.params)
        settings = {} if config.training is None else {"training": config.training}
        return make_ranker(self.name, loss=bound, seed=seed, **settings, **self.ranker.params)

    def fit(self, task: Task, seed: int, folder: Path, device: str, progress: Heard) -> Trained:
        model = self.unfitted(seed)
        model.fit(
            task.train,
            task.vali,
            objective=next(iter(self.config.data.columns), None),
            select=self.config.select,
            folder=folder,
            accelerator=device,
            progress=_told(progress, self.config.select),
            unlabelled=task.unlabelled if RANKERS[self.name].claims["kind"] == "ensemble" else None,
        )
        return model, _log(model)

    def load(self, folder: Path | str, device: str = "auto") -> FittedRanker:
        inner = Path(folder) / self.place
        return place_model(load_ranker(inner if inner.is_dir() else folder), device)

    def cost(self, model: FittedRanker, log: Mapping[str, Any]) -> dict[str, Any]:
        return {**super().cost(model, log), **{key: log[key] for key in _COUNTED if log.get(key) is not None}}

    @property
    def stack_key(self) -> str | None:
        config = self.config
        if config.training is None or config.loss is None or RANKERS[self.name].claims["kind"] != "neural":
            return None
        if config.data.labelled is not None:  # each seed has labels of its own
            return None
        training = replace(config.training, learning_rate=1.0, weight_decay=0.0)
        return json.dumps(to_dict(replace(config, training=training, loss=None, seed=0, repetition=0)), sort_keys=True)

    def latency(self, model: FittedRanker, split: Split) -> float:
        """Seconds that one list of 100 documents takes, the median of 20 calls of `score`.

        Processor time of all threads on a CPU, which a busy machine does not stretch much; wall time on a GPU. The
        documents are the first of the split, repeated where there are fewer.
        """
        rows = np.resize(np.arange(min(_LISTED, split.n_documents)), _LISTED)
        one = split.having(
            features=np.ascontiguousarray(split.features[rows]),
            labels=None,
            offsets=np.array([0, _LISTED]),
            query_ids=split.query_ids[:1],
            doc_ids=None,
            row=None,
            weights=None,
            positions=None,
        )
        on_gpu = any(
            str(each.device) != "cpu" for each in (model, *getattr(model, "models", ())) if hasattr(each, "device")
        )
        clock, took = time.perf_counter if on_gpu else time.process_time, []
        for _ in range(_CALLS):
            began = clock()
            model.score(one)
            took.append(clock() - began)
        return statistics.median(took)

    def warm_up(self) -> None:
        if self.config.loss is not None:
            import ltr.rankers.training.loop  # noqa: F401  (Lightning)
        else:
            with contextlib.suppress(MissingExtra):
                getattr(make_ranker(self.name), "library", None)


def fit_together(
    systems: Sequence[RankerSystem], task: Task, seeds: Sequence[int], folder: Path, device: str, progress: Heard
) -> list[Trained]:
    """Trains the rankers of one `stack_key` side by side, continuing from the checkpoint in `folder`.

    Returns:
        A ranker and its log for each; `seconds` and the speeds are its share, `stacked` how many they were.

    Raises:
        InputError: they cannot be stacked after all, or one of them cannot be trained.
    """
    first = systems[0].config
    rankers = [system.unfitted(seed) for system, seed in zip(systems, seeds, strict=True)]
    fit_stacked(
        rankers,
        task.train,
        task.vali,
        objective=next(iter(first.data.columns), None),
        select=first.select,
        folder=folder,
        accelerator=device,
        progress=_told(progress, first.select, f", {len(rankers)} nets together"),
    )
    return [(ranker, {**_log(ranker), "stacked": ranker.cost["stacked"]}) for ranker in rankers]


def _told(progress: Heard, select: str, also: str = ""):
    """`progress(done, total, note)` as what rankers tell: their selection measure is the note."""
    return lambda p: progress(p.epoch, p.epochs, ("" if p.vali is None else f"{select} {p.vali:.4f}") + also)


def _log(model: FittedRanker) -> dict[str, Any]:
    """What a training leaves to tell: seconds, speeds, what was counted, selection, history."""
    best: Mapping[str, Any] = model.best
    counted = {key: model.cost.get(key) for key in _COUNTED}
    return {
        "seconds": model.cost["seconds"],
        "documents_per_second": model.cost["documents_per_second"],
        "step_seconds": model.cost.get("step_seconds"),
        **counted,
        "selection": {"value": best.get("vali"), **{k: v for k, v in best.items() if k != "vali"}},
        "history": list(model.history),
    }
