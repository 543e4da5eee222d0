"""A conditioned net behind the two verbs: one training, scores for any preference.

    ranker = ConditionedRanker("mlp", conditioning=ConditioningConfig("film", "scratch"))
    ranker.fit(task.train, task.vali, criterion=...)
    ranker.score(task.test, preferences)                # float32 [preference, documents]

With `kind="none"` it is a plain net that learns several objectives at once. The criterion says what a step descends;
`methods` makes them. It is a module with

    draw(labels, where, generator) -> preferences [preference, objective] or [batch, preference, objective]; beta|None
    forward(scores [batch, preference, list], labels [batch, list, objective], where, preferences, *, beta, reference,
            generator) -> a number, or one loss an objective
    backward(losses, scores, preferences, parameters, generator)    writes `.grad`
    looks_back, objectives(...), update(after)                      of criteria that remember, see `ConditionedModule`
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

import ltr.rankers.devices as devices
from ltr.atomic import whole_folder
from ltr.datasets.batching.batches import Batches
from ltr.datasets.transforms import Transform
from ltr.errors import InputError
from ltr.rankers.base import RANKERS
from ltr.rankers.config import HEADLINE, CheckpointsKept, TrainingConfig
from ltr.rankers.notes import blank_lists
from ltr.rankers.sealed import broken_facts, read_sealed, seal
from ltr.rankers.training.checkpoint import load_weights
from ltr.rankers.training.job import FitJob, Progress, check_features, check_splits, nothing, told_names
from ltr.rankers.training.prepare import Prepared, seeded
from ltr.rankers.training.validation import PreferenceQuality, weighted_mean
from ltr.schema import bind, to_dict
from ltr.types import Split

from .checkpoints import Checkpoints
from .config import STEERING, ConditioningConfig
from .nets import DOCUMENTS_ONCE, Conditioned
from .tensors import finite, padded

__all__ = ["ConditionedRanker"]

_FORMAT, _MARK = 1, "conditioned.json"
_KEPT = ("name", "scale", "seed", "n_features", "feature_names", "best", "history", "cost", "notes")


@dataclass(eq=False)
class ConditionedRanker:
    """A net conditioned on preferences.

    Attributes:
        name: of the net: linear, mlp or transformer.
        config: its config, or a table of its parameters.
        conditioning: where w enters, and whether it adds to a reference.
        training: settings of the training.
        scale: factor of the net's output, see `Conditioned`.
        objectives: of the label axis and of every preference; known after `fit`.
        feature_names, best, history, cost, notes: as in `FittedRanker`; with several checkpoints, best["epochs"] is the
            epoch of each preference that `fit` was given.
    """

    network: ClassVar[type] = Conditioned  # class of the net

    name: str = "mlp"
    config: Any = None
    conditioning: ConditioningConfig = field(default_factory=ConditioningConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    scale: float = 1.0
    seed: int = 0
    objectives: tuple[str, ...] = field(default=(), init=False)
    n_features: int | None = field(default=None, init=False)
    feature_names: tuple[str, ...] = field(default=(), init=False)
    net: Any = field(default=None, init=False)
    transform: Any = field(default=None, init=False)
    best: dict[str, Any] = field(default_factory=dict, init=False)
    history: list[dict[str, Any]] = field(default_factory=list, init=False)
    cost: dict[str, Any] = field(default_factory=dict, init=False)
    notes: list[str] = field(default_factory=list, init=False)

    def __post_init__(self):
        entry = RANKERS[self.name]
        if entry.claims["kind"] != "neural":
            raise InputError(f"ranker {self.name!r} is no net", expected="linear, mlp or transformer")
        if not isinstance(self.config, entry.claims["config"]):
            self.config = bind(entry.claims["config"], self.config or {}, where=self.name)

    @property
    def n_parameters(self) -> int:
        return 0 if self.net is None else sum(p.numel() for p in self.net.parameters())

    @property
    def device(self) -> torch.device:
        return next(self.net.parameters()).device

    @property
    def inner(self) -> nn.Module:
        """The net of `nets.py` in it."""
        return self.net.net

    def build(self, inputs: int, seed: int, objectives: Sequence[str]) -> None:
        """A net with fresh weights."""
        self.objectives = tuple(objectives)
        with seeded(seed):
            self.net = self.network(self.config, self.conditioning, inputs, len(objectives), self.scale)

    def fit(
        self,
        train: Split,
        vali: Split | None = None,
        *,
        criterion: Any,
        measures: Sequence[str] | None = None,
        preferences: np.ndarray | None = None,
        quality: Callable[[np.ndarray, np.ndarray], float] = weighted_mean,
        references: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
        controls: Sequence[float] = (1.0,),
        weights: Mapping[str, Any] | None = None,
        beta: float | Sequence[float] | None = None,
        checkpoints: CheckpointsKept = None,
        seed: int | None = None,
        folder: Path | str | None = None,
        progress: Callable[[Progress], Any] | None = None,
        accelerator: str = "auto",
    ) -> ConditionedRanker:
        """Trains on `train`, keeps the epoch with the best quality on `vali`, and returns itself.

        Args:
            train, vali: labelled lists; without `vali` the last epoch is kept.
            criterion: what a step descends, see above.
            measures: one an objective, of the selection; the headline measure by default.
            preferences: `[preference, objective]` the selection looks at; equal weights by default.
            quality: `[preference, objective]` values and the preferences -> what selects; by default the weighted sum.
            references: s_ref of train and vali, float32 `[documents]` each.
            controls: an epoch is judged at the best of these lambda, s_ref + lambda (s - s_ref).
            weights: state of a net of the same config to start from.
            beta: temperature the selection looks at, for a net that is conditioned on it.
            checkpoints: "per-preference" keeps the best epoch of each of the preferences, and scores others by that of
                the nearest; "one" (also None) keeps one for all.
            seed, folder, progress, accelerator: as in `FittedRanker.fit`.
        """
        from ltr.rankers.training.loop import train as run  # Lightning: seconds, the first time

        from .training import ConditionedModule, Trainee

        check_splits(train, vali)
        if self.conditioning.frozen and weights is None:
            raise InputError(
                "frozen keeps the net of the reference, and the reference is no net of this shape on these inputs",
                do="Leave frozen out, or start from a reference with the same ranker, ranker_params and transform.",
            )
        self.seed = self.seed if seed is None else seed
        self.n_features, self.feature_names, m = train.n_features, told_names(train), len(train.objectives)
        shown = np.asarray(np.full((1, m), 1 / m) if preferences is None else preferences, np.float32)
        measures = tuple(measures or (HEADLINE,) * m)
        chosen = nothing if vali is None else PreferenceQuality(measures, vali, quality, shown, references[1], controls)
        job = FitJob(
            train=train,
            vali=vali,
            select=chosen,
            seed=self.seed,
            folder=None if folder is None else Path(folder),
            on_progress=progress,
            accelerator=accelerator,
        )
        data = Prepared(job, self.training)
        self.transform = data.transform
        # Label columns behind those the measures speak of are for the criterion.
        self.build(data.width, self.seed, train.objectives[: len(measures)])
        data.prepare([self.net])
        if weights is not None:
            self.net.start_from(weights)
        facts = {
            "net": self.name,
            "config": to_dict(self.config),
            "conditioning": to_dict(self.conditioning),
            "training": to_dict(self.training),
            "scale": self.scale,
            "criterion": repr(criterion),
            "seed": self.seed,
            "measures": measures,
            "beta": beta,
            "controls": tuple(controls),
        }
        each = checkpoints == "per-preference" and vali is not None
        if each:
            facts["checkpoints"] = checkpoints
        identity = data.identity(facts, (*references, shown, *(() if weights is None else weights.values())))
        module = ConditionedModule(Trainee(self.net, criterion), job, self.training, shown, beta, references, each)
        before, notes = run(module, data, identity)
        state = module.state
        self.history = state.history
        documents = data.batches.n_documents * len(state.history)
        self.cost = data.cost(state, before, documents)
        # Preferences that meet the net at its end share all that lies before.
        drawn, kind = getattr(getattr(criterion, "source", None), "number", 1), self.conditioning.kind
        rows = float(1 if kind in DOCUMENTS_ONCE else drawn)
        if kind in (*STEERING, "prompt"):  # a preference's prompts pass the net beside the documents of a list
            rows += drawn * self.conditioning.prompts * train.n_queries / max(train.n_documents, 1)
        passes = rows * getattr(criterion, "passes", 1.0)
        self.cost["operations"] = data.operations(self.inner, self.config, documents, passes=passes)
        self.net, self.best = module.chosen()
        self.net.to(data.device)
        self.notes = blank_lists(train, range(len(measures)), vali) + notes
        return self

    def score(
        self,
        split: Split,
        preferences: np.ndarray,
        *,
        reference: np.ndarray | None = None,
        beta: float | Sequence[float] | None = None,
    ) -> np.ndarray:
        """float32 `[preference, documents]` in the split's order; labels are not looked at.

        Args:
            preferences: `[preference, objective]`, valid ones.
            reference: s_ref of the split, float32 `[documents]`, for an augmented net.
            beta: temperature, or one an objective, for a net that is conditioned on it.
        """
        return self.score_tensor(split, preferences, reference=reference, beta=beta).cpu().numpy()

    def score_tensor(
        self, split: Split, preferences: np.ndarray, *, reference=None, beta: float | Sequence[float] | None = None
    ) -> Tensor:
        """As `score`, a tensor on the net's device; `reference` may be one."""
        if self.net is None:
            raise InputError("this conditioned ranker is not fitted", do="Call fit, or load one that was saved")
        check_features(split, self.n_features, self.feature_names)
        net = self.net.eval()
        w = torch.as_tensor(np.asarray(preferences), dtype=torch.float32, device=self.device)
        betas = None if beta is None else w.new_tensor(beta).expand(len(w), *np.shape(beta))
        base = None if reference is None else padded(reference, self.device)

        scores = w.new_zeros(len(w), split.n_documents)
        for batch in Batches(split, device=self.device, transform=self.transform):
            s_ref = None if base is None else base[batch.document]
            with torch.inference_mode():
                part = net.score_many(batch.features, batch.where, w, beta=betas, reference=s_ref)
                scores.index_copy_(1, batch.document[batch.where], part)
        return finite(scores)

    def save(self, folder: Path | str) -> None:
        """Writes the folder `load` reads; it appears whole or not at all."""
        if self.net is None:
            raise InputError("this conditioned ranker is not fitted, there is nothing to save")
        with whole_folder(folder, _MARK) as into:
            torch.save({k: v.cpu() for k, v in self.net.state_dict().items()}, into / "weights.pt")
            self.transform.save(into / "transform.npz")
            facts = {
                "format": _FORMAT,
                "config": to_dict(self.config),
                "conditioning": to_dict(self.conditioning),
                "training": to_dict(self.training),
                "objectives": list(self.objectives),
                **{key: getattr(self, key) for key in _KEPT},
            }
            seal(into, _MARK, facts)

    @classmethod
    def load(cls, folder: Path | str) -> ConditionedRanker:
        """The ranker kept in a folder, ready to score.

        Raises:
            InputError: no such ranker there, a damaged one, or one of another format.
        """
        folder = Path(folder)
        facts, path = read_sealed(folder, _MARK, _FORMAT), folder / _MARK
        with broken_facts(path):
            conditioning = bind(ConditioningConfig, facts["conditioning"], file=path)
            training = bind(TrainingConfig, facts["training"], file=path)
            ranker = cls(facts["name"], facts["config"], conditioning, training)
            for key in _KEPT:
                setattr(ranker, key, facts.get(key, []) if key in ("notes", "feature_names") else facts[key])
            ranker.transform = Transform.load(folder / "transform.npz")
            ranker.build(ranker.transform.width(facts["n_features"]), 0, facts["objectives"])
            if "epochs" in ranker.best:
                epochs = ranker.best["epochs"]
                none = torch.zeros(len(epochs), len(ranker.objectives))
                ranker.net = Checkpoints(ranker.net, len(set(epochs)), none, [0] * len(epochs))
        load_weights(ranker.net, folder / "weights.pt")
        ranker.net.to(devices.pick_device()).eval()
        return ranker
