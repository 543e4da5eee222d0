"""Run by tests/test_lightning.py: the same training by one process and by two, what each leaves in a file.

python tests/ddp_script.py DEVICES FOLDER
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from toy_lists import toy

from ltr.lightning import RankingDataModule, RankingModule
from ltr.types import Task

warnings.simplefilter("ignore")


def main(devices: int, folder: Path) -> None:
    # 29 lists by batches of 8: neither the lists nor those of the last batch go round.
    task = Task("toy", "one", toy(29, seed=0), toy(15, seed=1), toy(15, seed=2))
    module = RankingModule("mlp", "listnet", measures=["nDCG@5"], ranker_params={"hidden": [6]}, learning_rate=0.02)
    trainer = Trainer(
        max_epochs=3,
        accelerator="cpu",
        devices=devices,
        strategy="ddp_fork" if devices > 1 else "auto",
        gradient_clip_val=0.5,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    rows = []
    module.on_validation_end = lambda: rows.append({k: float(v) for k, v in trainer.callback_metrics.items()})

    def keep() -> None:  # in each process, before it ends
        kept = {"net": {k: v.clone() for k, v in module.net.state_dict().items()}, "rows": rows}
        kept["steps"], kept["metrics"] = trainer.global_step, {k: float(v) for k, v in trainer.callback_metrics.items()}
        torch.save(kept, folder / f"{devices}-{trainer.global_rank}.pt")

    module.on_fit_end = keep
    trainer.fit(module, datamodule=RankingDataModule(task, batch_size=8))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
