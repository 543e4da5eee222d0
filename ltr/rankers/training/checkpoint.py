"""A training between two epochs, on disk; and tensors read back with what can be wrong with their file said."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ltr.atomic import whole_file
from ltr.errors import InputError

__all__ = ["CHECKPOINT", "State", "load_weights", "read_tensors"]

CHECKPOINT = "last.ckpt"


@dataclass
class State:
    """A training between two epochs.

    Attributes:
        identity: what the training is (settings, seed, data); a checkpoint of another training is refused.
        epoch: epochs done.
        net, optimiser: state dicts after them.
        best: `{"epoch", "vali", "net"}` of the best epoch on validation; empty before there is one.
        kept: what else a training keeps of its epochs (conditional/checkpoints.py).
        history: one dict an epoch: epoch, loss, vali.
        seconds: spent so far.
        step_seconds: one number an epoch: the time of its steps over their number, making the batches included;
            processor time on a CPU, because a machine is shared, wall time on an accelerator.
        done: nothing is left to train.
    """

    identity: str = ""
    epoch: int = 0
    net: dict[str, Any] = field(default_factory=dict)
    optimiser: dict[str, Any] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    step_seconds: list[float] = field(default_factory=list)
    done: bool = False

    def save(self, folder: Path) -> None:
        # A shallow dict of plain values and tensors, so that it loads with weights_only=True.
        with whole_file(folder / CHECKPOINT) as beside:
            torch.save({name: getattr(self, name) for name in self.__dataclass_fields__}, beside)

    @classmethod
    def load(cls, folder: Path | None, identity: str) -> tuple[State, str]:
        """The state kept in a folder, a fresh one where there is none; and what there is to say about it.

        A damaged checkpoint is set aside under another name, and the training starts anew.

        Raises:
            InputError: it belongs to another training.
        """
        path = None if folder is None else folder / CHECKPOINT
        if path is None or not path.is_file():
            return cls(identity), ""
        try:
            kept = read_tensors(path)
            state = cls(**kept)
        except (InputError, TypeError):
            aside = path.with_name(f"{CHECKPOINT}.damaged")
            os.replace(path, aside)
            return cls(identity), f"the checkpoint {path} is damaged: kept as {aside.name}, and training starts anew"
        if state.identity != identity:
            raise InputError(
                "this checkpoint belongs to another training",
                file=path,
                do="Delete it to start anew, or train into another folder",
            )
        return state, ""


def read_tensors(path: Path, do: str = "") -> dict[str, Any]:
    """What `torch.save` wrote into a file, on the CPU; nothing but tensors and plain values is unpickled.

    Args:
        path: the file.
        do: what the user can do where it is damaged.

    Raises:
        InputError: no such file, or a damaged one: the checksums inside the file are looked at, too.
    """
    try:
        with zipfile.ZipFile(path) as file:
            broken = file.testzip()
        if broken is None:
            found = torch.load(path, map_location="cpu", weights_only=True)
            if isinstance(found, dict):
                return found
        raise InputError("damaged: its checksums do not hold", file=path, do=do)
    except FileNotFoundError:
        raise InputError("this file is missing", file=path, do=do) from None
    except (InputError, PermissionError, MemoryError):
        raise
    except Exception as error:  # the zip reader, the unpickler and torch each have errors of their own
        raise InputError("damaged, it cannot be read", file=path, came=type(error).__name__, do=do) from None


def load_weights(net: nn.Module, path: Path) -> None:
    """Puts saved weights into a net that was built for them.

    Raises:
        InputError: no such file, a damaged one, or weights of another net.
    """
    do = "Train the ranker anew, or take its folder from a copy"
    weights = read_tensors(path, do)
    try:
        net.load_state_dict(weights)
    except (RuntimeError, AttributeError, TypeError) as error:
        what = "these weights are of another net than the settings beside them say"
        raise InputError(f"{what} ({str(error).splitlines()[-1].strip()})", file=path, do=do) from None
