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
    from ..rankers.config import TrainingConfig
    from ..types import Ranker, Split

__all__ = ["TrainingLog", "train"]


class TrainingLog(TypedDict):
    """What a training leaves to tell.

    Keys:
        seconds: wall time of the fit, interrupted attempts included.
        documents_per_second: documents trained on a second, repeats counted.
        step_seconds: a step of training, its batch included, median over epochs; processor time on a CPU, wall time on
            an accelerator; None for rankers without steps.
        selection: `value` of the selection measure on validation, and the `epoch` (or what the ranker calls it).
        history: one entry an epoch or iteration, with `vali`.
    """

    seconds: float
    documents_per_second: float
    step_seconds: float | None
    selection: dict[str, Any]
    history: list[dict[str, Any]]


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
    from .. import losses
    from ..rankers import make_ranker

    bound = None if loss is None else losses.loss(loss, **(loss_params or {}))
    model = make_ranker(
        ranker, loss=bound, seed=seed, **({} if training is None else {"training": training}), **(ranker_params or {})
    )
    hear = None
    if progress is not None:
        hear = lambda p: progress(p.epoch, p.epochs, "" if p.vali is None else f"{select} {p.vali:.4f}")  # noqa: E731
    model.fit(train, vali, objective=objective, select=select, folder=folder, accelerator=accelerator, progress=hear)
    best = dict(model.best)
    selection = {"value": best.pop("vali", None), **best}
    return model, TrainingLog(
        seconds=model.cost["seconds"],
        documents_per_second=model.cost["documents_per_second"],
        step_seconds=model.cost.get("step_seconds"),
        selection=selection,
        history=list(model.history),
    )
