"""Nets behind the two verbs: transform, training loop, whole-list scoring, a folder of plain weights."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ltr.errors import InputError, unknown_name
from ltr.schema import to_dict
from ltr.seeds import seed_of
from ltr.types import Split

from .base import RANKERS, FittedRanker, Job
from .config import DASALCConfig, LinearConfig, MLPConfig, TrainingConfig, TransformerConfig

__all__ = ["NeuralRanker", "pick_device"]


@dataclass(eq=False)
class NeuralRanker(FittedRanker):
    """A net trained with a list loss.

    Attributes:
        net: the module, in evaluation mode after `fit`; None before.
        transform: the feature transform, fitted on train.
        device: where the last `fit` or `load` put the net.
    """

    training: TrainingConfig = field(default_factory=TrainingConfig)
    net: Any = field(default=None, init=False)
    transform: Any = field(default=None, init=False)

    @property
    def n_parameters(self) -> int:
        """Weights of the net; 0 before it is built."""
        return 0 if self.net is None else sum(p.numel() for p in self.net.parameters())

    @property
    def device(self):
        return next(self.net.parameters()).device

    def to(self, device) -> NeuralRanker:
        """Moves the net; returns itself."""
        self.net.to(device)
        return self

    def _ready(self) -> None:
        from .training import loop  # noqa: F401  (seconds, the first time)

    def _fit(self, job: Job) -> int:
        import torch

        from ltr.datasets import transforms
        from ltr.datasets.batching.batches import Batches

        from .nets import build
        from .training.loop import train

        settings, device = self.training, pick_device(job.accelerator)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        self.transform = transforms.fit(settings.transform, job.train.features)
        batches = Batches(
            job.train,
            cells=settings.cells,
            lists=settings.lists,
            list_size=settings.list_size or None,
            shuffle=True,
            seed=job.seed,
            device=device,
            transform=self.transform,
        )
        vali = None if job.vali is None else Batches(job.vali, device=device, transform=self.transform)
        with torch.random.fork_rng(devices=[]):  # the net is built on the CPU: the same weights on every device
            torch.manual_seed(seed_of("init", job.seed))
            self.net = build(self.config, job.train.n_features)

        state, before = train(self.net, job, settings, batches, vali, self._identity(job))
        self.net.to(device)
        self.history = state.history
        self.best = {k: v for k, v in (state.best or state.history[-1]).items() if k in ("epoch", "vali")}
        # The median epoch: what is compiled is compiled in the first.
        self.cost = {"seconds_before": before, "step_seconds": statistics.median(state.step_seconds)}
        if device.type == "cuda":
            self.cost["peak_memory"] = torch.cuda.max_memory_allocated(device)
        return batches.n_documents * len(state.history)

    def _score(self, split: Split) -> np.ndarray:
        return self._gathered(split).cpu().numpy()

    def score_tensor(self, split: Split):
        """As `score`, a tensor on the net's device."""
        self._check_input(split)
        scores = self._gathered(split)
        if not scores.isfinite().all():
            raise self._not_finite()
        return scores

    def _gathered(self, split: Split):
        import torch

        from ltr.datasets.batching.batches import Batches

        from .nets import score_batch

        batches = Batches(split, device=self.device, transform=self.transform)
        scores = batches.gather(lambda batch: score_batch(self.net, batch))
        return torch.zeros(0, device=self.device) if scores is None else scores

    def _write(self, folder: Path) -> Mapping[str, Any]:
        import torch

        torch.save({k: v.cpu() for k, v in self.net.state_dict().items()}, folder / "weights.pt")
        self.transform.save(folder / "transform.npz")
        return {"n_parameters": self.n_parameters}

    def _read(self, folder: Path, facts: Mapping[str, Any]) -> None:
        import torch

        from ltr.datasets.transforms import Transform

        from .nets import build

        with torch.random.fork_rng(devices=[]):  # building draws weights that are overwritten at once
            self.net = build(self.config, self.n_features)
        self.net.load_state_dict(torch.load(folder / "weights.pt", map_location="cpu", weights_only=True))
        self.net.to(pick_device("auto")).eval()
        self.transform = Transform.load(folder / "transform.npz")

    def _identity(self, job: Job) -> str:
        """Digest of all that decides the trained weights, so that a checkpoint cannot continue another training."""
        facts = {
            "ranker": self.name,
            "config": to_dict(self.config),
            "training": to_dict(self.training),
            "loss": loss_name(job.loss),
            "objective": job.objective,
            "select": job.select,
            "seed": job.seed,
            "data": [_fingerprint(split) for split in (job.train, job.vali) if split is not None],
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def loss_name(loss: Callable) -> str:
    """What a loss calls itself, with its parameters: its repr where its class writes one, else its name."""
    plain = type(loss).__repr__ in (object.__repr__, type(lambda: 0).__repr__)
    return getattr(loss, "__qualname__", type(loss).__qualname__) if plain else repr(loss)


def _fingerprint(split: Split) -> str:
    """Labels, list lengths and a few thousand feature values; reading all of a memory-mapped block would cost more."""
    digest = hashlib.sha256(str(split.features.shape).encode())
    rows = np.linspace(0, split.n_documents - 1, num=min(split.n_documents, 64)).astype(np.int64)
    for array in (split.offsets, split.labels, split.features[rows]):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def pick_device(accelerator: str = "auto"):
    """The torch device of an accelerator's name: auto takes a GPU where there is one.

    Raises:
        InputError: an unknown name, or one this machine has not.
    """
    import torch

    there = {"gpu": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if accelerator == "cuda":
        accelerator = "gpu"
    if accelerator == "auto":
        accelerator = next(name for name, has in there.items() if has)
    if accelerator not in there:
        raise unknown_name("accelerator", accelerator, ("auto", "cuda", *there))
    if not there[accelerator]:
        raise InputError(f"this machine has no {accelerator} that torch can use", do="Leave accelerator at auto")
    return torch.device("cuda", torch.cuda.current_device()) if accelerator == "gpu" else torch.device(accelerator)


def _register(name: str, config: type, formula: str, source: str, independent: bool) -> None:
    @RANKERS.register(
        name,
        formula=formula,
        source=source,
        config=config,
        training=TrainingConfig,
        kind="neural",
        needs_loss=True,
        stochastic=True,
        independent=independent,
        equivariant=True,
        learns=True,
    )
    def make(config, **options) -> NeuralRanker:
        return NeuralRanker(name, config, **options)


# `independent`: the score of a document does not depend on the rest of its list.
_register("linear", LinearConfig, "s = w . x + b", "", independent=True)
_register("mlp", MLPConfig, "s = w . h(x) + b, h fully connected layers", "", independent=True)
_register(
    "transformer",
    TransformerConfig,
    "s = w . norm(x + attention + feed-forward)",
    "Pobrotyn et al. 2020, arXiv 2005.10084",
    independent=False,
)
_register(
    "dasalc",
    DASALCConfig,
    "s = w . relu(h(x) + h(x) * a(list))",
    "Qin et al., ICLR 2021; layers as in TF-Ranking's research code",
    independent=False,
)
