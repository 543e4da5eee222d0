"""What all multi-objective methods share: the catalogue, the verbs with their checks, the folder one is kept in.

    method = make_method("hyperdpo", alpha=0.5).fit(task)
    method.score(task.test, lattice(2))             # float32 [preference, documents]

A method trains on `task.train` and chooses on `task.vali`; the test split is not looked at. It says what its scores
are made of, `terms(w)`; scoring and export follow from that. An entry of the catalogue is its class. Claims:

    config      its parameters, a frozen dataclass
    preference  what one does: "continuous": every preference has its ranking; "fixed": those that `fit` was given;
                "ignored": one ranking, the same for all
    means       what w asks for: "importance", "balance" (losses along 1/w) or "direction" (along w); see objectives/
    base        whether the method starts from a reference ranker; without one it trains its own, on the main label
                (`fit(main=...)`) or else the first objective
    models      what `fit` trains: "one", one "preference" or "objective"
    payoff      one net an objective is trained before, for the pay-off table of the losses
    corners     what share of the way from the net of another objective to that of its own a corner may stay short
    scaling     False: the scaling law (reference.py) does not hold of the method as a whole
    trees       its models are boosted trees, not nets
    draws       False: without randomness of its own, any seed gives the same scores
    learns      False: nothing is learned, there are no parameters
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from ltr.atomic import whole_folder
from ltr.catalogue import Catalogue
from ltr.errors import InputError, unknown_name
from ltr.losses import LOSSES, loss
from ltr.losses.base import Loss
from ltr.losses.preference.base import PreferenceLoss, preference_loss
from ltr.objectives import check_preference, lattice
from ltr.progress import listener
from ltr.rankers import RANKERS, load_ranker, make_ranker
from ltr.rankers.conditional.ranker import ConditionedRanker
from ltr.rankers.config import TrainingConfig
from ltr.rankers.devices import asked_device
from ltr.rankers.neural import NeuralRanker
from ltr.rankers.operations import counted
from ltr.schema import bind, changed, to_dict
from ltr.types import Ranker, Split, Task

from .criteria import ObjectiveLoss, by_gain
from .reference_choice import MethodAsRanker, ReferenceChoice
from .terms import Term, combined, on_host

__all__ = ["METHODS", "FitContext", "Method", "MethodConfig", "TrainedConfig"]

_FAMILIES = (
    "scalarised gradient_methods boosted_trees hyperdpo modpo soups preference_conditioned ric spo plug_in "
    "baselines conditioned_trees gdpo"
)


class MethodCatalogue(Catalogue):
    """Methods; what most of them claim need not be said: a preference asks for importance, and nothing comes before."""

    def register(self, name: str, *, means: str = "importance", base: bool = False, **claims: Any):
        return super().register(name, **claims, means=means, base=base)


METHODS = MethodCatalogue(
    "method", [f"ltr.methods.{family}" for family in _FAMILIES.split()], aliases={"free": "unconditioned"}
)
FORMAT, MARK = 1, "method.json"


@dataclass(frozen=True)
class TrainedConfig:
    """What every method has that trains rankers of the catalogue.

    Attributes:
        ranker: what is trained: a net (linear, mlp or transformer), or for `single-objective` any of the catalogue.
        ranker_params: its parameters.
        training: settings of each training of a net.
        loss: list loss of every objective, a name of the catalogue of losses. Of a method with a reference: its value
            on beta (s - s_ref), or a loss with a reference of its own (lipo, mallowspo, dpo, ipo ...), where the method
            trains its own base with listnet.
        loss_params: its parameters, e.g. target = "lin", "gain" or "soft" of listnet. The `gain` of losses that have
            one is that of each objective (`task.facts["gains"]`, see objectives/objective.py) unless given here.
        losses: objective -> a loss of its own in place of `loss`, with defaults: { group = "exposureparity" } where
            labels are groups or categories. Of the methods that add up list losses.
        measures: one an objective, by which validation chooses; empty: nDCG(gain=...,empty=skip)@10, with its gain.
    """

    ranker: str = "mlp"
    ranker_params: dict[str, Any] = field(default_factory=dict)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    loss: str = "listnet"
    loss_params: dict[str, Any] = field(default_factory=dict)
    losses: dict[str, str] | None = None  # None stays out of tables: configs keep the hash they had
    measures: tuple[str, ...] = ()


@dataclass(frozen=True)
class MethodConfig(TrainedConfig):
    """What every method trained by gradients has.

    Attributes:
        stacked: train the models of several preferences as one batched program, each as if it were alone
            (rankers/ensembles/stacked.py; only their dropout masks are other ones); False: one after another. (`fleet`
            is its former name.)
    """

    RENAMED: ClassVar = {"fleet": "stacked"}

    stacked: bool = True


@dataclass(frozen=True)
class FitContext:
    """One call of `fit`, checked.

    Attributes:
        train, vali: the lists; `vali` may hold none, then nothing is chosen.
        objectives: their names.
        preferences: float64 `[preference, objective]` that were asked for: to train for, or to choose by.
        base: reference ranker, or None.
        references: its scores of train and vali, float32 `[documents]` each.
        weights: its weights, where it is a net of the config that is trained; else None.
        measures: one an objective.
        seed, folder, progress, accelerator: as in `FittedRanker.fit`.
    """

    train: Split
    vali: Split | None
    objectives: tuple[str, ...]
    preferences: np.ndarray
    base: Ranker | None
    references: tuple[np.ndarray | None, np.ndarray | None]
    weights: Mapping[str, Any] | None
    measures: tuple[str, ...]
    seed: int
    folder: Path | None
    progress: Callable[..., Any] | None
    accelerator: str

    def fit(self, ranker: Any, name: str = "model0", **own: Any) -> Any:
        """`ranker`, trained on these lists as this call asks; checkpoints lie in `name`, `own` is given to it alone."""
        folder = self.folder and self.folder / name
        how = {"seed": self.seed, "folder": folder, "progress": self.progress, "accelerator": self.accelerator}
        return ranker.fit(self.train, self.vali, **how, **own)

    def fit_conditioned(self, ranker: ConditionedRanker, name: str = "model0", **own: Any) -> ConditionedRanker:
        """The same for a net that is told preferences, chosen at those that were asked for unless `own` says others."""
        return self.fit(ranker, name, **{"measures": self.measures, "preferences": self.preferences, **own})


@dataclass(eq=False, repr=False)
class Method(ABC):
    """Base of the methods. A child writes `_fit(context)`, `terms(w)` if need be, and what else it must remember.

    Attributes:
        name: in the catalogue.
        config: its parameters.
        seed: default of `fit(seed=...)`, and after it the one that was used.
        objectives: in the order of every preference; empty before `fit`.
        gains: what a label of each is worth, "exp2" or "linear": `task.facts["gains"]`, else exp2. Of `fit` only.
        base: the reference ranker, where there is one.
        models: what was trained, in the order it was trained; rankers with `score`, `save`, `cost`.
        preferences: float64 `[preference, objective]` that `fit` was given.
        cost: seconds (of the whole fit) and cpu_seconds (processor time of all threads), operations (of all trainings,
            see rankers/operations.py), models_trained, n_parameters (of all that scoring needs, without the base).
        memory: plain values a child wants back after `load`.
    """

    name: str
    config: Any
    seed: int = 0
    objectives: tuple[str, ...] = field(default=(), init=False)
    gains: tuple[str, ...] = field(default=(), init=False)
    base: Any = field(default=None, init=False)
    models: list[Any] = field(default_factory=list, init=False)
    preferences: Any = field(default=None, init=False)
    cost: dict[str, Any] = field(default_factory=dict, init=False)
    memory: dict[str, Any] = field(default_factory=dict, init=False)

    @property
    def claims(self) -> dict[str, Any]:
        return METHODS[self.name].claims

    def terms(self, w: np.ndarray) -> list[Term]:
        """What the scores at the preference w `[objective]` are made of: the ranking is that of the sum of these.

        By default one model: the only one there is, or, of methods that train one a preference, that of w.

        Raises:
            InputError: a method of fixed preferences was not fitted for this one.
        """
        return [Term(1.0, self.models[0 if self.claims["models"] == "one" else self._of_preference(w)], w)]

    @property
    def models_trained(self) -> int:
        """Trainings that `fit` ran, that of a base included; 0 before."""
        return self.cost.get("models_trained", 0)

    def fit(
        self,
        task: Task,
        base: Ranker | None = None,
        *,
        main: str | None = None,
        preferences=None,
        seed: int | None = None,
        folder: Path | str | None = None,
        progress: Callable[..., Any] | bool | None = None,
        accelerator: str = "auto",
        device: Any = None,
    ) -> Method:
        """Trains on `task.train`, chooses on `task.vali`, and returns itself.

        Args:
            task: with at least two objectives.
            base: a fitted ranker as s_ref, for methods that start from one; None trains one on the main label.
            main: label column of the task that is kept apart: the reference ranker learns it, and it is no objective.
                None: no label is, and the first objective plays its part.
            preferences: `[preference, objective]`; with the claim "fixed" it trains one model for each (the
                lattice of the front protocol by default); others choose their epoch by them.
            seed: the one given to the constructor by default.
            folder: where checkpoints lie; a second call with the same folder continues.
            progress: called with a `Progress` after each epoch of each training; by default a bar, see
                `FittedRanker.fit`.
            accelerator, device: auto, cpu, gpu or mps, see `FittedRanker.fit`.

        Raises:
            InputError: one objective only, no such main label, an invalid preference, a base for a method that takes
                none.
        """
        start, busy = time.perf_counter(), time.process_time()
        accelerator = asked_device(accelerator, device)
        self.seed = self.seed if seed is None else seed
        if main is not None and main not in task.objectives:
            raise unknown_name("label of the task", main, task.objectives)
        names = tuple(name for name in task.objectives if name != main)
        m = len(names)
        if m < 2:
            raise InputError(f"method {self.name!r} trades objectives off", expected="at least 2", came=list(names))
        if base is not None and not self.claims["base"]:
            raise InputError(f"method {self.name!r} starts from no reference ranker", do="Leave base out.")
        gains = _by_label("gain", task, task.facts.get("gains") or ("exp2",) * len(task.objectives))
        self.gains = tuple(gains[name] for name in names)
        own = (f"nDCG(gain={g},empty=skip)@10" for g in gains.values())
        measures = _by_label("measure", task, self.config.measures or tuple(own))
        asked = self._asked(m) if preferences is None else np.atleast_2d(check_preference(preferences, names))
        vali = task.vali if task.vali is not None and task.vali.n_documents else None
        folder = None if folder is None else Path(folder)
        with listener(progress, self.name) as progress, counted() as counter:
            self.models, self.memory, extra = [], {}, 0
            if base is None and self.claims["base"]:
                base, extra = self._train_base(task, main, gains, measures, folder and folder / "base", accelerator)
            self.base, self.objectives, self.preferences = base, names, asked
            references: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
            if base is not None:
                references = (base.score(task.train), None if vali is None else base.score(vali))
            context = FitContext(
                task.train if main is None else _only(task.train, names),
                vali if main is None or vali is None else _only(vali, names),
                names,
                asked,
                base,
                references,
                self._weights(base),
                tuple(measures[name] for name in names),
                self.seed,
                folder,
                progress,
                accelerator,
            )
            trained = self._fit(context)
        self.cost = {
            "seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - busy,
            "operations": counter.operations,
            "models_trained": trained + extra,
            "n_parameters": sum(model.n_parameters for model in self.models),
        }
        return self

    def __repr__(self) -> str:
        own = f"{self.name}({changed(self.config)})"
        return f"{own}, fitted to {', '.join(self.objectives)}" if self.models else f"{own}, not fitted"

    def score(self, split: Split, preferences, **options) -> np.ndarray:
        """float32 `[preference, documents]` in the split's order, higher is better; labels are not looked at.

        Args:
            preferences: `[preference, objective]`, each >= 0 with sum 1; one alone, `[objective]`, counts as one row.
            options: of the method, see its page.

        Raises:
            InputError: not fitted, an invalid preference, or one that a method of fixed preferences has no model for.
        """
        scores = self._score(split, self._checked(preferences), **options)
        return np.ascontiguousarray(on_host(scores), dtype=np.float32)

    def score_tensor(self, split: Split, preferences, **options):
        """As `score`, a tensor: scores of nets stay on their device, those of trees come from the host."""
        scores = self._score(split, self._checked(preferences), **options)
        return torch.as_tensor(scores, dtype=torch.float32).contiguous()

    def _checked(self, preferences) -> np.ndarray:
        if not self.models:
            raise InputError(f"method {self.name!r} is not fitted", do="Call fit, or load one that was saved")
        return np.atleast_2d(check_preference(preferences, self.objectives))

    def save(self, folder: Path | str) -> None:
        """Writes the folder `load_method` reads: method.json, a folder a model, the base; whole or not at all."""
        if not self.models:
            raise InputError(f"method {self.name!r} is not fitted, there is nothing to save")
        facts = {
            "format": FORMAT,
            "name": self.name,
            "config": to_dict(self.config),
            "seed": self.seed,
            "objectives": list(self.objectives),
            "preferences": self.preferences.tolist(),
            "cost": self.cost,
            "models": len(self.models),
            "base": self.base is not None,
            "memory": self.memory,
        }
        with whole_folder(folder, MARK) as into:
            for i, model in enumerate(self.models):
                model.save(into / f"model{i}")
            if self.base is not None:
                self.base.save(into / "base")
            (into / MARK).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

    # ------------------------------------------------------------------------------------------ for the children

    def _asked(self, m: int) -> np.ndarray:
        """The preferences of a `fit` that was given none."""
        # Few are enough to choose an epoch by; a model for each is what the protocol asks for.
        return lattice(m) if self.claims["preference"] == "fixed" else lattice(m, 4 if m == 2 else 2)

    @abstractmethod
    def _fit(self, context: FitContext) -> int:
        """Fills `models` (and `memory`); returns how many trainings it ran."""

    def _score(self, split: Split, preferences: np.ndarray, **options: Any):
        """`[preference, documents]`: of nets a tensor where they live, else an array."""
        return combined([self.terms(w, **options) for w in preferences], split)

    def _of_preference(self, w: np.ndarray) -> int:
        """Which model the preference w has."""
        distance = np.abs(self.preferences - w).max(1)
        nearest = int(distance.argmin())
        if distance[nearest] > 1e-6:
            raise InputError(
                f"method {self.name!r} has one model a preference, and none for this one",
                came=w.tolist(),
                do=f"Give it to fit, or take the nearest: {self.preferences[nearest].round(6).tolist()}",
            )
        return nearest

    def _load_model(self, folder: Path) -> Any:
        return load_ranker(folder) if (folder / "ranker.json").is_file() else ConditionedRanker.load(folder)

    def _train_base(self, task: Task, main, gains, measures, folder, accelerator) -> tuple[Any, int]:
        """The reference ranker, and how many trainings it took: by default the method's own net and loss."""
        c, vali = self.config, task.vali if task.vali is not None and task.vali.n_documents else None
        epochs, choice = getattr(c, "reference_epochs", None), getattr(c, "reference", None)
        settings = to_dict(c.training if epochs is None else replace(c.training, epochs=epochs))
        choice = choice or ReferenceChoice(ranker=c.ranker, params=c.ranker_params)
        if choice.method is not None:
            entry, w = METHODS[choice.name], choice.asked(task.objectives, main)
            config = bind(entry.claims["config"], choice.params, where=f"reference.params of {entry.name}")
            method = entry.function(entry.name, config, seed=self.seed)
            asked = {"preferences": w[None]} if entry.claims["preference"] == "fixed" else {}
            method.fit(task, folder=folder, accelerator=accelerator, **asked)
            return MethodAsRanker(method, w), method.models_trained
        learned, params = choice.learned(task.objectives, main), {**choice.params}
        given: dict[str, Any] = {}
        if RANKERS[choice.name].claims["needs_loss"]:
            training = {**settings, **params.pop("training", {})}
            given = {"loss": self._plain_loss(gains[learned], learned), "training": training}
        ranker = make_ranker(choice.name, seed=self.seed, **given, **params)
        how = {"objective": learned, "select": measures[learned], "folder": folder, "accelerator": accelerator}
        return ranker.fit(task.train, vali, **how), 1

    def _plain_loss(self, gain: str, objective: str) -> Loss:
        """The loss of the config for a ranker that learns one label of this gain, without a reference."""
        if objective in (getattr(self.config, "losses", None) or {}):
            return loss(self.config.losses[objective])
        name, params = (self.config.loss, self.config.loss_params) if self.config.loss in LOSSES else ("listnet", {})
        bound = by_gain(preference_loss(f"{name}-dpo", **params), (gain,))
        own = {"gain": gain} if isinstance(bound, ObjectiveLoss) else {}
        return loss(name, **{**params, **own})

    def _loss(self) -> PreferenceLoss:
        """The list loss of the config, as every objective of this fit needs it."""
        return self._by_gain(preference_loss(f"{self.config.loss}-dpo", **self.config.loss_params))

    def _by_gain(self, loss: PreferenceLoss) -> PreferenceLoss:
        """A list loss as the objectives of this fit need it, each with its own gain, or another in its place."""
        own = self.config.losses or {}
        for name in own:
            if name not in self.objectives:
                raise unknown_name("objective of losses", name, self.objectives)
        return by_gain(loss, self.gains, [own.get(name, "") for name in self.objectives])

    def _weights(self, base):
        """Weights of the base to start from: only those of the net that is trained here, on the same inputs."""
        if not isinstance(base, NeuralRanker) or base.name != getattr(self.config, "ranker", None):
            return None
        wanted = bind(type(base.config), self.config.ranker_params, where=base.name)
        ours, theirs = self.config.training, base.training
        same = all(getattr(ours, key) == getattr(theirs, key) for key in ("transform", "missing", "context"))
        if base.config != wanted or not same:
            return None
        return {k: v.detach().cpu() for k, v in base.net.state_dict().items()}

    def _reference(self, split: Split):
        """Scores of the base on a split, a tensor on the device of the models; None without a base."""
        if self.base is None:
            return None
        own = getattr(self.base, "score_tensor", self.base.score)  # trees score on the host
        return self._here(own(split))

    def _here(self, scores):
        """Array or tensor as a float32 tensor on the device of the models, which are nets."""
        if isinstance(scores, np.ndarray):  # copied: a column of a memory map is read-only, which torch warns of
            return torch.tensor(scores, dtype=torch.float32, device=self.models[0].device)
        return scores.to(self.models[0].device, torch.float32)


def _by_label(what: str, task: Task, values: Sequence[str]) -> dict[str, str]:
    """Label column of a task -> what was given for it."""
    names = task.objectives
    if len(values) != len(names):
        raise InputError(f"one {what} an objective", expected=f"{len(names)}: {', '.join(names)}", came=list(values))
    return dict(zip(names, values, strict=True))


def _only(split: Split, names: Sequence[str]) -> Split:
    """A split with some of its label columns."""
    assert split.labels is not None
    return split.having(labels=split.labels[:, [split.objectives.index(n) for n in names]], objectives=tuple(names))
