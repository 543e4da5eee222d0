"""Fleets: many nets of one shape trained as one batched program, each as if it were trained alone.

    rankers = [ConditionedRanker("mlp", conditioning=plain, seed=0) for w in preferences]
    fit_fleet(rankers, task.train, task.vali, criterion=..., preferences=preferences)    # as `fit` would, one by one
    score_fleet(rankers, task.test)                                                      # float32 [member, documents]

    fit_fleet([make_ranker("mlp", loss=loss, seed=s) for s in range(8)], task.train, task.vali)

Members differ in what they descend, in seed and in learning rate; plain ones in weight decay, too. Each keeps its own
optimiser state, gradient norm, best epoch and end. Afterwards they are ordinary rankers: saved, loaded, scored alone.

Conditioned rankers share the batches (lists, order, samples, which are those of the first member's seed) and go through
one stacked net: equal to training alone up to rounding, but for dropout, whose masks are each member's own.

Plain rankers go through their nets one after another, each with its own order of the lists, dropout and draws of its
loss, and share the data in memory, the loop, the optimiser and validation: on a CPU bit for bit what they are alone.
Asked for `order = "first"` they are trained as conditioned rankers are.

A criterion of a fleet is a module with

    forward(scores [batch, member, list], labels [batch, list, objective], where, members, *, reference, generators)
        -> losses [member], none of which depends on the scores of another member
    update(members)      hears that a step was made, with those who still train

`members` are the numbers of the members the scores are of; `generators` are theirs.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ltr.errors import InputError
from ltr.rankers.base import Progress, _check_splits, peak_memory
from ltr.rankers.conditional.ranker import ConditionedRanker, _numpy, _weighted_mean, padded, rows_of
from ltr.rankers.config import HEADLINE
from ltr.rankers.neural import NeuralRanker, _fingerprint, loss_name, pick_device
from ltr.rankers.training.validation import Selection
from ltr.schema import to_dict
from ltr.seeds import seed_of
from ltr.types import Split

__all__ = ["fit_fleet", "fleet_scores", "score_fleet"]

_OWN = ("learning_rate",)  # settings of the training that members may differ in; plain ones also in
_OWN_OF_PLAIN = (*_OWN, "weight_decay")


def fit_fleet(
    rankers: Sequence[ConditionedRanker] | Sequence[NeuralRanker],
    train: Split,
    vali: Split | None = None,
    *,
    criterion: Any = None,
    objective: str | None = None,
    select: str = HEADLINE,
    measures: Sequence[str] | None = None,
    preferences: np.ndarray | None = None,
    quality: Callable[[np.ndarray, np.ndarray], float] = _weighted_mean,
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
        rankers: nets of one config and training, plain (`NeuralRanker`, each with its loss) or told of no preference
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
    """
    import torch

    from ltr.datasets import transforms
    from ltr.datasets.batching.batches import Batches

    from .training import FleetJob, ListLosses, SideBySide, squads_of, train_fleet

    start = time.perf_counter()
    rankers = list(rankers)
    first, plain = _alike(rankers)
    column = _check_splits(train, vali, objective)
    folder = None if folder is None else Path(folder)
    settings, device = first.training, pick_device(accelerator)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    if plain:
        losses = [ranker._check_loss(ranker.loss) for ranker in rankers]
        criterion = ListLosses(losses, column)
        selection = None if vali is None else Selection(select, vali, column)
        times = _times(times, len(rankers), train)
        judge = lambda scores, members: selection(scores)  # noqa: E731
        facts = {"losses": [loss_name(each) for each in losses], "objective": column, "select": select}
        arrays = () if times is None else (times,)
    else:
        if times is not None:
            raise InputError("times are of plain rankers", do="Leave them out")
        shown = _preferences(preferences, len(rankers), len(train.objectives))
        jobs = _conditioned_jobs(train, vali, shown, measures, quality, references, controls, accelerator)
        facts = {
            "criterion": repr(criterion),
            "measures": jobs[0].measures,
            "controls": jobs[0].controls,
            "conditioning": to_dict(first.conditioning),
            "scale": first.scale,
        }
        judge = lambda scores, members: _judged(jobs, scores, members)  # noqa: E731
        arrays = (*references, shown, *(() if weights is None else map(_numpy, weights.values())))
    transform = transforms.fit(settings.transform, train.features)
    batches = Batches(
        train,
        cells=settings.cells,
        lists=settings.lists,
        list_size=settings.list_size or None,
        shuffle=True,
        seed=first.seed,
        device=device,
        transform=transform,
    )
    documents, judged = batches.n_documents, None if vali is None else Batches(vali, device=device, transform=transform)
    for ranker in rankers:
        ranker.transform, ranker.n_features = transform, train.n_features
        with torch.random.fork_rng(devices=[]):  # built on the CPU: the same weights on every device
            torch.manual_seed(seed_of("init", ranker.seed))
            _build(ranker, train, weights, column)
    scale, augmented = (1.0, False) if plain else (first.scale, first.conditioning.start == "augmented")
    trainings = tuple(ranker.training for ranker in rankers) if plain else ()
    kinds = [(each.learning_rate, each.weight_decay) for each in trainings] or None
    squads = squads_of([_inner(ranker) for ranker in rankers], scale, augmented, device, kinds)
    orders = _orders(rankers) if plain and order == "own" else ()
    if orders:
        found = dict(zip(orders, (ranker.seed for ranker in rankers), strict=True))
        batches = SideBySide([batches.with_seed(found[i]) for i in range(len(found))])
    job = FleetJob(
        train,
        vali,
        column,
        criterion,
        select,
        first.seed,
        folder,
        progress,
        1,
        accelerator,
        judge=judge,
        seeds=tuple(ranker.seed for ranker in rankers),
        rates=tuple(ranker.training.learning_rate for ranker in rankers),
        references=references,
        orders=orders,
        trainings=trainings,
        times=times,
    )
    facts |= {
        "fleet": first.name,
        "config": to_dict(first.config),
        "training": to_dict(settings),
        "seeds": job.seeds,
        "rates": job.rates,
        "squads": [len(squad.members) for squad in squads],
        "arrays": _digest(arrays),
        "data": [_fingerprint(split) for split in (train, vali) if split is not None],
    }
    if plain:
        facts |= {"decays": [each.weight_decay for each in trainings], "orders": orders}
    identity = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    state, before = train_fleet(squads, job, settings, batches, judged, identity)

    seconds = (time.perf_counter() - start + before) / len(rankers)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory()
    for i, ranker in enumerate(rankers):
        net = _inner(ranker)
        net.load_state_dict(state.best["net"][i])
        ranker.net.to(device).eval()
        rows = [{key: row[key] if key == "epoch" else row[key][i] for key in row} for row in state.history]
        ranker.history = [row for row in rows if row["loss"] is not None]
        ranker.best = {"epoch": state.best["epoch"][i], "vali": state.best["vali"][i]}
        ranker.cost = {  # its share of the fleet's
            "seconds": seconds,
            "documents_per_second": documents * len(ranker.history) / seconds,
            "peak_memory": peak,
            "step_seconds": statistics.median(state.step_seconds) / len(rankers),
            "fleet": len(rankers),
        }
    return rankers


def score_fleet(rankers: Sequence[Any], split: Split, *, reference: np.ndarray | None = None) -> np.ndarray:
    """float32 `[member, documents]`: what each member's `score` gives up to rounding, with one pass over the lists.

    Args:
        rankers: fitted, of one shape; they need not have been trained together. Members whose transforms differ are
            scored one by one.
        split: lists to score.
        reference: s_ref of the split, float32 `[documents]`, for augmented nets.
    """
    return fleet_scores(rankers, split, reference=reference).cpu().numpy()


def fleet_scores(rankers: Sequence[Any], split: Split, *, reference=None):
    """As `score_fleet`, a tensor on the device of the nets; `reference` may be one."""
    import torch

    from ltr.datasets.batching.batches import Batches

    from .training import squads_of

    rankers = list(rankers)
    first, plain = _alike(rankers, fitted=True)
    if split.n_features != first.n_features:
        expected = f"{first.n_features} features"
        raise InputError("fitted on other features", expected=expected, came=split.n_features)
    if len(rankers) == 1 or not all(_same(first.transform, ranker.transform) for ranker in rankers):
        one = np.eye(len(split.objectives) if plain else len(first.objectives))[:1]
        return torch.stack(
            [r.score_tensor(split) if plain else r.score_tensor(split, one, reference=reference)[0] for r in rankers]
        )
    device = first.device
    scale, augmented = (1.0, False) if plain else (first.scale, first.conditioning.start == "augmented")
    squads = [squad.eval() for squad in squads_of([_inner(each) for each in rankers], scale, augmented, device)]
    base = None if reference is None else padded(reference, device)

    def score(batch):
        s_ref = None if base is None else base[batch.document]
        with torch.inference_mode():
            return torch.cat([squad(batch.features, batch.where, s_ref) for squad in squads], 1).mT

    flat = Batches(split, device=device, transform=first.transform).gather(score)
    return rows_of(flat, len(rankers), device)


# ------------------------------------------------------------------------------------------- two kinds of members


def _alike(rankers: list, fitted: bool = False) -> tuple[Any, bool]:
    """The first of them, and whether they are plain nets; everything that keeps them from being a fleet is named."""
    if not rankers:
        raise InputError("a fleet needs a ranker")
    first = rankers[0]
    kinds = {type(ranker) for ranker in rankers}
    if len(kinds) > 1 or not isinstance(first, NeuralRanker | ConditionedRanker):
        raise InputError("a fleet is made of nets of one kind", came=sorted(kind.__name__ for kind in kinds))
    plain = isinstance(first, NeuralRanker)
    if not plain and any(ranker.conditioning.kind != "none" for ranker in rankers):
        raise InputError("a fleet is made of nets that are told of no preference", expected='kind = "none"')
    same = ["name", "config"] + ([] if plain else ["conditioning", "scale"])
    for ranker in rankers[1:]:
        differ = [name for name in same if getattr(ranker, name) != getattr(first, name)]
        if not fitted:
            ours, theirs = to_dict(ranker.training), to_dict(first.training)
            own = _OWN_OF_PLAIN if plain else _OWN
            differ += [f"training.{key}" for key in theirs if ours.get(key) != theirs[key] and key not in own]
        if differ:
            raise InputError(f"members of a fleet differ in {', '.join(differ)}", do="Train them one after another.")
    if fitted and any(ranker.net is None for ranker in rankers):
        raise InputError("a member of this fleet is not fitted", do="Call fit_fleet, or load rankers that were saved")
    return first, plain


def _same(one, other) -> bool:
    """Whether two transforms are one."""
    return one is other or (
        one.name == other.name and all(np.array_equal(one.arrays[key], other.arrays[key]) for key in one.arrays)
    )


def _orders(rankers: Sequence[NeuralRanker]) -> tuple[int, ...]:
    """Which order of the lists each member meets, numbered as they come."""
    seeds = list(dict.fromkeys(ranker.seed for ranker in rankers))
    return tuple(seeds.index(ranker.seed) for ranker in rankers)


def _build(ranker, train: Split, weights, column: int) -> None:
    if isinstance(ranker, NeuralRanker):
        from ltr.rankers.nets import build

        ranker.objective = train.objectives[column]
        ranker.net = build(ranker.config, train.n_features)
        return
    from ltr.rankers.conditional.nets import Conditioned

    ranker.objectives = train.objectives
    m = len(train.objectives)
    ranker.net = Conditioned(ranker.config, ranker.conditioning, train.n_features, m, ranker.scale)
    if weights is not None:
        ranker.net.start_from(weights)


def _inner(ranker):
    """The net of `nets.py` in it."""
    return ranker.net if isinstance(ranker, NeuralRanker) else ranker.net.net


def _judged(jobs: list, scores: np.ndarray, members: Sequence[int]) -> list[float]:
    values = jobs[0].values(scores)  # of all members at once; what they select by differs in their preferences only
    return [jobs[i].judged(values[:, j : j + 1]) for j, i in enumerate(members)]


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


def _conditioned_jobs(train, vali, shown, measures, quality, references, controls, accelerator) -> list:
    from ltr.rankers.conditional.training import ConditionedJob

    measures = tuple(measures or (HEADLINE,) * len(train.objectives))
    return [
        ConditionedJob(
            train,
            vali,
            0,
            None,
            "",
            0,
            None,
            None,
            1,
            accelerator,
            measures=measures,
            quality=quality,
            preferences=w[None],
            references=references,
            controls=tuple(controls),
        )
        for w in shown
    ]


def _digest(arrays) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
