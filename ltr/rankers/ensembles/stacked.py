"""Stacked training: many nets of one shape trained as one batched program, each as if it were trained alone.

    rankers = [ConditionedRanker("mlp", conditioning=plain, seed=0) for w in preferences]
    fit_stacked(rankers, task.train, task.vali, criterion=..., preferences=preferences)  # as `fit` would, one by one
    score_stacked(rankers, task.test)                                                    # float32 [member, documents]

    fit_stacked([make_ranker("mlp", loss=loss, seed=s) for s in range(8)], task.train, task.vali)

Members differ in what they descend, in seed and in learning rate; plain ones in weight decay, too. Each keeps its own
optimiser state, gradient norm, best epoch and end. Afterwards they are ordinary rankers: saved, loaded, scored alone.

Conditioned rankers share the batches (lists, order, samples, which are those of the first member's seed) and go through
one stacked net: equal to training alone up to rounding, but for dropout, whose masks are each member's own.

Plain rankers go through their nets one after another, each with its own order of the lists, dropout and draws of its
loss, and share the data in memory, the loop, the optimiser and validation: on a CPU bit for bit what they are alone.
Asked for `order = "first"` they are trained as conditioned rankers are.

A criterion of a stacked training is a module with

    forward(scores [batch, member, list], labels [batch, list, objective], where, members, *, reference, generators)
        -> losses [member], none of which depends on the scores of another member
    update(members)      hears that a step was made, with those who still train

`members` are the numbers of the members the scores are of; `generators` are theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ltr.datasets.batching.batches import Batches
from ltr.errors import InputError
from ltr.rankers.conditional.ranker import ConditionedRanker
from ltr.rankers.conditional.tensors import finite, padded
from ltr.rankers.config import HEADLINE
from ltr.rankers.neural import NeuralRanker
from ltr.rankers.notes import blank_lists
from ltr.rankers.training.job import FitJob, Progress, check_features, check_splits, nothing, told_names
from ltr.rankers.training.prepare import Prepared, loss_name
from ltr.rankers.training.validation import PreferenceQuality, ValidationMeasure, weighted_mean
from ltr.schema import to_dict
from ltr.types import Split

from .net_stack import has_stacked_form, stacks_of

__all__ = ["fit_stacked", "score_stacked", "stacked_scores"]

_OWN = ("learning_rate",)  # settings of the training that members may differ in; plain ones also in
_OWN_OF_PLAIN = (*_OWN, "weight_decay")


def fit_stacked(
    rankers: Sequence[Any],
    train: Split,
    vali: Split | None = None,
    *,
    criterion: Any = None,
    objective: str | None = None,
    select: str = HEADLINE,
    measures: Sequence[str] | None = None,
    preferences: np.ndarray | None = None,
    quality: Callable[[np.ndarray, np.ndarray], float] = weighted_mean,
    references: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
    controls: Sequence[float] = (1.0,),
    weights: Any = None,
    times: np.ndarray | None = None,
    order: Literal["own", "first"] = "own",
    folder: Path | str | None = None,
    progress: Callable[[Progress], Any] | None = None,
    accelerator: str = "auto",
) -> list:
    """Trains them all and returns them, each with its weights, best epoch, history and share of the cost.

    Args:
        rankers: nets of one config and training, plain (`NeuralRanker`, each with its loss) or conditioned on nothing
            (`ConditionedRanker` of kind "none"); seeds, learning rates and weight decays may differ.
        train, vali: labelled lists; without `vali` the last epoch is kept.
        criterion: of conditioned rankers, see above; plain rankers bring their loss.
        objective, select: of plain rankers, as in `FittedRanker.fit`.
        measures, quality, references, controls, weights: of conditioned rankers, as in `ConditionedRanker.fit`.
        preferences: `[member, objective]`, what the selection of each conditioned ranker looks at.
        times: `[member, query]`, of plain rankers: how often each training list counts for each member, as if it stood
            there so many times (0: it adds nothing to the loss). None: all count once.
        order: of the lists of plain rankers: each member's "own", or that of the "first", as conditioned rankers have.
        folder: a checkpoint is left there after each epoch; a second call with the same folder continues.
        progress: hears a `Progress` after each epoch: the means over the members that still train.
        accelerator: auto, cpu, gpu or mps.

    Raises:
        InputError: rankers that do not fit together, and what `fit` raises.

    >>> import ltr
    >>> task, loss = ltr.load("synthetic:queries=20,features=50"), ltr.loss("listnet")
    >>> seeds = [ltr.make_ranker("linear", loss=loss, seed=seed, epochs=1) for seed in range(3)]
    >>> score_stacked(fit_stacked(seeds, task.train, task.vali), task.test).shape == (3, task.test.n_documents)
    True
    """
    from ltr.rankers.training.loop import train as run  # Lightning: seconds, the first time

    from .training import ListLosses, Members, SideBySide, StackedModule, StackedNets

    rankers = list(rankers)
    first, plain = _alike(rankers)
    column, m = check_splits(train, vali, objective), len(train.objectives)
    arrays: tuple[Any, ...]
    chosen: Callable[..., Any] = nothing
    if plain:
        losses = [ranker._check_loss(ranker.loss) for ranker in rankers]
        criterion = ListLosses(losses, column)
        if vali is not None:
            measure = ValidationMeasure(select, vali, column)
            chosen = lambda scores, members: measure(scores)  # noqa: E731
        times = _times(times, len(rankers), train)
        facts = {"losses": [loss_name(each) for each in losses], "objective": column, "select": select}
        arrays = () if times is None else (times,)
    else:
        if times is not None:
            raise InputError("times are of plain rankers", do="Leave them out")
        measures = tuple(measures or (HEADLINE,) * m)  # columns behind those they speak of are for the criterion
        shown = _preferences(preferences, len(rankers), len(measures))
        if vali is not None:
            chosen = PreferenceQuality(measures, vali, quality, shown, references[1], controls).of_members
        facts = {
            "criterion": repr(criterion),
            "measures": measures,
            "controls": tuple(controls),
            "conditioning": to_dict(first.conditioning),
            "scale": first.scale,
        }
        arrays = (*references, shown, *(() if weights is None else weights.values()))
    job = FitJob(
        train=train,
        vali=vali,
        select=chosen,
        seed=first.seed,
        folder=None if folder is None else Path(folder),
        on_progress=progress,
        accelerator=accelerator,
    )
    data = Prepared(job, first.training)
    columns = [column] if plain else list(range(len(measures or ())))
    for ranker in rankers:
        ranker.transform, ranker.n_features, ranker.feature_names = data.transform, train.n_features, told_names(train)
        if plain:
            ranker.objective = train.objectives[column]
            ranker.build(data.width, ranker.seed)
        else:
            ranker.build(data.width, ranker.seed, train.objectives[: len(columns)])
    data.prepare([ranker.net for ranker in rankers])
    for ranker in () if weights is None else rankers:
        ranker.net.start_from(weights)
    own_orders = plain and (order == "own" or not has_stacked_form(first.inner))
    members = Members(
        trainings=tuple(ranker.training for ranker in rankers),
        seeds=tuple(ranker.seed for ranker in rankers),
        plain=plain,
        orders=_orders(rankers) if own_orders else (),
        times=times,
        references=references,
    )
    stacks = stacks_of([ranker.inner for ranker in rankers], *_output(first, plain), data.device, members.kinds)
    facts |= {
        "stacked": first.name,
        "config": to_dict(first.config),
        "training": to_dict(first.training),
        "seeds": members.seeds,
        "rates": members.rates,
        "stacks": [len(stack.members) for stack in stacks],
    }
    if plain:
        facts |= {"decays": [each.weight_decay for each in members.trainings], "orders": members.orders}
    documents = data.batches.n_documents
    if members.orders:
        seed_of_order = dict(zip(members.orders, members.seeds, strict=True))
        data.batches = SideBySide([data.batches.with_seed(seed_of_order[i]) for i in range(len(seed_of_order))])
    module = StackedModule(StackedNets(stacks, criterion), job, first.training, members, data.batches)
    before, notes = run(module, data, data.identity(facts, arrays))

    state, notes = module.state, blank_lists(train, columns, vali) + notes
    cost = data.cost(state, before, documents, len(rankers))
    for i, ranker in enumerate(rankers):
        ranker.inner.load_state_dict(state.best["net"][i])
        ranker.net.to(data.device).eval()
        rows = [{key: row[key] if key == "epoch" else row[key][i] for key in row} for row in state.history]
        ranker.history = [row for row in rows if row["loss"] is not None]
        ranker.best = {"epoch": state.best["epoch"][i], "vali": state.best["vali"][i]}
        speed = documents * len(ranker.history) / cost["seconds"]
        ranker.cost = {**cost, "documents_per_second": speed, "stacked": len(rankers)}  # its share
        seen = documents * len(ranker.history)
        ranker.cost["operations"] = data.operations(ranker.inner, ranker.config, seen)
        ranker.notes = list(notes)
    return rankers


def score_stacked(rankers: Sequence[Any], split: Split, *, reference: np.ndarray | None = None) -> np.ndarray:
    """float32 `[member, documents]`: what each member's `score` gives up to rounding, with one pass over the lists.

    Args:
        rankers: fitted, of one shape; they need not have been trained together. Members whose transforms differ are
            scored one by one.
        split: lists to score.
        reference: s_ref of the split, float32 `[documents]`, for augmented nets.

    >>> score_stacked([], None)
    Traceback (most recent call last):
    ...
    ltr.errors.InputError: a stacked training needs a ranker
    """
    return stacked_scores(rankers, split, reference=reference).cpu().numpy()


def stacked_scores(rankers: Sequence[Any], split: Split, *, reference=None) -> Tensor:
    """As `score_stacked`, a tensor on the device of the nets; `reference` may be one."""
    rankers = list(rankers)
    first, plain = _alike(rankers, fitted=True)
    check_features(split, first.n_features, first.feature_names)
    alike = has_stacked_form(first.inner) and all(first.transform.same(each.transform) for each in rankers)
    if len(rankers) == 1 or not alike:
        one = np.eye(len(split.objectives) if plain else len(first.objectives))[:1]
        return torch.stack(
            [r.score_tensor(split) if plain else r.score_tensor(split, one, reference=reference)[0] for r in rankers]
        )
    device = first.device
    stacks = [each.eval() for each in stacks_of([r.inner for r in rankers], *_output(first, plain), device)]
    base = None if reference is None else padded(reference, device)

    def score(batch):
        s_ref = None if base is None else base[batch.document]
        with torch.inference_mode():
            return torch.cat([stack(batch.features, batch.where, s_ref) for stack in stacks], 1).mT

    flat = Batches(split, device=device, transform=first.transform).gather(score)
    return torch.zeros(len(rankers), 0, device=device) if flat is None else finite(flat).T.contiguous()


# ------------------------------------------------------------------------------------------- two kinds of members


def _alike(rankers: list, fitted: bool = False) -> tuple[Any, bool]:
    """The first of them, and whether they are plain nets; everything that keeps them apart is named."""
    if not rankers:
        raise InputError("a stacked training needs a ranker")
    first = rankers[0]
    kinds = {type(ranker) for ranker in rankers}
    if len(kinds) > 1 or not isinstance(first, NeuralRanker | ConditionedRanker):
        raise InputError("nets of one kind can be stacked", came=sorted(kind.__name__ for kind in kinds))
    plain = isinstance(first, NeuralRanker)
    if not plain and any(ranker.conditioning.kind != "none" for ranker in rankers):
        raise InputError("nets that are conditioned on no preference can be stacked", expected='kind = "none"')
    same = ["name", "config"] + ([] if plain else ["conditioning", "scale"])
    for ranker in rankers[1:]:
        differ = [name for name in same if getattr(ranker, name) != getattr(first, name)]
        if not fitted:
            ours, theirs = to_dict(ranker.training), to_dict(first.training)
            own = _OWN_OF_PLAIN if plain else _OWN
            differ += [f"training.{key}" for key in theirs if ours.get(key) != theirs[key] and key not in own]
        if differ:
            what = f"members of a stacked training differ in {', '.join(differ)}"
            raise InputError(what, do="Train them one after another.")
    if fitted and any(ranker.net is None for ranker in rankers):
        raise InputError("one of these rankers is not fitted", do="Call fit_stacked, or load rankers that were saved")
    return first, plain


def _output(first, plain: bool) -> tuple[float, bool]:
    """What becomes of a net's output: the factor, and whether a reference is added."""
    return (1.0, False) if plain else (first.scale, first.conditioning.start == "augmented")


def _orders(rankers: Sequence[NeuralRanker]) -> tuple[int, ...]:
    """Which order of the lists each member meets, numbered as they come."""
    seeds = list(dict.fromkeys(ranker.seed for ranker in rankers))
    return tuple(seeds.index(ranker.seed) for ranker in rankers)


def _times(times, members: int, train: Split) -> np.ndarray | None:
    if times is None:
        return None
    times, shape = np.asarray(times, dtype=np.float32), (members, train.n_queries)
    if times.shape != shape or not (np.isfinite(times).all() and (times >= 0).all()):
        raise InputError("times are numbers of 0 and more", expected=f"[member, query] of {shape}", came=times.shape)
    return times


def _preferences(preferences, members: int, m: int) -> np.ndarray:
    shown = np.full((members, m), 1 / m) if preferences is None else np.asarray(preferences)
    if shown.shape != (members, m):
        raise InputError("one preference a member", expected=(members, m), came=shown.shape)
    return shown.astype(np.float32)
