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
_SAME: tuple[str, ...] = ("objective", "objectives", "main", "preferences", "measures", "headline", "per_query")
_SAME += ("select", "tuning", "training", "budget")
_ALIKE = 1e-6  # values a query are kept as float32


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
            raise error.but(file=folder) from None
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
    _check_data(a, b)
    key = list(KEYS)
    done = [runs[runs.status.isin(["done", "truth"])].set_index(key) for runs in (a.runs, b.runs)]
    both = done[0].index.intersection(done[1].index)
    hashes = [part.loc[both, "config_hash"].astype("string").fillna("") for part in done]  # rows from outside have none
    odd = both[hashes[0].ne(hashes[1])]
    frames: list[str] = ["fronts"] if isinstance(a, FrontResults) else ["values", "curves"]
    for name in () if len(odd) else (frames[0], "per_query"):
        odd = odd.append(_unlike(getattr(a, name), getattr(b, name), both))
    if len(odd):
        where = ", ".join(map(str, odd[0]))
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


def _unlike(a: pd.DataFrame, b: pd.DataFrame, both: pd.Index) -> pd.MultiIndex:
    """Keys of runs that both have and whose rows are not the same."""
    import pandas as pd

    values = [name for name in a.columns if a[name].dtype.kind == "f"]
    rest = [name for name in a.columns if name not in values]
    parts = [frame[pd.MultiIndex.from_frame(frame[list(KEYS)]).isin(both)] for frame in (a, b)]
    joined = parts[0].merge(parts[1], "outer", on=rest, suffixes=("", "_b"), indicator=True)
    odd = joined["_merge"] != "both"
    for name in values:
        mine, theirs = joined[name], joined[f"{name}_b"]
        odd |= (mine.isna() != theirs.isna()) | ((mine - theirs).abs() > _ALIKE)
    return _keys(joined[odd], list(KEYS))


def _check_data(a: Results | FrontResults, b: Results | FrontResults) -> None:
    """The same fold is the same data, and the same queries."""
    fold = ["dataset", "fold"]
    stores = [r.runs.dropna(subset="store_hash").groupby(fold).store_hash.unique() for r in (a, b)]
    queries = [r.per_query[[*fold, "query"]].drop_duplicates().groupby(fold)["query"].unique() for r in (a, b)]
    for facts in (stores, queries):
        for at in facts[0].index.intersection(facts[1].index):
            if set(facts[0][at]) != set(facts[1][at]):
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
    if (a.labelled is None) != (b.labelled is None) or any(
        a.loss_params[loss] != b.loss_params[loss] for loss in a.loss_params.keys() & b.loss_params.keys()
    ):
        raise InputError("the suites differ in labelled or loss_params")
    either: dict[str, Any] = {
        name: _union(getattr(a, name), getattr(b, name)) for name in ("datasets", "seeds", "folds")
    }
    either["labelled"] = a.labelled and _union(a.labelled, b.labelled or ())
    return replace(a, systems=tuple(systems.values()), loss_params={**b.loss_params, **a.loss_params}, **either)


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
