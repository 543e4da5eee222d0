"""The config of one run: data, a ranker with its loss and training or a method, seeds, measures.

    TOML file + overrides -> `read_config` -> RunConfig (checked, every default filled in) -> `config_hash`

A resolved config names everything that decides the numbers and nothing that does not: the device, the folder and the
number of threads belong to the machine and are written into the record instead. Importing this module costs no torch;
the catalogues are opened when a config is resolved.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any

from ltr.errors import InputError
from ltr.rankers.config import HEADLINE, TrainingConfig
from ltr.schema import bind, override, read_toml, to_dict
from ltr.seeds import seed_of

__all__ = [
    "HEADLINE",
    "HYPERVOLUME",
    "DataConfig",
    "LossChoice",
    "MethodChoice",
    "RankerChoice",
    "RunConfig",
    "command",
    "config_hash",
    "differences",
    "read_config",
    "resolve",
    "seeds",
]

HYPERVOLUME = "hypervolume"  # what selects a method: of its validation points, seen from the origin
_MEASURES = ("nDCG@1", "nDCG@5", "nDCG@10", "AP", "RR")


@dataclass(frozen=True)
class DataConfig:
    """What is ranked.

    Attributes:
        name: dataset: a card's name, "synthetic", or a folder or file of query lists.
        fold: fold of the dataset, e.g. "Fold1"; the first one by default.
        objective: label column that is trained on; the first of `objectives` by default, else the dataset's main one.
        objectives: label columns that are measured; features among them leave the inputs. The trained one by default.
            With a method: what it trades off, in the order of every preference.
    """

    name: str
    fold: str | None = None
    objective: str | None = None
    objectives: tuple[str, ...] = ()


@dataclass(frozen=True)
class RankerChoice:
    """Which ranker.

    Attributes:
        name: its name in the catalogue of rankers, e.g. "mlp".
        params: its parameters; what is not given keeps the ranker's default.
    """

    name: str
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LossChoice:
    """Which loss.

    Attributes:
        name: its name in the catalogue of losses, e.g. "listnet".
        params: its parameters; what is not given keeps the loss's default.
    """

    name: str
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodChoice:
    """Which method for several objectives.

    Attributes:
        name: its name in the catalogue of methods, e.g. "hyperdpo".
        params: its parameters: ranker, ranker_params, loss, loss_params, training and its own; what is not given keeps
            the method's default.
        base: reference scorer s_ref: a finished run of a ranker, or a saved ranker (net or trees), trained on the same
            inputs. By default the method trains its own, on the first objective.
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
        measures: what is reported, by the full name of the measure. With a method: one an objective, each objective's
            own nDCG@10 by default.
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
    measures: tuple[str, ...] = _MEASURES
    select: str = HEADLINE
    # What only methods have is None for a ranker and so stays out of its tables: configs keep the hash they had.
    method: MethodChoice | None = None
    preferences: int | None = None


# Always said in the command of a run, by their short names.
_ALWAYS = {
    "data.name": "--data",
    "data.fold": "--fold",
    "data.objective": "--objective",
    "data.objectives": "--data.objectives",
    "ranker.name": "--ranker",
    "loss.name": "--loss",
    "method.name": "--method",
}


def read_config(path: Path | str | None = None, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """The resolved config of a TOML file with overrides on top.

    Args:
        path: TOML file; None starts from nothing.
        overrides: dotted key -> value, e.g. `{"training.epochs": 5, "ranker.name": "mlp"}`; they win over the file.
            With a method, `training` means `method.params.training`.

    Raises:
        InputError: an unknown key, ranker, loss, parameter or measure (with its near miss), or a wrong type.
    """
    mapping = read_toml(path) if path is not None else {}
    overrides = dict(overrides or {})
    late = {key: overrides.pop(key) for key in list(overrides) if key.partition(".")[0] == "training"}
    for key, value in overrides.items():
        mapping = override(mapping, key, value)
    by_method = mapping.get("method") is not None
    mapping = _trained_by_method(mapping) if by_method else mapping
    for key, value in late.items():
        mapping = override(mapping, f"method.params.{key}" if by_method else key, value)
    config = bind(RunConfig, mapping, file=path)
    resolved = resolve(config)
    if config.training is not None and resolved.training is None:
        raise InputError(
            f"[training] says nothing to ranker {config.ranker.name!r}",
            file=path,
            do="Its settings are [ranker.params]",
        )
    return resolved


def _trained_by_method(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """A file's `[training]` beside a method as what it is, a parameter of the method; what stands there wins."""
    method, training = mapping["method"], mapping.get("training")
    params = method.get("params", {}) if isinstance(method, Mapping) else None
    own = params.get("training", {}) if isinstance(params, Mapping) else None
    if not isinstance(training, Mapping) or not isinstance(own, Mapping):
        return mapping  # nothing to move, or a mistake that binding will name
    merged = {**params, "training": {**training, **own}}
    return {**{k: v for k, v in mapping.items() if k != "training"}, "method": {**method, "params": merged}}


def resolve(config: RunConfig) -> RunConfig:
    """Checks every name and parameter and fills in every default, so that the result alone repeats the run.

    Resolving twice changes nothing. A ranker without a training loop of ours loses `training`: settings that decide
    nothing do not tell two runs apart. Opens the catalogues of rankers, losses and methods (imports torch).
    """
    if (config.ranker is None) == (config.method is None):
        came = [choice.name for choice in (config.ranker, config.method) if choice is not None]
        raise InputError("a run has a ranker or a method", expected="one of the two", came=came)
    return _with_ranker(config) if config.method is None else _with_method(config)


def _with_ranker(config: RunConfig) -> RunConfig:
    from ltr.methods.loss_config import loss_params, takes_loss
    from ltr.metrics import measure
    from ltr.rankers import RANKERS, resolve_params

    name = config.ranker.name
    ranker = RankerChoice(name, resolve_params(name, config.ranker.params))
    if config.preferences is not None:
        raise InputError(f"ranker {name!r} is asked with no preference", do="preferences belong to a method")
    if takes_loss(name) and config.loss is None:
        raise InputError(f"ranker {name!r} is trained with a loss, and none is given", do="Add one: --loss listnet")
    if not takes_loss(name) and config.loss is not None:
        raise InputError(f"ranker {name!r} brings its own objective and takes no loss", came=config.loss.name)
    loss = (
        None
        if config.loss is None
        else LossChoice(config.loss.name, to_dict(loss_params(config.loss.name, config.loss.params)))
    )
    training = (config.training or TrainingConfig()) if RANKERS[name].claims.get("training") else None
    measures = tuple(dict.fromkeys(repr(measure(m)) for m in config.measures))
    if not measures:
        raise InputError("a run reports at least one measure", expected="e.g. nDCG@10", came=list(config.measures))
    select = repr(measure(config.select))
    return replace(config, ranker=ranker, loss=loss, training=training, measures=measures, select=select)


def _with_method(config: RunConfig) -> RunConfig:
    from ltr.losses import LOSSES
    from ltr.methods import METHODS
    from ltr.metrics import measure
    from ltr.rankers import resolve_params

    from .load import own_measures

    entry, data = METHODS[config.method.name], config.data
    what = f"method {entry.name!r}"
    for key in ("loss", "training"):
        if getattr(config, key) is not None:
            raise InputError(f"{key} of {what} is one of its parameters", expected=f"method.params.{key}")
    if data.objective is not None:
        raise InputError(f"{what} trains all of its objectives", do="Leave data.objective out.", came=data.objective)
    names = data.objectives
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError(
            f"{what} trades objectives off", expected="data.objectives: at least two, none twice", came=list(names)
        )
    own = own_measures(data.name, names)  # an unknown objective is named there
    if "measures" in config.method.params:
        raise InputError(f"the measures of {what} are those of the run", expected="measures: one an objective")
    asked = own if config.measures == _MEASURES else config.measures
    if len(asked) != len(names):
        raise InputError("one measure an objective", expected=f"{len(names)}: {', '.join(names)}", came=list(asked))
    if config.select not in (HEADLINE, HYPERVOLUME):
        raise InputError(f"{what} is selected by its front", expected=f"select = {HYPERVOLUME!r}", came=config.select)
    if config.method.base is not None and not entry.claims["base"]:
        raise InputError(f"{what} starts from no reference scorer", do="Leave method.base out.")
    params = to_dict(bind(entry.claims["config"], config.method.params, where="method.params"))
    params.pop("measures", None)  # the run's own
    if "loss" in params:
        LOSSES[params["loss"]]  # an unknown one is named here; its parameters are the method's to judge
    if "ranker" in params:
        params["ranker_params"] = resolve_params(params["ranker"], params.get("ranker_params", {}))
    return replace(
        config,
        method=replace(config.method, params=params),
        measures=tuple(repr(measure(m)) for m in asked),
        select=HYPERVOLUME,
        preferences=_partition(config.preferences, len(names)),
    )


def _partition(asked: int | None, m: int) -> int:
    """H of the lattice; the protocol's where nothing was asked."""
    from ltr.objectives.preferences import PARTITIONS

    if asked is None and m not in PARTITIONS:
        raise InputError(
            "the protocol has no lattice for so many objectives", expected="preferences = H", came=f"{m} objectives"
        )
    found = PARTITIONS[m] if asked is None else asked
    if found < 1:
        raise InputError("preferences are multiples of 1/H", expected="H of 1 or more", came=found)
    return found


def config_hash(config: RunConfig) -> str:
    """First 16 hex digits of the sha256 of the config's canonical JSON; equal configs have equal hashes."""
    text = json.dumps(to_dict(config), sort_keys=True, separators=(",", ":"), default=str)
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


def command(config: RunConfig, out: str = "RUN") -> str:
    """The shell command that repeats the run; what equals the default of this version is not said.

    >>> command(RunConfig(DataConfig("mq2008"), RankerChoice("random"), seed=3))
    'ltr train --data mq2008 --ranker random --seed 3 --out RUN'
    """
    plain = RunConfig(
        config.data,
        config.ranker and RankerChoice(config.ranker.name),
        config.loss and LossChoice(config.loss.name),
        config.training and TrainingConfig(),
        method=config.method and MethodChoice(config.method.name),
    )
    defaults = dict(_leaves(to_dict(resolve(plain))))
    words = ["ltr", "train"]
    for key, value in _leaves(to_dict(resolve(config))):
        if key in _ALWAYS or (value != defaults.get(key) and not key.startswith("data.")):
            words += [_ALWAYS.get(key, f"--{key}")]
            many = key in ("measures", "data.objectives")  # options of several words; other lists are one TOML value
            words += value if many else [value if isinstance(value, str) else json.dumps(value)]
    return shlex.join([*words, "--out", out])


def _leaves(mapping: Mapping, at: str = ""):
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{at}{key}.")
        elif value is not None and value != []:
            yield f"{at}{key}", value


def differences(ours: Mapping | RunConfig, theirs: Mapping | RunConfig) -> list[str]:
    """The dotted keys in which two configs differ, each as `key: ours, not theirs`."""
    one, two = (dict(_leaves(to_dict(c) if is_dataclass(c) else c)) for c in (ours, theirs))
    keys = list(dict.fromkeys([*one, *two]))
    return [f"{k}: {one.get(k)!r}, not {two.get(k)!r}" for k in keys if one.get(k) != two.get(k)]
