"""One objective with one loss: the plain way to train a ranker.

    minimise over theta   mean over lists of  L(f_theta(x), y)      on train,
    keep the epoch (or iteration) with the best selection measure   on validation.

The test split is not an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from ltr.rankers.base import FittedRanker
    from ltr.rankers.config import TrainingConfig
    from ltr.types import Ranker, Split

__all__ = ["TrainingLog", "heard", "log_of", "ranker_of", "train"]


class TrainingLog(TypedDict, total=False):
    """What a training leaves to tell.

    Keys:
        seconds: wall time of the fit, interrupted attempts included.
        documents_per_second: documents trained on a second, repeats counted.
        step_seconds: a step of training, its batch included, median over epochs; processor time on a CPU, wall time on
            an accelerator; None for rankers without steps.
        selection: `value` of the selection measure on validation, and the `epoch` (or what the ranker calls it).
        history: one entry an epoch or iteration, with `vali`.
        fleet: how many were trained together, where it was not alone; seconds and speeds are then its share.
    """

    seconds: float
    documents_per_second: float
    step_seconds: float | None
    selection: dict[str, Any]
    history: list[dict[str, Any]]
    fleet: int


def train(
    train: Split,
    vali: Split | None,
    *,
    ranker: str,
    ranker_params: Mapping[str, Any] | None = None,
    loss: str | None = None,
    loss_params: Mapping[str, Any] | None = None,
    training: TrainingConfig | None = None,
    objective: str | None = None,
    select: str,
    seed: int = 0,
    folder: Path | None = None,
    accelerator: str = "auto",
    progress: Callable[[int, int, str], None] | None = None,
) -> tuple[Ranker, TrainingLog]:
    """Trains one ranker.

    Args:
        train: labelled lists.
        vali: labelled lists that select; None keeps the last epoch.
        ranker, ranker_params: name in the catalogue of rankers, and its parameters.
        loss, loss_params: name in the catalogue of losses, and its parameters; None where the ranker has its own.
        training: settings of the training loop of neural rankers.
        objective: label column to train on; the main one by default.
        select: measure of the selection, by name.
        seed: everything random follows from it.
        folder: where checkpoints lie; a second call with the same folder continues.
        accelerator: "auto", "cpu", "gpu", "mps".
        progress: called as `progress(done, total, note)` after each epoch.

    Returns:
        The fitted ranker and its `TrainingLog`.

    Raises:
        InputError: unknown names or parameters, a loss too many or too few, splits that do not fit together.
    """
    model = ranker_of(ranker, ranker_params, loss, loss_params, training, seed)
    model.fit(
        train,
        vali,
        objective=objective,
        select=select,
        folder=folder,
        accelerator=accelerator,
        progress=heard(progress, select),
    )
    return model, log_of(model)


def ranker_of(
    ranker: str,
    ranker_params: Mapping[str, Any] | None,
    loss: str | None,
    loss_params: Mapping[str, Any] | None,
    training: TrainingConfig | None,
    seed: int,
) -> FittedRanker:
    """The ranker that `train` trains, not fitted yet; arguments as there."""
    from ltr import losses
    from ltr.rankers import make_ranker

    bound = None if loss is None else losses.loss(loss, **(loss_params or {}))
    settings = {} if training is None else {"training": training}
    return make_ranker(ranker, loss=bound, seed=seed, **settings, **(ranker_params or {}))


def heard(progress: Callable[[int, int, str], None] | None, select: str, also: str = ""):
    """`progress(done, total, note)` as what the rankers tell: their selection measure is the note."""
    if progress is None:
        return None
    return lambda p: progress(p.epoch, p.epochs, ("" if p.vali is None else f"{select} {p.vali:.4f}") + also)


def log_of(model: FittedRanker) -> TrainingLog:
    """What the training of a fitted ranker left to tell."""
    best = dict(model.best)
    selection = {"value": best.pop("vali", None), **best}
    return TrainingLog(
        seconds=model.cost["seconds"],
        documents_per_second=model.cost["documents_per_second"],
        step_seconds=model.cost.get("step_seconds"),
        selection=selection,
        history=list(model.history),
    )
