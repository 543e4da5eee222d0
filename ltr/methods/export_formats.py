"""What was trained, in the formats of those who serve it.

    onnx, pt2        everything, transforms inside: export.py
    lightgbm-json    one LightGBM, as its `dump_model` (Vespa reads it)
    xgboost-ubj      one XGBoost, as its `save_model` (Vespa reads it)
    solr             trees and their weighted sums as MultipleAdditiveTreesModel, linear scores as LinearModel
    opensearch       the same as model/xgboost+json and model/linear of its (and Elasticsearch's) plugin

Scores are ours, up to rounding; those of a linear model up to a constant, which the two engines have no place for. What
a format cannot hold is refused, and the error names those that can. Splits on categories stand in the boosters' own
formats only, with the codes whose places they speak of (`category_code` makes a code of a text).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ltr.atomic import whole_file
from ltr.errors import InputError, unknown_name
from ltr.rankers.trees.forest import Forest

from .base import Method
from .export import FixedRanker, PlainPart, fixed, ship
from .reference import ReferenceMethod

__all__ = ["FORMS", "Exported", "export"]

_SLACK = np.float32(1e-6)  # Solr adds it to every threshold it reads


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Attributes:
        path: of the file.
        notes: sentences whoever serves it should read: what the format leaves to them.
    """

    path: Path
    notes: tuple[str, ...] = ()


class _Given(NamedTuple):
    model: Any
    preference: Any
    names: tuple[str, ...]
    title: str


def export(
    model: Any, path: Path | str, form: str, preference: Any = None, names: Sequence[str] = (), title: str = "ltr"
) -> Exported:
    """Writes a fitted ranker, or a method at a preference, in one of the `FORMS`; the file appears whole or not at all.

    Args:
        model: fitted ranker or method.
        path: of the file.
        form: see above.
        preference: `[objective]`, of a method.
        names: of the features, in their order; f1, f2, ... by default. Search engines find features by them.
        title: what a search engine calls the model.

    Raises:
        InputError: an unknown form, one that cannot hold this, a missing or wrong preference, a model not fitted.
        MissingExtra: ONNX without the libraries of the extra `onnx`.
    """
    if form not in FORMS:
        raise unknown_name("form of an export", form, FORMS)
    path, levels = Path(path), getattr(model, "levels", {})
    if levels and preference is None and _NATIVE.get(form) == model.module:
        module = FixedRanker([], {"ranker": model.name, "features": model.n_features})
    else:
        module = fixed(model, preference)  # what is wrong with model and preference is said here
    names = tuple(names) or tuple(f"f{k + 1}" for k in range(module.facts["features"]))
    if len(set(names)) < len(names):
        raise InputError("features of one name", do="Name the columns of the data differently")
    if form in ("onnx", "pt2"):
        module.facts["feature_names"] = list(names)
        return Exported(ship(module, path, form=f".{form}"))
    write = FORMS[form].write
    assert write is not None
    content, notes = write(_Given(model, preference, names, title), module)
    with whole_file(path) as beside:
        beside.write_bytes(content)
    return Exported(path, tuple(notes))


_Written = tuple[bytes, list[str]]


def _refused(given: _Given, form: str, why: str, others: str) -> InputError:
    return InputError(f"{form} cannot hold {given.model.name!r}: {why}", do=f"Formats that can: {others}")


# ------------------------------------------------------------------------------------------------------- the boosters


_NATIVE = {"lightgbm-json": "lightgbm", "xgboost-ubj": "xgboost"}


def _booster(given: _Given, module: FixedRanker, form: str) -> tuple[Any, dict[str, list[int]], list[str]]:
    """The one booster that gives the scores, the codes of its categories by their place, and what to say of them."""
    ranker, library = given.model, _NATIVE[form]
    if isinstance(ranker, Method):
        terms = ranker.terms(np.asarray(module.facts["preference"]))
        plain = (
            len(terms) == 1 and terms[0].share == 1 and terms[0].map is None and not isinstance(ranker, ReferenceMethod)
        )
        ranker = terms[0].net if plain else None
    if getattr(ranker, "module", None) != library:
        trees = _forest(given, module) is not None
        others = "onnx, pt2" + (", solr, opensearch" if trees else "")
        raise _refused(given, form, f"its scores are not those of one {library} model", others)
    assert ranker is not None
    codes = {given.names[k]: [int(code) for code in values] for k, values in ranker.levels.items()}
    note = f"{', '.join(codes)}: give the place of the value in category_codes of the file, its length for a new one"
    return ranker.model, codes, [note] if codes else []


def _lightgbm(given: _Given, module: FixedRanker) -> _Written:
    booster, codes, notes = _booster(given, module, "lightgbm-json")
    own = {"category_codes": codes} if codes else {}
    return json.dumps({**booster.dump_model(), "feature_names": list(given.names), **own}).encode(), notes


def _xgboost(given: _Given, module: FixedRanker) -> _Written:
    booster, codes, notes = _booster(given, module, "xgboost-ubj")
    if codes:
        booster = booster.copy()
        booster.set_attr(category_codes=json.dumps(codes))
    return bytes(booster.save_raw("ubj")), ["features have no names in the file: they go by their order", *notes]


# ------------------------------------------------------------------------------------------------------ search engines


def _forest(given: _Given, module: FixedRanker) -> Forest | None:
    """The trees whose sum the scores are; None where they are no sum of trees."""
    if not isinstance(given.model, Method):
        return given.model.forest() if hasattr(given.model, "forest") else None
    terms = given.model.terms(np.asarray(module.facts["preference"]))
    if isinstance(given.model, ReferenceMethod) or any(
        t.map is not None or not hasattr(t.net, "forest") for t in terms
    ):
        return None
    return Forest.sum([(term.share, term.net.forest()) for term in terms])


def _linear(module: FixedRanker) -> tuple[np.ndarray, float] | None:
    """Weights `[feature]` and constant, of scores that are linear in the raw features; None where they are not."""
    if any(m.transform.levels for m in module.modules() if isinstance(m, PlainPart)):
        return None  # codes of categories are no numbers
    n = module.facts["features"]
    where = torch.ones(1, 64, dtype=torch.bool)
    x = torch.zeros(1, 64, n, requires_grad=True)
    with torch.enable_grad():
        scores = module(x, where)
        if not scores.requires_grad:  # trees only
            return None
        (weights,) = torch.autograd.grad(scores[0, 0], x, allow_unused=True)
    if weights is None:
        return None
    w, constant = weights[0, 0].double(), float(scores[0, 0].detach())
    # From tenths to tens of where each feature begins to matter: a logarithm, a bend or a softmax shows.
    units = 1 / w.abs().clamp(min=1e-6)
    generator = torch.Generator().manual_seed(0)
    signs = torch.randn(64, n, generator=generator, dtype=torch.float64)
    probe = (signs * units * torch.logspace(-1, 1, 64, dtype=torch.float64)[:, None] / n**0.5).float()
    with torch.no_grad():
        found = module(probe[None], where)[0].double()
    expected = probe.double() @ w + constant
    far = float((found - expected).abs().max())
    return (w.numpy(), constant) if far <= 1e-4 * max(1.0, float(expected.abs().max())) else None


def _nested(forest: Forest, node: Callable[..., dict], leaf: Callable[..., dict]) -> list[dict]:
    """A dictionary a tree; the bias is a tree of one leaf."""

    def walk(at: int, depth: int) -> dict:
        left, right = int(forest.left[at]), int(forest.right[at])
        if left == at:
            return leaf(at, float(forest.value[at]))
        return node(at, depth, walk(left, depth + 1), walk(right, depth + 1))

    trees = [walk(int(root), 0) for root in forest.roots]
    return trees + ([leaf(0, forest.bias)] if forest.bias or not trees else [])


def _used(forest: Forest, names: Sequence[str]) -> list[str]:
    inner = forest.left != np.arange(len(forest.left))
    return [names[k] for k in np.unique(forest.feature[inner])]


def _solr(given: _Given, module: FixedRanker) -> _Written:
    forest, names = _forest(given, module), given.names
    head: dict[str, Any] = {"class": "org.apache.solr.ltr.model.", "name": given.title}
    if forest is None:
        weights, notes = _linear_weights(given, module, "solr")
        features = [{"name": name} for name in weights]
        whole = {**head, "features": features, "params": {"weights": weights}}
        whole["class"] += "LinearModel"
        return json.dumps(whole, indent=1).encode(), notes
    inner = np.flatnonzero(forest.left != np.arange(len(forest.left)))
    conditions = {int(at): str(_solr_threshold(forest.threshold[at])) for at in inner}

    def node(at: int, depth: int, left: dict, right: dict) -> dict:
        return {"feature": names[forest.feature[at]], "threshold": conditions[at], "left": left, "right": right}

    # Numbers are texts: Solr's setters take floats or texts, and JSON has doubles.
    trees = _nested(forest, node, lambda at, value: {"value": str(np.float32(value))})
    whole = {
        "class": head["class"] + "MultipleAdditiveTreesModel",
        "name": given.title,
        "features": [{"name": name} for name in _used(forest, names)],
        "params": {"trees": [{"weight": "1", "root": tree} for tree in trees]},
    }
    leftwards = int(forest.missing[inner].sum())
    note = f"Solr knows no missing values and puts a feature's default there; {leftwards} splits send them left"
    return json.dumps(whole).encode(), [note]


def _solr_threshold(threshold: np.float32) -> np.float32:
    """The largest float32 t with t + slack < threshold, in float32: x <= t + slack is then x < threshold.

    But for x in the last place or two below a threshold (1e-13 near 0), where float32 has no t that says it: the
    threshold itself and all above go right, as they should.
    """
    if not np.isfinite(threshold):
        return np.finfo(np.float32).max
    up, down = np.float32(np.inf), np.float32(-np.inf)
    t = np.float32(threshold - _SLACK)
    while t + _SLACK >= threshold:
        t = np.nextafter(t, down)
    while (more := np.nextafter(t, up)) + _SLACK < threshold:
        t = more
    return t


def _opensearch(given: _Given, module: FixedRanker) -> _Written:
    forest, names = _forest(given, module), given.names
    notes: list[str] = []
    definition: Any
    largest = float(np.finfo(np.float32).max)  # JSON has no infinity
    if forest is None:
        definition, notes = _linear_weights(given, module, "opensearch")
        kind = "model/linear"
    else:

        def node(at: int, depth: int, left: dict, right: dict) -> dict:
            yes, no = left["nodeid"], right["nodeid"]
            ways = {"yes": yes, "no": no, "missing": yes if forest.missing[at] else no}
            condition = {
                "split": names[forest.feature[at]],
                "split_condition": min(float(forest.threshold[at]), largest),
            }
            return {"nodeid": at, "depth": depth, **condition, **ways, "children": [left, right]}

        trees = _nested(forest, node, lambda at, value: {"nodeid": at, "leaf": value})
        kind, definition = "model/xgboost+json", {"objective": "rank:ndcg", "splits": trees}
        notes = ["plugins that do not know the direction of missing values send them right"]
    text = json.dumps(definition)
    whole = {"model": {"name": given.title, "model": {"type": kind, "definition": text}}}
    return json.dumps(whole).encode(), notes


def _linear_weights(given: _Given, module: FixedRanker, form: str) -> tuple[dict[str, float], list[str]]:
    found = _linear(module)
    if found is None:
        raise _refused(given, form, "its scores are neither a sum of trees nor linear in the raw features", "onnx, pt2")
    weights, constant = found
    notes = ["give every feature a value: there is none for a missing one"]
    if constant:
        notes.append(f"scores are ours less the constant {constant:.6g}, which ranks nothing")
    return {name: float(w) for name, w in zip(given.names, weights, strict=True)}, notes


class Form(NamedTuple):
    """A format.

    Attributes:
        ending: of its files.
        what: it is, in words.
        write: the bytes and what there is to say of them; None: `ship` writes it.
    """

    ending: str
    what: str
    write: Callable[[_Given, FixedRanker], _Written] | None = None


FORMS = {
    "onnx": Form("model.onnx", "ONNX"),
    "pt2": Form("model.pt2", "a torch.export program"),
    "lightgbm-json": Form("lightgbm.json", "LightGBM's dump_model", _lightgbm),
    "xgboost-ubj": Form("model.ubj", "XGBoost's UBJSON", _xgboost),
    "solr": Form("solr.json", "a model of Solr's Learning to Rank", _solr),
    "opensearch": Form("opensearch.json", "a model of OpenSearch's and Elasticsearch's LTR plugin", _opensearch),
}
