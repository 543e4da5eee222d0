"""A suite file and the runs it stands for: systems x losses x folds x seeds, and the same tuning budget for all.

A suite is one TOML file. `extends` names another file beside it, or a suite that comes with ltr, whose keys it takes
over (tables are merged, systems of the same label too), so that several suites share one list of systems.

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
    stacked = true                           # or: ltr bench run SUITE --stacked, --no-stacked

Every run ends in its own folder with the numbers it has alone, bit for bit on a CPU; its record says `stacked = N`, and
its seconds of training are an N-th of the program's. Nets only; what cannot be stacked is trained one by one.

What several systems share stands once, in a template that they name with `template = "net"`:

    [templates.net]
    grid = { training.learning_rate = [0.001, 0.01] }

`labelled = [0.05, 0.2, 1.0]` makes a system of each share, "MLP listnet, 5 % labelled", that is trained on the labels
of so many of the training queries, the same ones for all systems of a seed.

`losses = "all"` is every registered loss; the suite that lies beside results has their names. Where a loss must know
the grades of a dataset, `[loss_params.NAME]` says so once for all systems.

A suite of methods for several objectives has `objectives`, and `method` in place of `ranker`:

    objectives = ["relevance", "page-rank"]
    preferences = 10                         # H of the lattice every method is scored on
    main = "clicks"                          # or none: a label kept apart, see `Suite`

    [[systems]]
    label = "HyperDPO"
    method = "hyperdpo"                      # params: those of the method; training and loss_params are among them
    params = { ranker_params = { hidden = [32] } }
    training = { epochs = 30 }

What a method's `params` say of training or loss_params is the system's own `training` and `loss_params`: it goes over
that of the suite, and saying a thing in both places is an error.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Literal

from ltr.errors import InputError
from ltr.rankers.config import HEADLINE

from .grids import SECTIONS, flat_grid

__all__ = ["Limits", "Suite", "System", "Tuning", "Variant", "dataset_slug", "slug", "with_labels"]

_LONGEST = 100  # letters of a folder's name


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
        baseline: something simple to compare with (random, one feature), drawn apart in tables and pictures.
        source: where the values are taken from, for published configurations.
        method: name in the catalogue of methods for several objectives.
        budget: instead of the suite's.
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
    budget: Literal["model", "total"] | None = None


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
        stacked: the seeds of a system on a fold train as one program, and so do the candidates of its tuning that
            differ in learning rate, weight decay, loss or seed: same numbers, less time, and seconds of training that
            are a share of the program's. Off where the cost of a single training is what a suite reports.
    """

    workers: int = 2
    threads: int = 1
    stacked: bool = False

    RENAMED: ClassVar = {"fleet": "stacked"}


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
        objective: label column to rank by, as "clicks" or with a transform "clicks:grade5"; empty for the main one.
        measures: what is reported; the repr of a measure says its conventions. Of methods: one an objective; empty for
            each objective's own.
        headline: measure the table is sorted by; the first of `measures` when empty. Of methods: the hypervolume.
        select: measure that stops training and chooses hyperparameters, on validation; the headline when empty.
        per_query: measures whose values a query are kept in the results besides the headline (they take space).
        training: settings of the training loop for every system that has one.
        loss_params: loss -> its parameters in every system that is trained with it.
        tuning, limits: see there.
        objectives: what methods trade off, in the order of every preference; empty for a suite of rankers.
        main: label column kept apart from `objectives`: methods with a reference ranker train it on this one, and
            it is measured beside the front. None: the first objective is what the reference ranker learns.
        preferences: H of the lattice methods are scored on; 0 in a file is the protocol's for so many objectives.
        labelled: shares of the training queries whose labels are used, one system a share; all of them when empty.
        budget: of methods, what equal cost means, "model" or "total" (see budget.py).
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
    labelled: tuple[float, ...] | None = None  # None stays out of tables: suites keep the hash they had
    main: str | None = None
    budget: Literal["model", "total"] | None = None  # None: "model", and stays out of tables

    @property
    def of_methods(self) -> bool:
        """Whether methods for several objectives compete; rankers otherwise."""
        return any(system.method for system in self.systems)

    def variants(self) -> list[Variant]:
        """The systems, one a loss and share of labels, in the order of the file.

        Raises:
            InputError: a system of a method says the same thing in two places.
        """
        found = []
        for system in self.systems:
            params, loss_params, own = _settings(system)
            for loss, labelled in product(system.losses or ("",), self.labelled or (None,)):
                label = with_labels(f"{system.label} {loss}".strip(), labelled)
                # Who takes no loss has no training loop either: the suite's settings are not theirs.
                trained = _takes_training(system.method) if system.method else bool(loss)
                found.append(
                    Variant(
                        label,
                        slug(label),
                        system.ranker,
                        loss,
                        params,
                        {**self.loss_params.get(loss, {}), **loss_params},
                        {**(self.training if trained else {}), **own},
                        flat_grid(system.grid, where=f"systems {system.label!r}"),
                        system.seeds or self.seeds,
                        system.baseline,
                        system.method,
                        system.budget,
                        labelled,
                    )
                )
        return found


def _settings(system: System) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """params, loss_params and training of a system; those inside the params of a method are taken out of them."""
    params, found = dict(system.params), []
    for key in ("loss_params", "training"):
        own, inner = getattr(system, key), params.pop(key, {}) if system.method else {}
        if not isinstance(inner, Mapping):
            raise InputError(f"params.{key} of system {system.label!r}", expected="a table", came=inner)
        twice = sorted(set(own) & set(inner))
        if twice:
            raise InputError(
                f"system {system.label!r} says {key}.{twice[0]} twice",
                expected=f"in `{key}` or in `params.{key}`, not in both",
                came=[own[twice[0]], inner[twice[0]]],
            )
        found.append({**own, **inner})
    if system.losses and "loss" in params:
        raise InputError(
            f"system {system.label!r} says its loss twice", expected="in `losses` or in `params.loss`, not in both"
        )
    loss_params, training = found
    return params, loss_params, training


def _takes_training(method: str) -> bool:
    """Whether a method is trained by gradients."""
    from ltr.methods import METHODS

    return "training" in METHODS[method].claims["config"].__dataclass_fields__


@dataclass(frozen=True)
class Variant:
    """One competitor: a system with one of its losses and shares of labels. `slug` names its folders."""

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
    budget: str | None = None
    labelled: float | None = None

    def at(self, point: Mapping[str, Any]) -> Variant:
        """Itself with a point of its grid, `{"training.learning_rate": 0.001}`, put in place."""
        sections: dict[str, Any] = {section: dict(getattr(self, section)) for section in SECTIONS}
        for path, value in point.items():
            section, key = path.split(".", 1)
            sections[section][key] = value
        return replace(self, **sections)


def with_labels(label: str, labelled: float | None) -> str:
    """The label of a system that is trained on a share of the labels.

    >>> with_labels("MLP listnet", 0.05)
    'MLP listnet, 5 % labelled'
    """
    return label if labelled is None else f"{label}, {100 * labelled:g} % labelled"


def slug(label: str) -> str:
    """A folder name. Letters that it cannot say, and what is too long for a file's name, are told apart by a hash.

    >>> slug("MLP ListNet (small)"), slug("Netz für Läden")
    ('mlp-listnet-small', 'netz-f-r-l-den-1b41e0')
    """
    found = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")
    if len(found) <= _LONGEST and not any(c.isalnum() and not c.isascii() for c in label):
        return found or "system"
    return f"{found[:_LONGEST]}-{hashlib.sha256(label.lower().encode()).hexdigest()[:6]}".lstrip("-")


def dataset_slug(name: str) -> str:
    """Folder name of a dataset given by name or path."""
    return slug(Path(name).name if "/" in name else name)
