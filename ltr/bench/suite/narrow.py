"""Part of a suite, and a suite with all that lies in its folder: what one call does is not all that its page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ltr.errors import InputError, unknown_name

from .plan import Chosen, RunJob, main_jobs
from .reading import check
from .suite import Suite, with_labels

__all__ = ["narrowed", "restricted", "run_folders", "shown", "words_of"]


def narrowed(suite: Suite, only: Sequence[str] = (), seeds: Sequence[int] | None = None) -> Suite:
    """The suite with some of its systems, by label (or its beginning, where none is called so), and other seeds.

    Raises:
        InputError: nothing is called so, or no seed is left.
    """
    if seeds is not None:
        if not seeds or min(seeds) < 0:
            raise InputError("a suite needs seeds", expected="at least one, 0 or more", came=list(seeds))
        systems = tuple(replace(s, seeds=tuple(x for x in s.seeds if x in seeds) or s.seeds[:1]) for s in suite.systems)
        suite = replace(suite, seeds=tuple(dict.fromkeys(seeds)), systems=systems)
    if not only:
        return suite
    labels = [v.label for v in suite.variants()]
    kept: set[str] = set()
    for wanted in only:
        meant = [label for label in labels if label.lower() == wanted.lower()]
        meant = meant or [label for label in labels if label.lower().startswith(wanted.lower())]
        if not meant:
            raise unknown_name("system of the suite", wanted, labels)
        kept.update(meant)
    return check(restricted(suite, [label for label in labels if label in kept]))


def restricted(suite: Suite, labels: Sequence[str]) -> Suite:
    """The suite with the systems (and losses) of these labels, and every share of labels that one of them has, in its
    own order."""
    systems, known, used = [], set(labels), set()
    for system in suite.systems:
        losses = []
        for loss in system.losses or ("",):
            label = f"{system.label} {loss}".strip()
            shares = {share for share in suite.labelled or (None,) if with_labels(label, share) in known}
            losses += [loss] if shares else []
            used |= shares
        if losses:
            systems.append(replace(system, losses=tuple(filter(None, losses))))
    labelled = suite.labelled and tuple(share for share in suite.labelled if share in used)
    return replace(suite, systems=tuple(systems), labelled=labelled)


def run_folders(out: Path) -> set[str]:
    """Every folder below `out/runs` that some run has begun in, relative to `out`."""
    return {path.parent.relative_to(out).as_posix() for path in out.glob("runs/*/*/*/seed*/record.json")}


def shown(
    suite: Suite, folds: Mapping[str, Sequence[str]], chosen: Chosen, asked: Sequence[RunJob], out: Path
) -> tuple[Suite, list[RunJob], list[str]]:
    """What a page has to show: the runs of this call, and those that earlier calls left in the folder.

    Args:
        suite: the whole of it, not what this call does.
        asked: the runs of this call.

    Returns:
        The suite with the systems and seeds that are there; its jobs; and the folders of runs that belong to no system
        of it, which the page cannot show and names.
    """
    there = run_folders(out)
    named = {job.folder for job in asked}
    found = {int(folder.rpartition("/seed")[2]) for folder in there if folder.rpartition("/seed")[2].isdecimal()}
    own = {seed for system in suite.systems for seed in system.seeds}
    seeds = [*suite.seeds, *sorted({*found, *own, *(job.seed for job in asked)} - set(suite.seeds))]
    wide = replace(suite, seeds=tuple(seeds), systems=tuple(replace(s, seeds=()) for s in suite.systems))
    jobs = [job for job in main_jobs(wide, folds, chosen) if job.folder in there or job.folder in named]
    general = {v.label for v in suite.variants() if v.seeds == suite.seeds}  # who repeats what the suite says
    used = {job.seed for job in jobs if job.system in general} or {job.seed for job in jobs}
    suite = replace(suite, seeds=tuple(seed for seed in seeds if seed in used) or suite.seeds)
    labels = {job.system for job in jobs}
    return restricted(suite, [*labels]), jobs, sorted(there - {job.folder for job in jobs})


def words_of(part: Suite, suite: Suite) -> tuple[str, ...]:
    """The options that make `part` of a suite, as words of a command line; none for all of it."""
    words: list[Any] = []
    if part.seeds != suite.seeds:
        words += ["--seeds", *map(str, part.seeds)]
    labels = [v.label for v in part.variants()]
    if labels != [v.label for v in suite.variants()]:
        words += ["--only", *labels]
    return tuple(words)
