"""A suite file and the runs it stands for: systems x losses x folds x seeds, and the same tuning budget for all.

A suite is one TOML file. `extends` names another file beside it whose keys it takes over (tables are merged, systems
of the same label too), so that several suites share one list of systems.

    title = "MQ2008, five official folds"
    extends = "_systems.toml"
    datasets = ["mq2008"]
    folds = "all"
    seeds = [0, 1, 2]
    measures = ["nDCG(gain=exp2,empty=skip)@10", "AP"]     # the first is the headline unless `headline` says otherwise

    [[systems]]
    label = "MLP"
    ranker = "mlp"
    losses = ["mse", "listnet"]              # one system a loss: "MLP mse", "MLP listnet"
    params = { hidden = [32] }
    training = { epochs = 30 }
    grid = { training.learning_rate = [0.001, 0.003], params.dropout = [0.0, 0.2] }

    [tuning]
    points = 4                               # the same number for every system with a grid
    folds = ["Fold1"]
    seeds = [0]

Where what counts is the numbers and not the cost of a single training, the seeds of a system (on one fold, with one
architecture) and those of its candidates that differ in learning rate, weight decay, loss or seed train as one program:

    [limits]
    fleet = true                             # or: ltr bench run SUITE --fleet, --no-fleet

Every run ends in its own folder with the numbers it has alone, bit for bit on a CPU; its record says `fleet = N`, and
its seconds of training are an N-th of the fleet's. Nets only; what no fleet can train is trained one by one.

`losses = "all"` is every registered loss; the suite that lies beside results has their names. Where a loss must know
the grades of a dataset, `[loss_params.NAME]` says so once for all systems.

A suite of methods for several objectives has `objectives`, and `method` in place of `ranker`:

    objectives = ["relevance", "page-rank"]
    preferences = 10                         # H of the lattice every method is scored on

    [[systems]]
    label = "HyperDPO"
    method = "hyperdpo"                      # params: those of the method; training and loss_params are among them
    params = { ranker_params = { hidden = [32] } }
    training = { epochs = 30 }
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ltr import paths as places
from ltr import schema
from ltr.errors import InputError, unknown_name
from ltr.metrics import measure
from ltr.rankers.config import HEADLINE
from ltr.runs.config import HYPERVOLUME

from .grids import SECTIONS, flat_grid, grid_size

__all__ = ["Limits", "Suite", "System", "Tuning", "Variant", "check", "find_suite", "load_suite", "slug", "suite_names"]


@dataclass(frozen=True)
class System:
    """One ranker or method of a suite, or one a loss where `losses` lists several.

    Attributes:
        label: its name in tables; the loss is appended where `losses` is given.
        ranker: name in the catalogue of rankers; either this or `method`.
        losses: losses to train it with, for rankers that take one; "all" in a file is every registered one.
        params: parameters of the ranker, or of the method.
        loss_params: parameters of the loss, over those of the suite.
        training: settings of the training loop, over those of the suite.
        grid: what tuning may choose from: "params.x", "loss_params.x" or "training.x" -> list of values.
        seeds: instead of the suite's, e.g. one seed where nothing is random.
        baseline: a yardstick (random, one feature), drawn apart in tables and pictures.
        source: where the values are taken from, for published configurations.
        method: name in the catalogue of methods for several objectives.
    """

    label: str
    ranker: str = ""
    losses: tuple[str, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    loss_params: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    grid: dict[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    baseline: bool = False
    source: str = ""
    method: str = ""


@dataclass(frozen=True)
class Tuning:
    """The tuning budget: the same number of grid points for every system that has a grid, judged on validation.

    Attributes:
        points: grid points tried for every system; 0 leaves every system as written.
        folds: folds they are tried on. "first" is the first fold of each dataset, whose choice serves all folds. "each"
            lets every fold choose on its own validation queries: as many times the cost, and the only way that sees no
            test query, because in official folds the validation part of one is the test part of another.
        seeds: seeds they are tried with; the mean over folds (unless each chooses for itself) and seeds decides.
        seed: draws the points where a grid holds more of them.
    """

    points: int = 0
    folds: tuple[str, ...] = ("first",)
    seeds: tuple[int, ...] = (0,)
    seed: int = 0


@dataclass(frozen=True)
class Limits:
    """What the machine is asked for.

    Attributes:
        workers: processes that train at the same time.
        threads: threads of each.
        fleet: the seeds of a system on a fold train as one program, and so do the candidates of its tuning that differ
            in learning rate, weight decay, loss or seed: same numbers, less time, and seconds of training that are a
            share of the fleet's. Off where the cost of a single training is what a suite reports.
    """

    workers: int = 2
    threads: int = 1
    fleet: bool = False


@dataclass(frozen=True)
class Suite:
    """A benchmark as written down.

    Attributes:
        title, description: for the report.
        datasets: names or paths as `ltr.datasets.load` takes them.
        systems: who competes.
        name: stem of the file; filled in by `load_suite`.
        extends: file whose keys are taken over, relative to this one.
        folds: "all", or names of folds.
        seeds: repetitions; each seeds initialisation and data order of every system alike.
        objective: label column to rank by; empty for the dataset's main one.
        measures: what is reported; the repr of a measure says its conventions. Of methods: one an objective; empty for
            each objective's own.
        headline: measure the table is sorted by; the first of `measures` when empty. Of methods: the hypervolume.
        select: measure that stops training and chooses hyperparameters, on validation; the headline when empty.
        per_query: measures whose values a query are kept in the results besides the headline (they take space).
        training: settings of the training loop for every system that has one.
        loss_params: loss -> its parameters in every system that is trained with it.
        tuning, limits: see there.
        objectives: what methods trade off, in the order of every preference; empty for a suite of rankers.
        preferences: H of the lattice methods are scored on; 0 in a file is the protocol's for so many objectives.
    """

    title: str
    datasets: tuple[str, ...]
    systems: tuple[System, ...]
    description: str = ""
    name: str = ""
    extends: str = ""
    folds: tuple[str, ...] = ("all",)
    seeds: tuple[int, ...] = (0,)
    objective: str = ""
    measures: tuple[str, ...] = (HEADLINE,)
    headline: str = ""
    select: str = ""
    per_query: tuple[str, ...] = ()
    training: dict[str, Any] = field(default_factory=dict)
    loss_params: dict[str, dict[str, Any]] = field(default_factory=dict)
    tuning: Tuning = Tuning()
    limits: Limits = Limits()
    objectives: tuple[str, ...] = ()
    preferences: int = 0

    @property
    def of_methods(self) -> bool:
        """Whether methods for several objectives compete; rankers otherwise."""
        return any(system.method for system in self.systems)

    def variants(self) -> list[Variant]:
        """The systems, one a loss, in the order of the file."""
        found = []
        for system in self.systems:
            for loss in system.losses or ("",):
                label = f"{system.label} {loss}".strip()
                # Who takes no loss has no training loop either: the suite's settings are not theirs.
                trained = _takes_training(system.method) if system.method else bool(loss)
                training = {**(self.training if trained else {}), **system.training}
                grid = flat_grid(system.grid, where=f"systems {system.label!r}")
                found.append(
                    Variant(
                        label,
                        slug(label),
                        system.ranker,
                        loss,
                        system.params,
                        {**self.loss_params.get(loss, {}), **system.loss_params},
                        training,
                        grid,
                        system.seeds or self.seeds,
                        system.baseline,
                        system.method,
                    )
                )
        return found


def _takes_training(method: str) -> bool:
    """Whether a method is trained by gradients."""
    from ltr.methods import METHODS

    return "training" in METHODS[method].claims["config"].__dataclass_fields__


@dataclass(frozen=True)
class Variant:
    """One competitor: a system with one of its losses. `slug` names its folders."""

    label: str
    slug: str
    ranker: str
    loss: str
    params: dict[str, Any]
    loss_params: dict[str, Any]
    training: dict[str, Any]
    grid: dict[str, list]
    seeds: tuple[int, ...]
    baseline: bool
    method: str = ""

    def at(self, point: Mapping[str, Any]) -> Variant:
        """Itself with a point of its grid, `{"training.learning_rate": 0.001}`, put in place."""
        sections = {section: dict(getattr(self, section)) for section in SECTIONS}
        for path, value in point.items():
            section, key = path.split(".", 1)
            sections[section][key] = value
        return replace(self, **sections)


# ---------------------------------------------------------------------------------------------------- reading


def suite_names() -> list[str]:
    """Suites that travel with the package; files whose name starts with _ are parts of suites."""
    return sorted(p.stem for p in (places.suites() / "suites").glob("*.toml") if not p.name.startswith("_"))


def find_suite(name: str | Path) -> Path:
    """The file of a suite: a path, or the name of one that travels with the package."""
    path = Path(name)
    if path.suffix == ".toml":
        if path.is_file():
            return path
        raise InputError("no such suite file", file=path, do=f"Suites that come with ltr: {', '.join(suite_names())}")
    if str(name) in suite_names():
        return places.suites() / "suites" / f"{name}.toml"
    if path.suffix or len(path.parts) > 1:
        raise InputError("no such suite file", file=path, expected="a file SUITE.toml, or a name: see ltr bench list")
    raise unknown_name("suite", str(name), suite_names())


def load_suite(name: str | Path) -> Suite:
    """A suite from a file or by name.

    Raises:
        InputError: unknown keys (naming the near miss), wrong types, two systems of one label, a grid smaller than
            the budget.
    """
    path = find_suite(name)
    mapping = _merged(path, seen=())
    for table, key in ((mapping, "folds"), (mapping, "datasets"), (mapping.get("tuning"), "folds")):
        if isinstance(table, dict) and isinstance(table.get(key), str):
            table[key] = [table[key]]
    if isinstance(mapping.get("systems"), list):
        mapping["systems"] = [_with_losses(system) for system in mapping["systems"]]
    suite = schema.bind(Suite, mapping, file=path)
    losses = {loss for system in suite.systems for loss in system.losses}
    for loss in suite.loss_params:
        if loss not in losses:
            raise unknown_name("loss of the suite", loss, sorted(losses))
    return check(replace(suite, name=suite.name or path.stem), file=path)


def _with_losses(system: Any) -> Any:
    """The table of a system with `losses = "all"` replaced by their names."""
    if not isinstance(system, Mapping) or system.get("losses") != "all":
        return system
    from ltr.losses import LOSSES

    return {**system, "losses": LOSSES.names()}


def check(suite: Suite, file: Path | None = None) -> Suite:
    """The suite with its defaults filled in, or an error for what binding alone cannot see."""
    if not suite.datasets or not suite.systems or not suite.seeds:
        raise InputError("a suite needs datasets, systems, measures and seeds", file=file)
    for system in suite.systems:
        if bool(system.ranker) == bool(system.method):
            came = [name for name in (system.ranker, system.method) if name]
            raise InputError(f"system {system.label!r} is a ranker or a method", file=file, came=came)
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
    if suite.objectives or suite.preferences:
        raise InputError(
            "objectives and preferences are for systems with `method`", file=file, do="A ranker learns one: `objective`"
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
    measures = () if suite.measures == Suite.measures else suite.measures
    if len(measures) not in (0, m):
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


def _merged(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """The mapping of a file over that of the file it extends."""
    if path.resolve() in seen:
        raise InputError("a suite extends itself", file=path, came=[p.name for p in seen])
    mapping = dict(schema.read_toml(path))
    if not mapping.get("extends"):
        return mapping
    parent = path.parent / str(mapping["extends"])
    if not parent.is_file():
        raise InputError("the file this suite extends is not there", file=path, came=str(mapping["extends"]))
    return _over(_merged(parent, (*seen, path.resolve())), mapping)


def _over(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """`top` over `base`: tables are merged, systems by label, everything else replaced."""
    merged = dict(base)
    for key, value in top.items():
        if key == "systems" and isinstance(value, list) and key in base:
            systems = {s.get("label"): s for s in base[key]}
            for system in value:
                systems[system.get("label")] = _over(systems.get(system.get("label"), {}), system)
            merged[key] = list(systems.values())
        elif isinstance(value, Mapping) and isinstance(base.get(key), Mapping):
            merged[key] = _over(base[key], value)
        else:
            merged[key] = value
    return merged


def slug(label: str) -> str:
    """A folder name.

    >>> slug("MLP ListNet (small)")
    'mlp-listnet-small'
    """
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-") or "system"
