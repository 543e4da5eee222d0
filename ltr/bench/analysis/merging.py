"""Results of one suite that was run in several places, as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ltr.atomic import whole_folder
from ltr.bench.suite.suite import Suite, System
from ltr.errors import InputError

from .outside import copy_scores
from .results import FrontResults, Results, load_any
from .results_io import KEYS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["merge_folders", "merged"]

R = TypeVar("R", Results, FrontResults)

# What two results must agree in: else numbers of one mean something else than those of the other.
_SAME = ("objective", "objectives", "main", "preferences", "measures", "headline", "per_query", "select", "tuning")
_ALIKE = 1e-9


def merge_folders(folders: Sequence[Path | str], to: Path | str) -> Results | FrontResults:
    """`merged` of the results in several folders, left to right; written into another one with the scores of systems
    from outside."""
    if (to := Path(to)).exists():
        raise InputError("merged results go into a folder of their own", file=to, expected="a folder that is not there")
    found: Any = load_any(folders[0])
    for folder in folders[1:]:
        try:
            found = merged(found, load_any(folder))
        except InputError as error:
            raise InputError(error.what, file=folder, expected=error.expected, came=error.came, do=error.do) from None
    with whole_folder(to) as beside:
        found.save(beside)
        for folder in reversed(folders):
            copy_scores(folder, beside)
    return found


def merged(a: R, b: R) -> R:
    """The rows of both: other systems, folds, seeds or datasets of suites that measure the same.

    A run that both have is taken once; where only one finished it, that one.

    Raises:
        InputError: suites that measure differently, one label for two systems, a run that both have with different
            numbers, or results on different data.
    """
    if type(a) is not type(b):
        raise InputError("results of rankers and of methods are two tables", expected="two of one kind")
    for name in _SAME:
        if getattr(a.suite, name) != getattr(b.suite, name):
            raise InputError(
                f"the suites differ in {name}", expected=getattr(a.suite, name), came=getattr(b.suite, name)
            )
    _check_data(a.runs, b.runs)
    key = list(KEYS)
    done = [runs[runs.status.isin(["done", "truth"])].set_index(key) for runs in (a.runs, b.runs)]
    both = done[0].index.intersection(done[1].index)
    hashes = [part.loc[both, "config_hash"].astype("string").fillna("") for part in done]  # rows from outside have none
    odd = hashes[0].ne(hashes[1])
    frames: list[str] = ["fronts"] if isinstance(a, FrontResults) else ["values", "curves"]
    numbers = frames[0]
    means = [getattr(r, numbers).groupby(key)["mean"].sum() for r in (a, b)]
    odd |= (means[0].reindex(both) - means[1].reindex(both)).abs() > _ALIKE
    if odd.any():
        where = ", ".join(map(str, odd[odd].index[0]))
        raise InputError(f"both have a run of {where}, and they are not the same run")
    # Of every run the finished one, else the first: rows of b whose run a finished, and those of a that only b did.
    ended: list[Any] = [part.index for part in done]
    from_b = _keys(b.runs, key).difference(ended[0]).difference(_keys(a.runs, key).difference(ended[1]))
    found: dict[str, Any] = {
        name: _rows(getattr(a, name), getattr(b, name), from_b) for name in [*frames, "per_query", "runs"]
    }
    return replace(a, suite=_suite(a.suite, b.suite), chosen=_chosen(a.chosen, b.chosen), **found)


def _keys(frame: pd.DataFrame, key: list[str]) -> pd.MultiIndex:
    import pandas as pd

    return pd.MultiIndex.from_frame(frame[key]).unique()


def _rows(a: pd.DataFrame, b: pd.DataFrame, from_b: pd.MultiIndex) -> pd.DataFrame:
    """Rows of a but for those that come from b, and these."""
    import pandas as pd

    mine, theirs = (pd.MultiIndex.from_frame(frame[list(KEYS)]).isin(from_b) for frame in (a, b))
    parts = [part for part in (a[~mine], b[theirs]) if len(part)]
    return pd.concat(parts, ignore_index=True)[list(a.columns)] if parts else a


def _check_data(a: pd.DataFrame, b: pd.DataFrame) -> None:
    """The same fold is the same data."""
    stores = [runs.dropna(subset="store_hash").groupby(["dataset", "fold"]).store_hash.unique() for runs in (a, b)]
    for at in stores[0].index.intersection(stores[1].index):
        if set(stores[0][at]) != set(stores[1][at]):
            raise InputError(f"the results were made on different data: {' '.join(at)}")


def _suite(a: Suite, b: Suite) -> Suite:
    systems: dict[str, System] = {system.label: system for system in a.systems}
    for system in b.systems:
        mine = systems.setdefault(system.label, system)
        if replace(mine, losses=(), seeds=()) != replace(system, losses=(), seeds=()):
            raise InputError(f"the suites have different systems of one label: {system.label!r}")
        losses = tuple(dict.fromkeys([*mine.losses, *system.losses]))
        seeds = tuple(dict.fromkeys([*mine.seeds, *system.seeds]))
        systems[system.label] = replace(mine, losses=losses, seeds=seeds)
    either: dict[str, Any] = {
        name: _union(getattr(a, name), getattr(b, name)) for name in ("datasets", "seeds", "folds")
    }
    return replace(a, systems=tuple(systems.values()), **either)


def _union(a: Iterable, b: Iterable) -> tuple:
    found = tuple(dict.fromkeys([*a, *b]))
    return ("all",) if "all" in found else found


def _chosen(a: dict, b: dict) -> dict:
    """What tuning tried, system by system; a system that both tuned keeps what a says."""
    systems = {
        dataset: {**b.get("systems", {}).get(dataset, {}), **own} for dataset, own in a.get("systems", {}).items()
    }
    systems = {**b.get("systems", {}), **systems}
    return {**b, **a, **({"systems": systems} if systems else {})}
