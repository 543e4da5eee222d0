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

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ltr.atomic import read_facts, whole_folder
from ltr.errors import InputError
from ltr.rankers.base import RANKERS, Progress, _check_splits, peak_memory
from ltr.rankers.config import HEADLINE, ConditioningConfig, TrainingConfig
from ltr.rankers.neural import _fingerprint, pick_device
from ltr.schema import bind, to_dict
from ltr.seeds import seed_of
from ltr.types import Split

__all__ = ["ConditionedRanker"]

_FORMAT, _MARK = 1, "conditioned.json"


def _weighted_mean(values: np.ndarray, preferences: np.ndarray) -> float:
    """Mean over preferences of sum_k w_k v_k; an objective that counts on no list leaves the sum."""
    return float(np.nansum(values * preferences, axis=1).mean())


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
        best, history, cost: as in `FittedRanker`.
    """

    name: str = "mlp"
    config: Any = None
    conditioning: ConditioningConfig = field(default_factory=ConditioningConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    scale: float = 1.0
    seed: int = 0
    objectives: tuple[str, ...] = field(default=(), init=False)
    n_features: int | None = field(default=None, init=False)
    net: Any = field(default=None, init=False)
    transform: Any = field(default=None, init=False)
    best: dict[str, Any] = field(default_factory=dict, init=False)
    history: list[dict[str, Any]] = field(default_factory=list, init=False)
    cost: dict[str, Any] = field(default_factory=dict, init=False)

    def __post_init__(self):
        entry = RANKERS[self.name]
        if entry.claims["kind"] != "neural":
            raise InputError(f"ranker {self.name!r} is no net", expected="linear, mlp or transformer")
        if not isinstance(self.config, entry.claims["config"]):
            self.config = bind(entry.claims["config"], self.config or {}, where=self.name)

    @property
    def network(self):
        """Class of the net."""
        from .nets import Conditioned

        return Conditioned

    @property
    def n_parameters(self) -> int:
        return 0 if self.net is None else sum(p.numel() for p in self.net.parameters())

    @property
    def device(self):
        return next(self.net.parameters()).device

    def fit(
        self,
        train: Split,
        vali: Split | None = None,
        *,
        criterion: Any,
        measures: Sequence[str] | None = None,
        preferences: np.ndarray | None = None,
        quality: Callable[[np.ndarray, np.ndarray], float] = _weighted_mean,
        references: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
        controls: Sequence[float] = (1.0,),
        weights: Mapping[str, Any] | None = None,
        beta: float | None = None,
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
            beta: temperature the selection looks at, for a net that is told.
            seed, folder, progress, accelerator: as in `FittedRanker.fit`.
        """
        import torch

        from ltr.datasets import transforms
        from ltr.datasets.batching.batches import Batches
        from ltr.rankers.training.loop import train as run

        from .training import ConditionedJob, ConditionedModule, Trainee

        start = time.perf_counter()
        _check_splits(train, vali, None)
        self.seed = self.seed if seed is None else seed
        m = len(train.objectives)
        self.objectives, self.n_features = train.objectives, train.n_features
        shown = np.full((1, m), 1 / m) if preferences is None else preferences
        job = ConditionedJob(
            train,
            vali,
            0,
            criterion,
            "",
            self.seed,
            None if folder is None else Path(folder),
            progress,
            1,
            accelerator,
            measures=tuple(measures or (HEADLINE,) * m),
            quality=quality,
            preferences=np.asarray(shown, np.float32),
            beta=beta,
            references=references,
            controls=tuple(controls),
        )
        settings, device = self.training, pick_device(accelerator)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        self.transform = transforms.fit(settings.transform, train.features)
        batches = Batches(
            train,
            cells=settings.cells,
            lists=settings.lists,
            list_size=settings.list_size or None,
            shuffle=True,
            seed=self.seed,
            device=device,
            transform=self.transform,
        )
        judged = None if vali is None else Batches(vali, device=device, transform=self.transform)
        with torch.random.fork_rng(devices=[]):  # built on the CPU: the same weights on every device
            torch.manual_seed(seed_of("init", self.seed))
            self.net = self.network(self.config, self.conditioning, train.n_features, m, self.scale)
        if weights is not None:
            self.net.start_from(weights)
        trainee = Trainee(self.net, criterion)
        state, before = run(
            trainee, job, settings, batches, judged, self._identity(job, weights), module=ConditionedModule
        )
        self.net.to(device)
        self.history = state.history
        self.best = {k: v for k, v in (state.best or state.history[-1]).items() if k in ("epoch", "vali")}
        seconds = time.perf_counter() - start + before
        self.cost = {
            "seconds": seconds,
            "documents_per_second": batches.n_documents * len(state.history) / seconds,
            "peak_memory": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory(),
            "step_seconds": statistics.median(state.step_seconds),
        }
        return self

    def score(
        self,
        split: Split,
        preferences: np.ndarray,
        *,
        reference: np.ndarray | None = None,
        beta: float | None = None,
    ) -> np.ndarray:
        """float32 `[preference, documents]` in the split's order; labels are not looked at.

        Args:
            preferences: `[preference, objective]`, valid ones.
            reference: s_ref of the split, float32 `[documents]`, for an augmented net.
            beta: temperature, for a net that is told.
        """
        return self.score_tensor(split, preferences, reference=reference, beta=beta).cpu().numpy()

    def score_tensor(self, split: Split, preferences: np.ndarray, *, reference=None, beta: float | None = None):
        """As `score`, a tensor on the net's device; `reference` may be one."""
        import torch

        from ltr.datasets.batching.batches import Batches

        if self.net is None:
            raise InputError("this conditioned ranker is not fitted", do="Call fit, or load one that was saved")
        if split.n_features != self.n_features:
            expected = f"{self.n_features} features"
            raise InputError("fitted on other features", expected=expected, came=split.n_features)
        net = self.net.eval()
        w = torch.as_tensor(np.asarray(preferences), dtype=torch.float32, device=self.device)
        told = None if beta is None else w.new_full((len(w),), beta)
        base = None if reference is None else padded(reference, self.device)

        scores = w.new_zeros(len(w), split.n_documents)
        for batch in Batches(split, device=self.device, transform=self.transform):
            s_ref = None if base is None else base[batch.document]
            with torch.inference_mode():
                part = net.score_many(batch.features, batch.where, w, beta=told, reference=s_ref)
                scores.index_copy_(1, batch.document[batch.where], part)
        return finite(scores)

    def save(self, folder: Path | str) -> None:
        """Writes the folder `load` reads; it appears whole or not at all."""
        import torch

        if self.net is None:
            raise InputError("this conditioned ranker is not fitted, there is nothing to save")
        facts = {
            "format": _FORMAT,
            "name": self.name,
            "config": to_dict(self.config),
            "conditioning": to_dict(self.conditioning),
            "training": to_dict(self.training),
            "scale": self.scale,
            "seed": self.seed,
            "objectives": self.objectives,
            "n_features": self.n_features,
            "best": self.best,
            "history": self.history,
            "cost": self.cost,
        }
        with whole_folder(folder, _MARK) as into:
            torch.save({k: v.cpu() for k, v in self.net.state_dict().items()}, into / "weights.pt")
            self.transform.save(into / "transform.npz")
            (into / _MARK).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path | str) -> ConditionedRanker:
        """The ranker kept in a folder, ready to score."""
        import torch

        from ltr.datasets.transforms import Transform

        folder = Path(folder)
        facts = read_facts(folder, _MARK, _FORMAT)
        path = folder / _MARK
        ranker = cls(
            facts["name"],
            facts["config"],
            bind(ConditioningConfig, facts["conditioning"], file=path),
            bind(TrainingConfig, facts["training"], file=path),
            facts["scale"],
            facts["seed"],
        )
        for key in ("n_features", "best", "history", "cost"):
            setattr(ranker, key, facts[key])
        ranker.objectives = tuple(facts["objectives"])
        with torch.random.fork_rng(devices=[]):  # building draws weights that are overwritten at once
            m = len(ranker.objectives)
            ranker.net = ranker.network(ranker.config, ranker.conditioning, ranker.n_features, m, ranker.scale)
        ranker.net.load_state_dict(torch.load(folder / "weights.pt", map_location="cpu", weights_only=True))
        ranker.net.to(pick_device("auto")).eval()
        ranker.transform = Transform.load(folder / "transform.npz")
        return ranker

    def _identity(self, job, weights) -> str:
        """Digest of all that decides the trained weights, so that a checkpoint cannot continue another training."""
        digest = hashlib.sha256()
        for array in (*job.references, job.preferences, *(() if weights is None else map(_numpy, weights.values()))):
            digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
        facts = {
            "net": self.name,
            "config": to_dict(self.config),
            "conditioning": to_dict(self.conditioning),
            "training": to_dict(self.training),
            "scale": self.scale,
            "criterion": repr(job.loss),
            "seed": job.seed,
            "measures": job.measures,
            "beta": job.beta,
            "controls": job.controls,
            "arrays": digest.hexdigest(),
            "data": [_fingerprint(split) for split in (job.train, job.vali) if split is not None],
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def padded(flat, device):
    """Flat scores `[documents]`, array or tensor, as a tensor with a 0 behind them: padding carries row -1."""
    import torch

    if isinstance(flat, np.ndarray):
        return torch.from_numpy(np.append(flat, np.float32(0))).to(device)
    flat = flat.to(device, torch.float32)
    return torch.cat([flat, flat.new_zeros(1)])


def rows_of(flat, rows: int, device):
    """What was gathered `[documents, row]`, as `[row, documents]`.

    Raises:
        InputError: a score that is not finite.
    """
    import torch

    return torch.zeros(rows, 0, device=device) if flat is None else finite(flat).T.contiguous()


def finite(scores):
    """The scores, a tensor.

    Raises:
        InputError: a score that is not finite.
    """
    if not scores.isfinite().all():
        raise InputError("scores are not finite", do="Check the features for huge values")
    return scores


def _numpy(tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
