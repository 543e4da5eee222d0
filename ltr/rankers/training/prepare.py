"""What every training of nets starts from: the device, the fitted transform, the batches, the seed of the weights."""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

import ltr.rankers.devices as devices
from ltr.datasets import transforms
from ltr.datasets.batching.batches import Batches
from ltr.rankers.config import TrainingConfig
from ltr.rankers.embeddings import Embedding
from ltr.rankers.operations import net_operations, report
from ltr.rankers.tabm import MemberLinear
from ltr.seeds import seed_of
from ltr.types import Split

from .checkpoint import State
from .job import FitJob

_SAMPLE = 50_000  # documents that bins are made of

__all__ = ["Prepared", "loss_name", "seeded"]


class Prepared:
    """The data of a job, ready to be trained on.

    Args:
        job: what is asked.
        settings: of the training.
        transform: fitted before; by default it is fitted on train.

    Attributes:
        device: of the batches, where the net goes.
        transform: fitted on train.
        batches, vali: the training lists in the order of the job's seed, and the whole validation lists or None.
        width: inputs of a net, which is what the transform makes of the features.
        notes: what a user should hear of them.
    """

    def __init__(self, job: FitJob, settings: TrainingConfig, transform: Any = None):
        self.job, self.settings, self.began = job, settings, time.perf_counter()
        self.device = devices.pick_device(job.accelerator)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        self.transform = transform or transforms.fit(
            settings.transform,
            job.train.features,
            missing=settings.missing,
            context=settings.context is not None,
            categories=job.train.categories,
        )
        common = {"device": self.device, "transform": self.transform}
        self.batches: Any = Batches(
            job.train,
            cells=settings.cells,
            batch_size=settings.batch_size,
            list_size=settings.list_size or None,
            shuffle=True,
            shuffle_buffer=settings.shuffle_buffer,
            seed=job.seed,
            **common,
        )
        self.vali = None if job.vali is None else Batches(job.vali, **common)
        self.width = self.transform.width(job.train.n_features)
        self.notes = self.transform.notes(job.train.feature_names) + list(filter(None, [self.batches.note]))

    def prepare(self, nets: Sequence[torch.nn.Module]) -> None:
        """Gives the embeddings of nets of one shape what they take from train, a sample of documents."""
        each = [[part for part in net.modules() if isinstance(part, Embedding)] for net in nets]
        if not each[0]:
            return
        rows = np.random.default_rng(seed_of("embedded rows")).permutation(self.job.train.n_documents)[:_SAMPLE]
        x = self.batches.features(np.sort(rows))
        indicator, missing = torch.arange(self.width), torch.from_numpy(self.transform.missing)
        indicator[missing] = self.job.train.n_features + torch.arange(len(missing))
        for part in each[0]:
            part.prepare(x, indicator)
        for parts in each[1:]:
            for part, first in zip(parts, each[0], strict=True):
                for name, held in first.named_buffers():
                    part.get_buffer(name).copy_(held)

    def identity(self, facts: Mapping[str, Any], arrays: Iterable[Any] = ()) -> str:
        """Digest of all that decides the trained weights, so that a checkpoint cannot continue another training."""
        digest = hashlib.sha256()
        for array in arrays:
            array = array.detach().cpu().numpy() if isinstance(array, torch.Tensor) else array
            digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
        splits = [_fingerprint(split) for split in (self.job.train, self.job.vali) if split is not None]
        facts = {**facts, "arrays": digest.hexdigest(), "data": splits}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def cost(self, state: State, before: float, documents: int, share: int = 1) -> dict[str, Any]:
        """What a training took, as `FittedRanker.cost` says it, but for its operations.

        Args:
            state: at its end.
            before: seconds that were spent before the checkpoint it continued from.
            documents: trained on, repeats counted.
            share: nets that were trained together; each gets its part of the time.
        """
        cuda = self.device.type == "cuda"
        seconds = (time.perf_counter() - self.began + before) / share
        return {
            "seconds": seconds,
            "documents_per_second": documents / seconds,
            "peak_memory": torch.cuda.max_memory_allocated(self.device) if cuda else devices.peak_memory(),
            # The median epoch: what is compiled is compiled in the first.
            "step_seconds": statistics.median(state.step_seconds) / share,
        }

    def operations(self, net: torch.nn.Module, config: Any, documents: int, *, passes: float = 1.0) -> float:
        """Operations of training one net on so many documents, told to whoever counts them.

        Args:
            net: what is trained; weights that stay as they are count too, since documents pass through them.
            config: of the net.
            passes: how often a step goes through the net forward and backward, e.g. once a preference.
        """
        weights = sum(p.numel() for p in net.parameters())
        for layer in net.modules():  # one matrix that every member of an ensemble multiplies with
            if isinstance(layer, MemberLinear) and layer.weight.dim() == 2:
                weights += (layer.members - 1) * layer.weight.numel()
        width = getattr(config, "blocks", 0) * (getattr(config, "width", 0) or getattr(config, "head_size", 0))
        length = self.batches.n_documents / max(1, self.job.train.n_queries)
        points = getattr(config, "induced", None)
        length = length if points is None else 2.0 * points  # documents meet the points twice, and no other
        return report(net_operations(weights, passes * documents, width=width, length=length))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Weights drawn in here follow from the seed, the same on every device if built on the CPU; nothing else does."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("init", seed))
        yield


def loss_name(loss: Callable) -> str:
    """What a loss calls itself, with its parameters: its repr where its class writes one, else its name."""
    plain = type(loss).__repr__ in (object.__repr__, type(lambda: 0).__repr__)
    name = getattr(loss, "__qualname__", type(loss).__qualname__) if plain else repr(loss)
    return name + getattr(loss, "fingerprint", "")  # of a user's loss, whose name does not say what it is


def _fingerprint(split: Split) -> str:
    """Labels, list lengths and a few thousand feature values; reading all of a memory-mapped block would cost more."""
    digest = hashlib.sha256(str(split.features.shape).encode())
    rows = np.linspace(0, split.n_documents - 1, num=min(split.n_documents, 64)).astype(np.int64)
    for array in (split.offsets, split.labels, split.features[rows], split.weights):
        if array is not None:
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
