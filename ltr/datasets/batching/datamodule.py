"""The Lightning face of `Batches`, in a file of its own so that everything else about data works without Lightning."""

from __future__ import annotations

from collections.abc import Iterator

from ltr.errors import InputError
from ltr.lazy import lightning_alone
from ltr.types import Batch

from .batches import Batches

with lightning_alone():
    import lightning

__all__ = ["ListDataModule"]


class ListDataModule(lightning.LightningDataModule):
    """Train and validation lists for a `lightning.Trainer`.

    Batches come ready-made from the device, so the loaders are plain iterables: no workers, no sampler for Lightning to
    replace. Each epoch takes its order from `trainer.current_epoch`, which a checkpoint restores, so a resumed run
    meets the batches that the uninterrupted one would have met.

    Several processes share the lists of every batch between them (`Batches.share`), if the module that is trained puts
    its losses together again (its attribute `shares`).

    Args:
        train: batches to learn from.
        vali: whole lists to select on, or None.
    """

    def __init__(self, train: Batches, vali: Batches | None = None):
        super().__init__()
        if vali is not None and (vali.shuffle or vali.list_size is not None):
            raise InputError("validation sees whole lists in a fixed order", do="Leave shuffle and list_size out")
        self.train, self.vali = train, vali

    def setup(self, stage: str | None = None) -> None:
        if self.trainer is not None and self.trainer.world_size > 1:
            world = f"{self.trainer.world_size} processes"
            if not getattr(self.trainer.lightning_module, "shares", False):
                raise InputError("this training runs on one device", came=world, do="Give each device its own run")

    def _shared(self, batches: Batches) -> Batches:
        trainer = self.trainer
        if trainer is None or trainer.world_size == 1:
            return batches
        return batches.share(trainer.global_rank, trainer.world_size)

    def train_dataloader(self) -> _Epochs:
        return _Epochs(self._shared(self.train), self)

    def val_dataloader(self) -> Batches | list:
        return [] if self.vali is None else self._shared(self.vali)

    def transfer_batch_to_device(self, batch: Batch | tuple, device, dataloader_idx: int) -> Batch | tuple:
        if isinstance(batch, tuple):  # of several orders at once, which lie where the trainer works
            return batch
        return batch if batch.features.device == device else batch.to(device)


class _Epochs:
    """Sets the epoch of the trainer whenever an iteration begins."""

    def __init__(self, batches: Batches, module: ListDataModule):
        self.batches, self.module = batches, module

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        if self.module.trainer is not None:
            self.batches.set_epoch(self.module.trainer.current_epoch)
        return iter(self.batches)
