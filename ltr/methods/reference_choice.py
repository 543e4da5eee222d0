"""The reference ranker a method trains for itself, as its config names it: any ranker, or any method at a preference.

reference = { ranker = "lightgbm", params = { rounds = 100 } }
reference = { method = "plug-in", params = { ranker = "lightgbm" }, preference = [0.5, 0.5] }
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ltr.atomic import read_facts, whole_folder
from ltr.errors import InputError
from ltr.objectives import check_preference
from ltr.rankers.config import check
from ltr.types import Split

__all__ = ["MARK", "MethodAsRanker", "ReferenceChoice"]

_FORMAT, MARK = 1, "reference.json"


@dataclass(frozen=True)
class ReferenceChoice:
    """What s_ref is trained as; one of `ranker` and `method` is given.

    Attributes:
        ranker: a name of the catalogue of rankers; a net learns with the loss and the training of the method, unless
            its params say otherwise (`training = {...}`).
        method: a name of the catalogue of methods.
        params: of either.
        objective: label that the ranker learns; by default the main one that is kept apart, else the first.
        preference: over all labels of the task; the method is used at it, and one with a model a preference trains this
            one. By default all weight lies on the main label that is kept apart; without one, weights are equal.
    """

    ranker: str | None = None
    method: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    objective: str | None = None
    preference: tuple[float, ...] | None = None

    def __post_init__(self):
        check(
            self,
            ranker=((self.ranker is None) != (self.method is None), "a ranker, or a method"),
            objective=(self.objective is None or self.ranker is not None, "left out: a method has a preference"),
            preference=(self.preference is None or self.method is not None, "left out: a ranker has an objective"),
        )

    @property
    def name(self) -> str:
        """Of the ranker or the method."""
        return self.ranker or self.method or ""

    def asked(self, labels: tuple[str, ...], main: str | None = None) -> np.ndarray:
        """The preference of the method over the labels of the task, `[label]`."""
        given = np.full(len(labels), 1 / len(labels)) if main is None else np.array([name == main for name in labels])
        return np.asarray(check_preference(given if self.preference is None else self.preference, labels), float)

    def learned(self, labels: tuple[str, ...], main: str | None = None) -> str:
        """The label that the ranker learns."""
        name = self.objective or main or labels[0]
        if name not in labels:
            raise InputError("the reference learns no such label", expected=", ".join(labels), came=name)
        return name


class MethodAsRanker:
    """A fitted method at one preference, with the verbs of a ranker that has been fitted.

    Args:
        method: fitted.
        preference: `[objective]`.
    """

    def __init__(self, method: Any, preference: np.ndarray):
        self.method, self.preference = method, np.asarray(preference, float)

    @property
    def name(self) -> str:
        return str(self.method.name)

    @property
    def n_features(self) -> int | None:
        return self.method.models[0].n_features

    @property
    def n_parameters(self) -> int:
        return int(self.method.cost["n_parameters"])

    @property
    def notes(self) -> list[str]:
        return [text for model in self.method.models for text in getattr(model, "notes", ())]

    def to(self, device: Any) -> None:
        """Moves what are nets."""
        for each in (*self.method.models, self.method.base):
            part = each if hasattr(each, "to") else getattr(each, "net", None)
            if part is not None:
                part.to(device)

    def score(self, split: Split, preference: Any = None) -> np.ndarray:
        """float32 `[documents]`."""
        return self.method.score(split, self.preference)[0]

    def score_tensor(self, split: Split) -> Any:
        """As `score`, a tensor where the models are."""
        return self.method.score_tensor(split, self.preference)[0]

    def save(self, folder: Path | str) -> None:
        """Writes the folder `load` reads; it appears whole or not at all."""
        with whole_folder(folder, MARK) as into:
            self.method.save(into / "method")
            facts = {"format": _FORMAT, "preference": self.preference.tolist()}
            (into / MARK).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, load_method: Callable[[Path], Any]) -> MethodAsRanker:
        """The one kept in a folder."""
        facts = read_facts(folder, MARK, _FORMAT)
        return cls(load_method(folder / "method"), np.array(facts["preference"]))
