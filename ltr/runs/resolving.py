"""From a file and overrides to a config with every name known and every default filled in, and to its command."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ltr.errors import InputError
from ltr.rankers.config import TrainingConfig, trained_in_todays_words
from ltr.schema import bind, override, read_toml, to_dict

from .config import SHORT, LossChoice, MethodChoice, RankerChoice, RunConfig, leaves
from .systems import system_of

__all__ = ["command", "read_config", "resolve"]

# Options of several words; other lists are one TOML value.
_WORDS = ("measures", "data.objectives", "data.labels", "data.features", "data.drop", "data.categories")


def read_config(path: Path | str | None = None, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """The resolved config of a TOML file with overrides on top.

    Args:
        path: TOML file; None starts from nothing.
        overrides: dotted key -> value, e.g. `{"training.epochs": 5, "ranker.name": "mlp"}`; they win over the file.
            With a method, `training` means `method.params.training`.

    Raises:
        InputError: an unknown key, ranker, loss, parameter or measure (with its near miss), or a wrong type.
    """
    mapping = trained_in_todays_words(read_toml(path)) if path is not None else {}
    overrides = trained_in_todays_words(overrides or {})
    late = {key: overrides.pop(key) for key in list(overrides) if key.partition(".")[0] == "training"}
    for key, value in overrides.items():
        mapping = override(mapping, key, value)
    by_method = mapping.get("method") is not None
    mapping = _trained_by_method(mapping) if by_method else mapping
    for key, value in late.items():
        mapping = override(mapping, f"method.params.{key}" if by_method else key, value)
    config = bind(RunConfig, mapping, file=path)
    resolved = resolve(config)
    if config.ranker is not None and config.training is not None and resolved.training is None:
        raise InputError(
            f"[training] says nothing to ranker {config.ranker.name!r}",
            file=path,
            do="Its settings are [ranker.params]",
        )
    return resolved


def _trained_by_method(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """A file's `[training]` beside a method as what it is, a parameter of the method; what stands there wins."""
    method, training = mapping["method"], mapping.get("training")
    params = method.get("params", {}) if isinstance(method, Mapping) else None
    own = params.get("training", {}) if isinstance(params, Mapping) else None
    if not isinstance(training, Mapping) or not isinstance(own, Mapping):
        return dict(mapping)  # nothing to move, or a mistake that binding will name
    merged = {**(params or {}), "training": {**training, **own}}
    return {**{k: v for k, v in mapping.items() if k != "training"}, "method": {**method, "params": merged}}


def resolve(config: RunConfig) -> RunConfig:
    """Checks every name and parameter and fills in every default, so that the result alone repeats the run.

    Resolving twice changes nothing. A ranker without a training loop of ours loses `training`: settings that decide
    nothing do not tell two runs apart. Opens the catalogues of rankers, losses and methods (imports torch).
    """
    return system_of(config).resolved()


def command(config: RunConfig, out: str = "RUN") -> str:
    """The shell command that repeats the run; what equals the default of this version is not said.

    >>> from ltr.runs.config import DataConfig
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
    defaults = dict(leaves(to_dict(resolve(plain))))
    words = ["ltr", "train"]
    for key, value in leaves(to_dict(resolve(config))):
        if key in SHORT or key.startswith("data.") or value != defaults.get(key):
            words += [SHORT.get(key, f"--{key}")]
            words += value if key in _WORDS else [value if isinstance(value, str) else json.dumps(value)]
    return shlex.join([*words, "--out", out])
