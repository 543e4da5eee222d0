"""Runs: a config in, a folder of predictions and numbers out. Names are imported when they are first used."""

from __future__ import annotations

from ltr.lazy import lazily

_HOME = {
    "DataConfig": "config", "LossChoice": "config", "MethodChoice": "config", "RankerChoice": "config",
    "RunConfig": "config",
    "config_hash": "config", "read_config": "config", "resolve": "config", "seeds": "config",
    "Record": "record", "execute": "execute", "load_task": "load", "read_record": "record", "verify": "record",
    "train_fleet": "stacked",
    "join": "per_query", "per_query": "per_query", "to_frame": "per_query", "summarise": "per_query",
    "read_scores": "scores", "write_scores": "scores",
    "read_qrels": "trec", "read_run": "trec", "write_qrels": "trec", "write_run": "trec",
}  # fmt: skip
__all__ = sorted(_HOME)


__getattr__ = lazily(__name__, _HOME)


def __dir__():
    return __all__
