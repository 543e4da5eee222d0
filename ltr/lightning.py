"""The suite's data and trainings for a Lightning Trainer of one's own.

    module = ltr.lightning.RankingModule(ranker="mlp", loss="lambdarank", measures=["nDCG@10", "MAP"])
    data = ltr.lightning.RankingDataModule("mq2008", fold="Fold1", batch_size=64)
    best = ModelCheckpoint(monitor="vali/nDCG@10", mode="max")
    Trainer(max_epochs=50, callbacks=[best, EarlyStopping("vali/nDCG@10", mode="max")]).fit(module, data)
    ranker = to_ranker(RankingModule.load_from_checkpoint(best.best_model_path))   # scores, is saved, is exported

From the command line, with all options of the two and of the Trainer:

    # train.py
    from lightning.pytorch.cli import LightningCLI
    from ltr.lightning import RankingDataModule, RankingModule
    LightningCLI(RankingModule, RankingDataModule)

    python train.py fit --model.ranker transformer --model.loss listnet --data.data mq2008 --trainer.max_epochs 50

Several processes (`Trainer(strategy="ddp", devices=2)`) share the lists of every batch; with nets that draw nothing and
have no batch norm they follow the trajectory of one process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ltr.datasets import load
from ltr.datasets.batching.batches import Batches
from ltr.datasets.batching.datamodule import ListDataModule
from ltr.datasets.transforms import Transform
from ltr.errors import InputError, check_name
from ltr.methods import make_method
from ltr.methods.preference_conditioned import OneShot
from ltr.metrics.measure import measure
from ltr.objectives import check_preference, lattice
from ltr.rankers import make_ranker
from ltr.rankers.base import FittedRanker
from ltr.rankers.conditional.nets import Conditioned
from ltr.rankers.conditional.training import ConditionedModule, Trainee
from ltr.rankers.config import TrainingConfig
from ltr.rankers.nets import OwnNet
from ltr.rankers.training.job import FitJob
from ltr.rankers.training.prepare import Prepared
from ltr.rankers.training.ranking import RankingModule, TrainerFace
from ltr.rankers.training.validation import ValidationMeasures
from ltr.schema import bind
from ltr.types import Split, Task

__all__ = ["PreferenceModule", "RankingDataModule", "RankingModule", "gathered", "to_ranker"]


class RankingDataModule(ListDataModule):
    """A fold for a Trainer: batches of like lengths for training, whole lists for everything else.

    Args:
        data: whatever `ltr.load` takes, a task, or a split that is only predicted for.
        fold: the first by default.
        objectives: label columns, the first is the main one.
        roles: of the columns of a table given as data, see `ltr.load`.
        transform, missing: of the features, fitted on train; a module from a checkpoint brings its own.
        batch_size, cells: lists of a batch, and its documents with padding, at most; of all processes together.
        list_size: longer training lists are sampled down to it; 0 keeps them whole.
        seed: of the order of lists and of the samples.
        predict: the split `Trainer.predict` is for.
    """

    def __init__(
        self,
        data: str | Path | Task | Split,
        fold: str | None = None,
        objectives: list[str] | None = None,
        *,
        roles: dict[str, Any] | None = None,
        transform: str = "log1p-standardise",
        missing: str | None = None,
        batch_size: int = 64,
        cells: int = 32_768,
        list_size: int = 240,
        seed: int = 0,
        predict: str = "test",
    ):
        super().__init__(cast(Batches, None))
        self.save_hyperparameters(ignore=() if isinstance(data, str | Path) else ("data",))
        check_name("split to predict for", predict, ("train", "vali", "test"))
        if not isinstance(seed, int):
            raise InputError("seed", expected="a whole number", came=seed)
        if isinstance(data, Task | Split) and (said := fold or objectives or roles):
            raise InputError(
                "fold, objectives and roles are for what is loaded here", came=said, do="ltr.load has them"
            )
        self.source, self.seed, self.predicted = data, seed, predict
        given = {
            "transform": transform,
            "missing": missing,
            "batch_size": batch_size,
            "cells": cells,
            "list_size": list_size,
        }
        self.settings = bind(TrainingConfig, given, where="data")
        self.transform: Transform | None = None
        self.splits: dict[str, Split | None] = {}

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        trainer = cast(Any, self.trainer)
        self.device = trainer.strategy.root_device
        if not self.splits:
            self.splits = self._opened()
        kept = getattr(trainer.lightning_module, "transform", None)
        train, vali = self.splits["train"], self.splits["vali"]
        if train is None and kept is None:
            raise InputError("a split is predicted for by a module that was trained", do="Load one from a checkpoint")
        if train is not None and self.train is None:
            job = FitJob(train=train, vali=vali, seed=self.seed, accelerator=str(self.device))
            self.ready = Prepared(job, self.settings, kept)
            self.train, self.vali, kept = self.ready.batches, self.ready.vali, self.ready.transform
        self.transform = kept or self.transform

    def _opened(self) -> dict[str, Split | None]:
        hp, source = self.hparams, self.source
        if isinstance(source, Split):
            return {"train": None, "vali": None, "test": source}
        task = source if isinstance(source, Task) else load(source, hp["fold"], hp["objectives"], **(hp["roles"] or {}))
        return {
            role: split if split.n_documents else None for role, split in vars(task).items() if isinstance(split, Split)
        }

    @property
    def width(self) -> int:
        """Inputs of a net: what the transform makes of the features."""
        split = next(each for each in self.splits.values() if each is not None)
        return cast(Transform, self.transform).width(split.n_features)

    def _whole(self, role: str) -> Batches | list:
        split = self.splits.get(role)
        if split is None:
            return []
        return self._shared(Batches(split, device=self.device, transform=self.transform))

    def test_dataloader(self) -> Batches | list:
        return self._whole("test")

    def predict_dataloader(self) -> Batches | list:
        """Whole lists of one split; `gathered` puts what `Trainer.predict` returns into its order."""
        return self._whole(self.predicted)


def gathered(predictions: Sequence[Mapping[str, Tensor]]) -> np.ndarray:
    """What `Trainer.predict` returned as scores `[documents]` (`[row, documents]`) in the order of the split.

    >>> gathered([{"document": torch.tensor([2, 0]), "score": torch.tensor([0.5, 1.5])},
    ...           {"document": torch.tensor([1]), "score": torch.tensor([2.5])}]).tolist()
    [1.5, 2.5, 0.5]
    """
    if not len(predictions):
        raise InputError("no predictions", expected="what Trainer.predict returned")
    rows = torch.cat([each["document"] for each in predictions])
    scores = torch.cat([each["score"] for each in predictions])
    return scores[rows.argsort()].movedim(-1, 0).contiguous().cpu().numpy()


def to_ranker(module: RankingModule) -> FittedRanker:
    """A trained module as a ranker of the suite: it scores raw features, is saved, compared and exported.

    Args:
        module: after `Trainer.fit`, or from `RankingModule.load_from_checkpoint`.

    Raises:
        InputError: nothing was trained.
    """
    transform = getattr(module, "transform", None)
    if transform is None or getattr(module, "net", None) is None:
        raise InputError("this module is not trained", do="Fit it, or load it from a checkpoint")
    named = hasattr(module, "config")
    params = vars(module.config) if named else {}
    ranker: Any = make_ranker(module.hparams["ranker"] if named else cast(OwnNet, module.net).net, **params)
    ranker.transform, ranker.net, ranker.seed = transform, module.net.eval(), module.hparams["seed"]
    inputs, indicators = module.hparams["n_features"], transform.extra
    ranker.n_features, ranker.objective = inputs - indicators, module.hparams["objective"] or "relevance"
    return ranker


class PreferenceModule(ConditionedModule, TrainerFace):
    """One net for every preference, trained by a method that needs nothing before it: yoto, cosmos, phn.

    It logs `train/loss`, and for validation and test `STAGE/quality`, the mean over preferences of the weighted
    measures, and `STAGE/OBJECTIVE`, each objective's measure at its own corner.

    Args:
        method: its name in the catalogue of methods.
        params: its parameters, those of the net, its loss and its training among them.
        n_features, objectives: found in the data by default, and kept in the checkpoint.
        preferences: `[preference][objective]` that validation scores for; a small lattice by default.
        measures: one an objective; nDCG@10 by default.
        seed: of weights and draws.
    """

    def __init__(
        self,
        method: str = "yoto",
        params: dict[str, Any] | None = None,
        *,
        n_features: int | None = None,
        objectives: list[str] | None = None,
        preferences: list[list[float]] | None = None,
        measures: list[str] | None = None,
        seed: int = 0,
    ):
        self.method: Any = make_method(method, seed=seed, **(params or {}))
        if not isinstance(self.method, OneShot) or self.method.normalised:
            what = f"method {method!r} trains other models first"
            raise InputError(what, expected="yoto, cosmos or phn", do="Use ltr.make_method(...).fit(task)")
        nothing: Any = None
        super().__init__(nothing, nothing, self.method.config.training, nothing, None, (None, None))
        self.save_hyperparameters()
        if n_features is not None and objectives is not None:
            self._build(n_features, objectives)

    def _build(self, width: int, objectives: Sequence[str]) -> None:
        c, m = self.method.config, len(objectives)
        self.method.gains = ("exp2",) * m
        config = make_ranker(c.ranker, **c.ranker_params).config
        net = Conditioned(config, c.conditioning, width, m)
        self.net = Trainee(net, self.method._criterion(m))
        self.hparams["objectives"] = list(objectives)
        asked = self.hparams["preferences"]
        shown = lattice(m, 4 if m == 2 else 2) if asked is None else check_preference(asked, objectives)
        self.shown = np.concatenate([np.eye(m), np.atleast_2d(shown)]).astype(np.float32)  # corners first

    def _job(self, train: Split, vali: Split | None) -> FitJob:
        known, measures, m = self.hparams["objectives"], self.hparams["measures"], len(train.objectives)
        if m < 2 or known is not None and tuple(known) != train.objectives:
            expected = "two or more" if known is None else f"{', '.join(known)}, in this order"
            raise InputError("objectives of the data", expected=expected, came=list(train.objectives))
        if measures is not None and (isinstance(measures, str) or len(measures) != m):
            raise InputError("measures", expected=f"one an objective, for {', '.join(train.objectives)}", came=measures)
        return FitJob(train=train, vali=vali, seed=self.hparams["seed"])

    def on_predict_start(self) -> None:
        self._placed()

    def on_test_start(self) -> None:
        self._placed()

    def on_validation_start(self) -> None:
        self._placed()

    def _placed(self) -> None:
        """What `on_fit_start` makes, for a Trainer that only scores."""
        self.references = [None, None]
        self.preferences, self.beta = torch.as_tensor(self.shown, device=self.device), None

    def _measured(self, scores: np.ndarray, split: Split, stage: str) -> dict[str, float]:
        m = len(split.objectives)
        names = self.hparams["measures"] or ["nDCG@10"] * m
        each = ValidationMeasures([repr(measure(n)) for n in names], split)(scores)
        quality = float(np.nansum(each[m:] * self.shown[m:], axis=1).mean())
        return {"quality": quality, **{name: float(each[k, k]) for k, name in enumerate(split.objectives)}}
