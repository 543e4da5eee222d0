"""The inputs properties are proven on: lists that broke somebody's loss once, and batches of random ones.

A case is one unpadded list `(scores, labels)` of numpy arrays. `pad` puts cases into one batch, with pads at the end,
at the start or scattered, and with anything a caller may have left in them.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from ltr.catalogue import Entry


@contextmanager
def about(*what):
    """A failure inside says of which entry, choice or case it speaks."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"of {', '.join(map(str, what))}")
        raise


WORKED = (np.array([1.2, 0.4, 1.9, -0.3]), np.array([1.0, 3.0, 0.0, 2.0]))


def random_list(seed: int, n: int, *, ties: bool = True, spread: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Normal scores; grades 0-4 with many ties, or n different labels in random order when `ties` is False."""
    rng = np.random.default_rng([seed, n])
    labels = rng.choice(5, size=n, p=[0.45, 0.25, 0.15, 0.1, 0.05]) if ties else rng.permutation(n) / max(n / 4, 1)
    return rng.normal(0, spread, n), labels.astype(float)


def cases(ties: bool = True) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Ordinary and degenerate lists by name. `ties=False` leaves out those with equal labels or equal scores."""
    s8, y8 = random_list(1, 8, ties=False)
    plain = {
        "worked": WORKED,
        "one relevant document": (np.array([0.7]), np.array([2.0])),
        "one irrelevant document": (np.array([0.7]), np.array([0.0])),
        "two documents": (np.array([0.2, 1.1]), np.array([2.0, 0.0])),
        "nothing": (np.zeros(0), np.zeros(0)),
        "distinct": (s8, y8),
        "scores x 1e4": (s8 * 1e4, y8),
        "scores x 1e-4": (s8 * 1e-4, y8),
        "scores + 1e4": (np.round(s8, 1) + 1e4, y8),
        "in order": (np.arange(6.0)[::-1].copy(), np.arange(6.0)[::-1] / 2),
        "reversed": (np.arange(6.0), np.arange(6.0)[::-1] / 2),
        "all relevant": (np.array([0.4, -1.1, 0.9]), np.array([1.0, 3.0, 2.0])),
    }
    tied = {
        "tied grades": random_list(2, 9),
        "long": random_list(3, 67),
        "no relevant document": (s8, np.zeros(8)),
        "all labels tied": (s8, np.full(8, 2.0)),
        "all scores tied": (np.zeros(8), y8),
        "everything tied": (np.zeros(5), np.ones(5)),
        "one relevant among many": (random_list(4, 12)[0], np.eye(12)[7]),
    }
    return plain | tied if ties else plain


def pad(lists, *, dtype=torch.float64, device="cpu", fill: float = 0.0, extra: int = 0, at: str = "end"):
    """scores, labels, where of one batch; pads hold `fill`, stand `at` "end", "start" or "scattered"."""
    lists = list(lists)
    width = max((len(s) for s, _ in lists), default=0) + extra
    scores = torch.full((len(lists), width), fill, dtype=dtype)
    labels, where = scores.clone(), torch.zeros(len(lists), width, dtype=torch.bool)
    for row, (s, y) in enumerate(lists):
        places = np.arange(len(s))
        if at == "start":
            places = places + width - len(s)
        elif at == "scattered":
            places = np.sort(np.random.default_rng(row).choice(width, len(s), replace=False))
        scores[row, places] = torch.as_tensor(s, dtype=dtype)
        labels[row, places] = torch.as_tensor(y, dtype=dtype)
        where[row, places] = True
    return scores.to(device), labels.to(device), where.to(device)


def tensors(case, *, dtype=torch.float64, device="cpu"):
    """scores and labels `[list]` of one case."""
    return tuple(torch.as_tensor(each, dtype=dtype, device=device) for each in case)


@dataclass(frozen=True)
class Bound:
    """A catalogue entry with parameters: what a property is proven of. Need not stand in the catalogue."""

    entry: Entry
    params: dict = field(default_factory=dict)

    def __call__(self, scores, labels, where=None, **options):
        return self.entry.function(scores, labels, where, **options, **self.params)

    def __str__(self) -> str:
        return f"{self.entry.name}({', '.join(f'{k}={v}' for k, v in self.params.items())})"


def variants(entry: Entry) -> Iterator[Bound]:
    """An entry with its defaults, then with every other value of each choice (Literal), cut-off or scale it takes.

    Parameters are read from the signature, so that a new loss is walked through without a word here.
    """
    others = {
        "k": (1, 3, 50),
        "sigma": (2.0,),
        "base": (float(np.e),),
        "delta": (0.3,),
        "margin": (0.4,),
        "top": (8.0,),
        "boundaries": ((-1.0, 0.0, 1.5, 4.0),),
        "mu": (1.0,),
        "eps": (0.3,),
        "temperature": (0.5,),
        "deviation": (0.5,),
        "cut": (2.0,),
        "scale": (0.5,),
        "steepness": (30.0,),
    }
    yield Bound(entry)
    hints = typing.get_type_hints(entry.function)
    choices = {}
    for name in entry.parameters:
        literal = typing.get_origin(hints[name]) is typing.Literal
        options = typing.get_args(hints[name]) if literal else others.get(name, ())
        default = inspect.signature(entry.function).parameters[name].default
        choices[name] = [value for value in options if value != default]
        for value in choices[name]:
            if name == "temperature" and "target" in choices:  # a softmax of labels has one, the other targets do not
                yield Bound(entry, {"target": "soft", name: value})
            elif name != "truncation":
                yield Bound(entry, {name: value})
    for value in choices.get("truncation", ()):  # says nothing without a cut-off
        yield Bound(entry, {"k": 3, "truncation": value})
