"""Runs: a config in, a folder of predictions and numbers out. Names are imported when they are first used."""

from __future__ import annotations

from ltr.lazy import lazily

_HOME = {
    "config": [
        "DataConfig",
        "LossChoice",
        "MethodChoice",
        "RankerChoice",
        "RunConfig",
        "config_hash",
        "seeds",
    ],
    "choice": ["choose", "choose_on_run"],
    "resolving": ["read_config", "resolve"],
    "record": ["Check", "Record", "check", "open_run", "read_record", "verify"],
    "execution": ["execute"],
    "systems": ["load_task", "system_of"],
    "stacked": ["train_stacked"],
    "per_query": ["join", "per_query", "summarise"],
    "scores": ["read_scores", "write_scores"],
    "trec": ["read_qrels", "read_run", "write_qrels", "write_run"],
}
__all__ = sorted(name for names in _HOME.values() for name in names)


__getattr__ = lazily(__name__, _HOME)


def __dir__():
    return __all__
