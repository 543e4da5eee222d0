"""A suite from its file: found by name, merged with what it extends, checked, its defaults filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ltr import paths, schema
from ltr.errors import InputError, check_name, unknown_name
from ltr.metrics import measure
from ltr.rankers.config import trained_in_todays_words
from ltr.runs.config import HYPERVOLUME

from .grids import grid_size
from .suite import Suite, dataset_slug

__all__ = ["check", "find_suite", "load_suite", "read_suite", "suite_names"]


def _folder() -> Path:
    return paths.suites() / "suites"


def suite_names() -> list[str]:
    """Suites that travel with the package; files whose name starts with _ are parts of suites."""
    return sorted(p.stem for p in _folder().glob("*.toml") if not p.name.startswith("_"))


def find_suite(name: str | Path) -> Path:
    """The file of a suite: a path, or the name of one that travels with the package."""
    path = Path(name)
    if path.suffix == ".toml":
        if path.is_file():
            return path
        raise InputError("no such suite file", file=path, do=f"Suites that come with ltr: {', '.join(suite_names())}")
    if str(name) in suite_names():
        return _folder() / f"{name}.toml"
    if path.suffix or len(path.parts) > 1:
        raise InputError("no such suite file", file=path, expected="a file SUITE.toml, or a name: see ltr bench list")
    raise unknown_name("suite", str(name), suite_names())


def load_suite(name: str | Path) -> Suite:
    """A suite from a file or by name.

    Raises:
        InputError: unknown keys (naming the near miss), wrong types, two systems of one label, a grid smaller than
            the budget, one thing said in two places.
    """
    path = find_suite(name)
    mapping = read_suite(path)
    for table, key in ((mapping, "folds"), (mapping, "datasets"), (mapping.get("tuning"), "folds")):
        if isinstance(table, dict) and isinstance(table.get(key), str):
            table[key] = [table[key]]
    templates = mapping.pop("templates", {})
    systems = [_from_template(system, templates, path) for system in mapping.get("systems", [])]
    mapping["systems"] = [_with_losses(system) for system in systems]
    suite = schema.bind(Suite, mapping, file=path)
    losses = {loss for system in suite.systems for loss in system.losses}
    for loss in suite.loss_params:
        check_name("loss of the suite", loss, losses, file=path)
    try:
        return check(replace(suite, name=suite.name or path.stem), file=path)
    except InputError as error:  # of a measure or a grid, which do not know where they were written
        raise (error if error.file is not None else error.but(file=path)) from None


def _from_template(system: Mapping[str, Any], templates: Any, path: Path) -> Mapping[str, Any]:
    """The table of a system over the template it names, `template = "net"` for `[templates.net]`."""
    name = system.get("template")
    if name is None:
        return system
    if not isinstance(templates, Mapping) or not isinstance(templates.get(name), Mapping):
        known = list(templates) if isinstance(templates, Mapping) else []
        raise unknown_name(f"template of system {system['label']!r}", str(name), known, file=path)
    return {key: value for key, value in _over(templates[name], system).items() if key != "template"}


def _with_losses(system: Mapping[str, Any]) -> Mapping[str, Any]:
    """The table of a system with `losses = "all"` replaced by their names."""
    if system.get("losses") != "all":
        return system
    from ltr.losses import LOSSES

    return {**system, "losses": LOSSES.names()}


# ---------------------------------------------------------------------------------------------------- merging


def read_suite(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The mapping of a suite's file over that of the file it extends; nothing is checked but what merging needs.

    Raises:
        InputError: no TOML, systems without a label, a file that is not there or extends itself.
    """
    if path.resolve() in seen:
        raise InputError("a suite extends itself", file=path, came=[p.name for p in seen])
    mapping = trained_in_todays_words(schema.read_toml(path))
    systems = mapping.get("systems", [])
    if not isinstance(systems, list) or not all(isinstance(each, Mapping) for each in systems):
        raise InputError("systems of a suite", file=path, expected="a table [[systems]] each", came=systems)
    for system in systems:
        if not isinstance(system.get("label"), str):
            raise InputError("label of a system", file=path, expected="a text", came=system.get("label"))
    extends = mapping.get("extends", "")
    if not isinstance(extends, str):
        raise InputError("extends of a suite", file=path, expected="the name of a suite, or of a file", came=extends)
    return _over(read_suite(_extended(path, extends), (*seen, path.resolve())), mapping) if extends else mapping


def _extended(path: Path, name: str) -> Path:
    """The file `extends` means: one beside the suite, or a suite (or part of suites) of the package."""
    known = {p.stem: p for p in _folder().glob("*.toml")}
    beside = path.parent / name
    if beside.is_file():
        return beside
    if name.removesuffix(".toml") in known:
        return known[name.removesuffix(".toml")]
    if name.endswith(".toml") or len(Path(name).parts) > 1:
        raise InputError("the file this suite extends is not there", file=path, came=name)
    raise unknown_name("suite to extend", name, suite_names(), file=path)


def _over(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """`top` over `base`: tables are merged, systems by label, everything else replaced."""
    merged = dict(base)
    for key, value in top.items():
        if key == "systems" and key in base:
            systems = {system["label"]: system for system in base[key]}
            for system in value:
                systems[system["label"]] = _over(systems.get(system["label"], {}), system)
            merged[key] = list(systems.values())
        elif isinstance(value, Mapping) and isinstance(base.get(key), Mapping):
            merged[key] = _over(base[key], value)
        else:
            merged[key] = value
    return merged


# ---------------------------------------------------------------------------------------------------- checking


def check(suite: Suite, file: Path | None = None) -> Suite:
    """The suite with its defaults filled in, or an error for what binding alone cannot see."""
    if not suite.datasets or not suite.systems or not suite.seeds:
        raise InputError("a suite needs datasets, systems, measures and seeds", file=file)
    labels = [system.label for system in suite.systems]
    for what, texts in (("datasets", suite.datasets), ("objectives", suite.objectives), ("labels", labels)):
        if any(not text.strip() or not text.isprintable() for text in texts):
            raise InputError(f"{what} of a suite", file=file, expected="names that can be read", came=list(texts))
    if paths := [label for label in labels if ".." in re.split(r"[/\\]", label)]:
        raise InputError("label of a system", file=file, expected="a name for tables, no path", came=paths[0])
    for system in suite.systems:
        if bool(system.ranker) == bool(system.method):
            came = [name for name in (system.ranker, system.method) if name]
            raise InputError(f"system {system.label!r} is a ranker or a method", file=file, came=came)
    every = (*suite.seeds, *suite.tuning.seeds, *(seed for system in suite.systems for seed in system.seeds))
    if any(seed < 0 for seed in every):
        raise InputError("seeds of a suite", file=file, expected="0 or more", came=min(every))
    lists: dict[str, tuple] = {what: getattr(suite, what) or () for what in ("seeds", "datasets", "folds", "labelled")}
    lists |= {f"tuning.{what}": getattr(suite.tuning, what) for what in ("folds", "seeds")}
    lists |= {f"seeds of {system.label!r}": system.seeds for system in suite.systems}
    for what, names in lists.items():
        if len(set(names)) < len(names):
            raise InputError(f"{what} of a suite", file=file, expected="none twice", came=list(names))
        if not names and what in ("folds", "tuning.folds", "tuning.seeds"):
            raise InputError(f"{what} of a suite", file=file, expected="one or more")
    for what, value, least in (
        ("limits.workers", suite.limits.workers, 1),
        ("limits.threads", suite.limits.threads, 1),
        ("tuning.points", suite.tuning.points, 0),
    ):
        if value < least:
            raise InputError(f"{what} of a suite", file=file, expected=f"{least} or more", came=value)
    if len({dataset_slug(name) for name in suite.datasets}) < len(suite.datasets):
        raise InputError("two datasets share a folder", file=file, came=list(suite.datasets), do="Run a suite for each")
    if any(not 0 < share <= 1 for share in suite.labelled or ()):
        raise InputError("labelled of a suite", file=file, expected="shares in (0, 1]", came=list(suite.labelled or ()))
    suite = (_with_objectives if suite.of_methods else _with_measures)(suite, file)
    for extra in suite.per_query:
        if extra not in suite.measures:
            raise InputError(
                "per_query names a measure that is not reported",
                file=file,
                expected=f"one of {', '.join(suite.measures)}",
                came=extra,
            )
    seen: dict[str, str] = {}
    for variant in suite.variants():
        if variant.slug in seen:
            raise InputError(
                "two systems share a folder",
                file=file,
                came=[seen[variant.slug], variant.label],
                do="Give them labels of their own",
            )
        seen[variant.slug] = variant.label
        size = grid_size(variant.grid)
        if suite.tuning.points and 0 < size < suite.tuning.points:
            raise InputError(
                f"the grid of {variant.label!r} is smaller than the budget that every system gets",
                file=file,
                expected=f"at least {suite.tuning.points} points",
                came=size,
                do="Widen the grid or lower tuning.points",
            )
    return suite


def _with_measures(suite: Suite, file: Path | None) -> Suite:
    """A suite of rankers with its measures spelled out."""
    if not suite.measures:
        raise InputError("a suite needs datasets, systems, measures and seeds", file=file)
    if suite.objectives or suite.preferences or suite.main is not None:
        raise InputError(
            "objectives, main and preferences are for systems with `method`",
            file=file,
            do="A ranker learns one: `objective`",
        )
    headline = repr(measure(suite.headline or suite.measures[0]))
    return replace(
        suite,
        headline=headline,
        select=repr(measure(suite.select or headline)),
        measures=tuple(dict.fromkeys([headline, *(repr(measure(m)) for m in suite.measures)])),
        per_query=tuple(repr(measure(m)) for m in suite.per_query),
    )


def _with_objectives(suite: Suite, file: Path | None) -> Suite:
    """A suite of methods with its lattice spelled out; an objective's own measure is a fact of each dataset."""
    from ltr.objectives.preferences import PARTITIONS

    m = len(suite.objectives)
    if any(not system.method for system in suite.systems):
        raise InputError("a suite is either all rankers or all methods", file=file)
    if m < 2 or len(set(suite.objectives)) < m or suite.objective:
        came = list(suite.objectives) or suite.objective
        raise InputError("methods trade `objectives` off", file=file, expected="at least two, none twice", came=came)
    if suite.main is not None and (suite.main in suite.objectives or not suite.main.strip()):
        raise InputError("the main label is kept apart", file=file, expected="none of `objectives`", came=suite.main)
    measures = () if suite.measures == Suite.measures else suite.measures
    if len(measures) not in (0, m, m + (suite.main is not None)):
        raise InputError("one measure an objective", file=file, expected=f"{m}", came=list(measures))
    for key in ("headline", "select"):
        if getattr(suite, key) not in ("", HYPERVOLUME):
            came = getattr(suite, key)
            raise InputError(f"{key} of a suite of methods", file=file, expected=HYPERVOLUME, came=came)
    if suite.per_query:
        raise InputError("a suite of methods keeps every objective's own measure a query", file=file)
    if suite.preferences < 0 or (not suite.preferences and m not in PARTITIONS):
        raise InputError(
            "preferences are multiples of 1/H", file=file, expected="H of 1 or more", came=suite.preferences
        )
    return replace(
        suite,
        measures=tuple(repr(measure(each)) for each in measures),
        headline=HYPERVOLUME,
        select=HYPERVOLUME,
        preferences=suite.preferences or PARTITIONS[m],
    )
