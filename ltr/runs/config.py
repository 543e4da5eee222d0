"""The config of one run: data, ranker, loss, training, seeds, measures.

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

from ..errors import InputError
from ..rankers.config import HEADLINE, TrainingConfig
from ..seeds import seed_of
from ..strict import bind, override, read_toml, to_dict

__all__ = [
    "HEADLINE", "DataConfig", "LossChoice", "RankerChoice", "RunConfig", "command", "config_hash", "differences",
    "read_config", "resolve", "seeds",
]  # fmt: skip


@dataclass(frozen=True)
class DataConfig:
    """What is ranked.

    Attributes:
        name: dataset: a card's name, "synthetic", or a folder or file of query lists.
        fold: fold of the dataset, e.g. "Fold1"; the first one by default.
        objective: label column that is trained on; the first of `objectives` by default, else the dataset's main one.
        objectives: label columns that are measured; features among them leave the inputs. The trained one by default.
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
class RunConfig:
    """One run: one ranker trained on one fold with one seed.

    Attributes:
        data: what is ranked.
        ranker: which ranker.
        loss: which loss; rankers that bring their own objective (trees, baselines) take none.
        training: how neural rankers are trained; the defaults of TrainingConfig where it is left out.
        seed: seed of the experiment.
        repetition: which repetition of it; all methods of one repetition see the same data order.
        measures: what is reported, by the full name of the measure.
        select: measure that picks the epoch or iteration, on the validation split only.
    """

    data: DataConfig
    ranker: RankerChoice
    loss: LossChoice | None = None
    training: TrainingConfig | None = None
    seed: int = 0
    repetition: int = 0
    measures: tuple[str, ...] = ("nDCG@1", "nDCG@5", "nDCG@10", "AP", "RR")
    select: str = HEADLINE


# Always said in the command of a run, by their short names.
_ALWAYS = {
    "data.name": "--data", "data.fold": "--fold", "data.objective": "--objective",
    "data.objectives": "--data.objectives",
    "ranker.name": "--ranker", "loss.name": "--loss",
}  # fmt: skip


def read_config(path: Path | str | None = None, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """The resolved config of a TOML file with overrides on top.

    Args:
        path: TOML file; None starts from nothing.
        overrides: dotted key -> value, e.g. `{"training.epochs": 5, "ranker.name": "mlp"}`; they win over the file.

    Raises:
        InputError: an unknown key, ranker, loss, parameter or measure (with its near miss), or a wrong type.
    """
    mapping = read_toml(path) if path is not None else {}
    for key, value in (overrides or {}).items():
        mapping = override(mapping, key, value)
    config = bind(RunConfig, mapping, file=path)
    resolved = resolve(config)
    if config.training is not None and resolved.training is None:
        raise InputError(
            f"[training] says nothing to ranker {config.ranker.name!r}",
            file=path,
            do="Its settings are [ranker.params]",
        )
    return resolved


def resolve(config: RunConfig) -> RunConfig:
    """Checks every name and parameter and fills in every default, so that the result alone repeats the run.

    Resolving twice changes nothing. A ranker without a training loop of ours loses `training`: settings that decide
    nothing do not tell two runs apart. Opens the catalogues of rankers and losses (imports torch).
    """
    from ..methods.choices import loss_params, takes_loss
    from ..metrics import measure
    from ..rankers import RANKERS, resolve_params

    name = config.ranker.name
    ranker = RankerChoice(name, resolve_params(name, config.ranker.params))
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
    loss = config.loss and LossChoice(config.loss.name)
    plain = RunConfig(
        config.data, RankerChoice(config.ranker.name), loss, training=config.training and TrainingConfig()
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
