"""The reference scorer s_ref that a method's config names: a finished run of a ranker, or a ranker that was saved."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ltr.atomic import fingerprints
from ltr.errors import InputError
from ltr.rankers import FittedRanker, load_ranker
from ltr.runs.record import open_run, read_record
from ltr.types import Task

from .base import place_model

__all__ = ["reference_folder", "reference_hash", "reference_of"]


def reference_folder(base: Path | str) -> Path:
    """The saved ranker a config names.

    Raises:
        InputError: neither a finished run of a ranker nor a saved ranker lies there, or its files are damaged.
    """
    folder = Path(base)
    record = read_record(folder)
    if record is not None and not record.done:
        raise InputError("the reference scorer's run is not finished", file=folder, came=record.status)
    saved = folder if record is None else folder / "ranker"
    if not (saved / "ranker.json").is_file():
        raise InputError(
            "no reference scorer here",
            file=folder,
            expected="the run folder of a ranker, or a saved ranker",
            do="Train one on the same inputs: ltr train --ranker NAME with the same --data and --data.objectives",
        )
    if record is not None:
        open_run(folder, "ranker")
    return saved


def reference_hash(base: Path | str) -> str:
    """sha256 over the reference scorer's files."""
    found = json.dumps(fingerprints(reference_folder(base)), sort_keys=True)
    return hashlib.sha256(found.encode()).hexdigest()


def reference_of(base: Path | str, task: Task, device: str) -> FittedRanker:
    """The reference scorer, on a device; one that reads other columns than the task has is refused."""
    folder = reference_folder(base)
    ranker: FittedRanker = place_model(load_ranker(folder), device)
    seen, there = ranker.n_features, task.train.n_features
    if seen is not None and seen != there:
        raise InputError(
            "the reference scorer was trained on other inputs",
            file=folder,
            expected=f"{there} features",
            came=seen,
            do="Objectives leave the inputs: train it with the same --data.objectives",
        )
    return ranker
