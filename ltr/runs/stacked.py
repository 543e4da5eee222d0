"""Several runs whose nets train stacked, as one program, each in its own folder, each as if it were alone.

    train_stacked(configs, folders)     trains those that are not trained yet, and keeps every net in its run's folder
    execute(config, folder)             for each then finds it there, scores, measures, and writes the record

Stacking is a way to get there and never a condition: whatever keeps it from being done (nets of other shapes, one that
diverges, a folder another process works in) leaves the runs to `execute`, which trains one by one and says of each what
is wrong with it. The checkpoint lies in the folder of the first run that waits; a later call with the same runs still
waiting continues from it, whether the earlier one was stopped by Ctrl-C or killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from ltr.atomic import lock
from ltr.types import Task

from .config import RunConfig, config_hash, seeds
from .environment import peak_memory, reset_peak_memory
from .execution import Progress, begun, found_run, interrupted
from .notes import notes_of
from .record import Record
from .resolving import resolve
from .systems import RankerSystem, fit_together

__all__ = ["train_stacked"]


def train_stacked(
    configs: Sequence[RunConfig],
    folders: Sequence[Path | str],
    *,
    progress: Progress | None = None,
    task: Task | None = None,
    device: str = "auto",
) -> tuple[int, str]:
    """Trains the rankers of those runs that are neither trained nor begun alone, stacked.

    Args:
        configs: of rankers, of one `System.stack_key`.
        folders: theirs.
        progress, task, device: as `execute` takes them.

    Returns:
        How many were trained, and why none was: "" where less than two waited.

    Raises:
        KeyboardInterrupt: passed on, with the folders left so that the next call continues.
    """
    with contextlib.ExitStack() as held:
        records: list[Record] = []
        try:
            waiting = _waiting([resolve(config) for config in configs], map(Path, folders), held)
            if len(waiting) < 2:
                return 0, ""
            records = [begun(config, folder, device, attempts) for config, folder, attempts in waiting]
            return _train(waiting, progress or (lambda *_: None), task, device), ""
        except KeyboardInterrupt:
            for record in records:
                interrupted(record)
            raise
        except Exception as error:
            if records:  # nobody continues a training that cannot be done
                shutil.rmtree(_checkpoints(waiting), ignore_errors=True)
            return 0, str(error) or type(error).__name__


Waiting = list[tuple[RunConfig, Path, int]]  # config, folder, attempts that this one makes


def _waiting(configs: Sequence[RunConfig], folders, held: contextlib.ExitStack) -> Waiting:
    """The runs that would be trained; their folders are locked as long as `held` lasts."""
    waiting = []
    for config, folder in zip(configs, folders, strict=True):
        found = found_run(config, folder)
        if found is not None and found.done:
            continue
        held.enter_context(lock(folder))
        found = found_run(config, folder)  # only the holder of the lock may believe what it reads
        alone = (folder / "checkpoints" / "last.ckpt").is_file()  # it continues as it began
        if not alone and not (folder / RankerSystem.place).is_dir() and not (found is not None and found.done):
            waiting.append((config, folder, found.cost.get("attempts", 0) if found else 0))
    return waiting


def _checkpoints(waiting: Waiting) -> Path:
    """Where theirs lies: in the first folder, named after who is in it."""
    names = " ".join(config_hash(config) for config, _, _ in waiting)
    return waiting[0][1] / "checkpoints" / f"stacked-{hashlib.sha256(names.encode()).hexdigest()[:12]}"


def _train(waiting: Waiting, progress: Callable, task: Task | None, device: str) -> int:
    systems = [RankerSystem(config) for config, _, _ in waiting]
    if task is None:
        progress("data", 0, 1, systems[0].config.data.name)
        task = systems[0].load_task()
        progress("data", 1, 1, task.fold)
    reset_peak_memory()
    trained = fit_together(
        systems,
        task,
        [seeds(system.config)["run"] for system in systems],
        _checkpoints(waiting),
        device,
        lambda *event: progress("fit", *event),
    )
    peak = peak_memory()
    for system, (_, folder, _), (model, log) in zip(systems, waiting, trained, strict=True):
        system.keep(model, {**log, **peak, "notes": notes_of(task, model)}, task, folder)
    shutil.rmtree(_checkpoints(waiting), ignore_errors=True)
    return len(waiting)
