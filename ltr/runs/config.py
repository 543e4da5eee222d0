"""The config of one run: data, a ranker with its loss and training or a method, seeds, measures.

    TOML file + overrides -> `read_config` -> RunConfig (checked, every default filled in) -> `config_hash`

A resolved config names everything that decides the numbers and nothing that does not: the device, the folder and the
number of threads belong to the machine and are written into the record instead. Importing this module costs no torch:
names are looked up in the catalogues when a config is resolved (resolving.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ltr.rankers.config import HEADLINE, TrainingConfig, check
from ltr.schema import to_dict
from ltr.seeds import seed_of

__all__ = [
    "HEADLINE",
    "HYPERVOLUME",
    "MEASURES",
    "SHORT",
    "DataConfig",
    "LossChoice",
    "MethodChoice",
    "RankerChoice",
    "RunConfig",
    "config_hash",
    "differences",
    "leaves",
    "seeds",
]

HYPERVOLUME = "hypervolume"  # what selects a method: of its validation points, seen from the origin
MEASURES = ("nDCG@1", "nDCG@5", "nDCG@10", "AP", "RR")


@dataclass(frozen=True)
class DataConfig:
    """What is ranked.

    Attributes:
        name: dataset: a card's name, "synthetic", or a folder or file of query lists.
        fold: fold of the dataset, e.g. "Fold1"; the first one by default.
        objective: label column that is trained on; ":TRANSFORM" behind it makes labels of what it holds (grade5,
            minmax, log-minmax), ":GAIN" (exp2, linear) says what they are worth. The first of `objectives` by default,
            else the dataset's main one.
        objectives: label columns that are measured; features among them leave the inputs. The trained one by default.
            With a method: what it trades off, in the order of every preference.
        main: with a method: label column kept apart. Its reference ranker is trained on it, it is measured beside
            `objectives`, and no preference weighs it. None: the reference ranker is trained on the first objective.
        labels: label columns of a table or folder that is named by its path, as `ltr.load` takes them.
        features: its feature columns; all other numbers by default.
        drop: columns of it that are left out.
        categories: its feature columns that are categories, of text or numbers.
        query: its query column, where the name does not say so.
        document: its document column, likewise.
        weights: its column of weights: what a document counts in the losses.
        positions: its column of the rank a document was shown at.
        clicks: its column of clicks: a label column, and the main one.
        debias: weighs clicked training documents by inverse propensities of their positions: "em" (estimated),
            "power:ETA" (rank^-ETA) or a file with a number a rank. Boosters have their own: ranker.params.debias.
        pairs: table of comparisons (query, winner, loser, p, weight) that is trained on in place of the training lists.
        labelled: share of the training queries whose labels may be used, drawn by seed and repetition alone; less is
            part of more. The others are lists without labels, which `pretrained` rankers look at. Validation keeps all
            of its labels, and labels that are made of a column (":minmax") are fitted on all of them. Default: 1.
    """

    name: str
    fold: str | None = None
    objective: str | None = None
    objectives: tuple[str, ...] = ()
    # What only some runs have is None for others and so stays out of tables: configs keep the hash they had.
    main: str | None = None
    labels: tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None
    drop: tuple[str, ...] | None = None
    query: str | None = None
    document: str | None = None
    weights: str | None = None
    positions: str | None = None
    clicks: str | None = None
    debias: str | None = None
    pairs: str | None = None
    categories: tuple[str, ...] | None = None
    labelled: float | None = None

    def __post_init__(self) -> None:
        alone = self.pairs is None and self.debias is None
        holds = self.labelled is None or (0 < self.labelled <= 1 and alone)
        check(self, labelled=(holds, "a share in (0, 1], and neither pairs nor debias"))

    @property
    def columns(self) -> tuple[str, ...]:
        """The label columns that are named, the trained one first; none for the dataset's main one."""
        return tuple(dict.fromkeys(filter(None, (self.objective, *self.objectives))))

    @property
    def roles(self) -> dict[str, Any]:
        """What is said of the columns of data given by path, as `ltr.load` takes it."""
        keys = ("labels", "features", "drop", "query", "document", "weights", "positions", "clicks", "categories")
        asked = {key: getattr(self, key) for key in keys}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asked.items() if value}


@dataclass(frozen=True)
class RankerChoice:
    """Which ranker.

    Attributes:
        name: linear, mlp, transformer, dasalc, tabm, bagged, blend, calibrated, distilled, residual or pretrained,
            which are trained with a loss; lightgbm, xgboost or catboost; feature (the best single one), random or
            constant.
        params: its parameters; what is not given keeps the ranker's default.
    """

    name: str
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LossChoice:
    """Which loss.

    Attributes:
        name: its name in the catalogue of losses, e.g. "listnet", "lambdarank" or "mse"; a wrong one lists all.
        params: its parameters; what is not given keeps the loss's default.
    """

    name: str
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodChoice:
    """Which method for several objectives.

    Attributes:
        name: its name in the catalogue of methods, e.g. "hyperdpo", "ls" or "cosmos"; a wrong one lists all.
        params: its parameters: ranker, ranker_params, loss, loss_params, training and its own; what is not given keeps
            the method's default.
        base: reference scorer s_ref: a finished run of a ranker, or a saved ranker (net or trees), trained on the same
            inputs. By default the method trains its own, on `data.main` or the first objective.
    """

    name: str
    params: dict[str, Any] = field(default_factory=dict)
    base: str | None = None


@dataclass(frozen=True)
class RunConfig:
    """One run: one ranker, or one method for several objectives, trained on one fold with one seed.

    Attributes:
        data: what is ranked.
        ranker: which ranker; either this or a method.
        loss: which loss; rankers that bring their own objective (trees, baselines) take none.
        training: how neural rankers are trained; the defaults of TrainingConfig where it is left out.
        seed: seed of the experiment.
        repetition: which repetition of it; all methods of one repetition see the same data order.
        measures: what is reported, e.g. nDCG@10 AP, or a preset such as letor4. With a method: one an objective and,
            last, one of `data.main`; each one's own nDCG@10 by default.
        select: measure that picks the epoch or iteration, on the validation split only. With a method: the hypervolume
            of its validation points, which is what tuning compares.
        method: which method for several objectives; `data.objectives` names at least two.
        preferences: H of the preference lattice a method is scored on, all w whose entries are multiples of 1/H; by
            default 10, 10, 5, 4, 3 for 2 to 6 objectives.
    """

    data: DataConfig
    ranker: RankerChoice | None = None
    loss: LossChoice | None = None
    training: TrainingConfig | None = None
    seed: int = 0
    repetition: int = 0
    measures: tuple[str, ...] = MEASURES
    select: str = HEADLINE
    # What only methods have is None for a ranker and so stays out of its tables: configs keep the hash they had.
    method: MethodChoice | None = None
    preferences: int | None = None


# Dotted keys -> the short options of `ltr train`.
SHORT = {"data.name": "--data", "ranker.name": "--ranker", "loss.name": "--loss", "method.name": "--method"}
SHORT |= {f"data.{f.name}": f"--{f.name}" for f in fields(DataConfig) if f.name not in ("name", "objectives")}

_FIRST_NAMES = {"stacked": "fleet", "batch_size": "lists"}


def _as_first_named(config: RunConfig | Mapping[str, Any]) -> Mapping[str, Any]:
    """The table of a config in the words it was first kept in, so that a run from before a renaming is the same run."""
    plain = config if isinstance(config, Mapping) else to_dict(config)
    return {
        _FIRST_NAMES.get(key, key): _as_first_named(value) if isinstance(value, Mapping) else value
        for key, value in plain.items()
    }


def config_hash(config: RunConfig | Mapping[str, Any]) -> str:
    """First 16 hex digits of the sha256 of the canonical JSON of a config, or of its table; equal configs have equal
    hashes."""
    text = json.dumps(_as_first_named(config), sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def seeds(config: RunConfig) -> dict[str, int]:
    """The seed handed to the ranker and the seeds of its axes, by name.

    `run` knows the experiment's seed and the repetition, and neither the data, the ranker nor the loss: all methods of
    a repetition share the data order, and all losses of a net its start. Axes that are drawn anew each epoch
    (`seed_of(axis, run, epoch)`) are given for epoch 0.
    """
    run = seed_of("run", config.seed, config.repetition)
    epochwise = {axis: seed_of(axis, run, 0) for axis in ("order", "documents", "noise", "loss")}
    return {"run": run, "init": seed_of("init", run), **epochwise}


def leaves(mapping: Mapping, at: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of everything in nested tables that says something."""
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{at}{key}.")
        elif value is not None and value != []:
            yield f"{at}{key}", value


def differences(ours: Mapping | RunConfig, theirs: Mapping | RunConfig) -> list[str]:
    """The dotted keys in which two configs differ, each as `key: ours, not theirs`."""
    one, two = (dict(leaves(_as_first_named(c))) for c in (ours, theirs))
    keys = list(dict.fromkeys([*one, *two]))
    return [f"{k}: {one.get(k)!r}, not {two.get(k)!r}" for k in keys if one.get(k) != two.get(k)]
