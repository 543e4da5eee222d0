"""Exporting what was trained: one module from raw features to scores, its preference fixed, as ONNX or PyTorch file.

    module = fixed(load_method("run/method"), [0.7, 0.3])
    module(features, where)                          # float32 [batch, list], as `method.score` on the same lists
    ship(module, "ranker.onnx")                      # or "ranker.pt2", a torch.export program

Nets and boosted trees can be exported, and every method whose ranking is a fixed combination of them (`terms`). Feature
transform, reference ranker, control after training and preference are all inside: what serves it needs this file and a
runtime, not ltr. Lists and batches may be of any size; the file says in its metadata what it was made from. Formats of
search engines and of the boosters: export_formats.py.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ltr.atomic import whole_file
from ltr.errors import InputError, MissingExtra, quiet
from ltr.objectives import check_preference
from ltr.rankers.conditional.checkpoints import Checkpoints
from ltr.rankers.conditional.weight_mix import WeightMix
from ltr.rankers.ensembles.blend import BlendRanker
from ltr.rankers.ensembles.calibrated import CalibratedRanker
from ltr.rankers.ensembles.composed import ComposedRanker
from ltr.rankers.ensembles.residual import ResidualRanker
from ltr.rankers.neural import NeuralRanker
from ltr.rankers.score_maps import ScoreMap
from ltr.rankers.trees.forest import Forest

from .base import Method
from .reference import ReferenceMethod
from .reference_choice import MethodAsRanker
from .terms import MixedWeights, Term, is_net

__all__ = ["FixedRanker", "fixed", "ship"]

FORMS = {".onnx": "ONNX", ".pt2": "torch.export"}


class PlainPart(nn.Module):
    """A ranker without preferences, on raw features."""

    transform: Any
    net: Any

    def __init__(self, ranker: NeuralRanker):
        super().__init__()
        self.transform, self.net = ranker.transform.to("cpu"), copy.deepcopy(ranker.net).cpu().eval()

    def inputs(self, features: Tensor, where: Tensor) -> Tensor:
        """What the net sees, `[batch, list, column]`."""
        return self.transform.lists(features, where)

    def forward(self, features: Tensor, where: Tensor, reference: Tensor | None = None) -> Tensor:
        return self.net(self.inputs(features, where), where)


class TreesPart(nn.Module):
    """Boosted trees: every document walks down all of them, one level a step."""

    roots: Tensor
    feature: Tensor
    threshold: Tensor
    missing: Tensor
    left: Tensor
    right: Tensor
    value: Tensor

    def __init__(self, ranker: Any):
        super().__init__()
        forest: Forest = ranker.forest()
        self.ranker, self.depth, self.bias = ranker, forest.depth, forest.bias
        for name in ("roots", "feature", "threshold", "missing", "left", "right"):
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(getattr(forest, name))))
        self.register_buffer("value", torch.from_numpy(forest.value.astype(np.float32)))

    def forward(self, features: Tensor, where: Tensor, reference: Tensor | None = None) -> Tensor:
        at = self.roots.expand(*where.shape, -1)
        for _ in range(self.depth):
            x = features.gather(-1, self.feature[at])
            left = (x < self.threshold[at]) | (torch.isnan(x) & self.missing[at])
            at = torch.where(left, self.left[at], self.right[at])
        return self.value[at].sum(-1) + self.bias


class ConditionedPart(PlainPart):
    """The net of a term, told what the term says, on raw features."""

    def __init__(self, term: Term):
        nn.Module.__init__(self)
        ranker = term.net.made() if isinstance(term.net, MixedWeights) else term.net
        self.transform, self.net = ranker.transform.to("cpu"), copy.deepcopy(ranker.net).cpu().eval()
        told = torch.as_tensor(np.asarray(term.told), dtype=torch.float32)[None]
        if isinstance(self.net, Checkpoints):
            self.net = self.net.of(told[0])
        if isinstance(self.net, WeightMix):
            self.net.fix(told[0])
        self.register_buffer("preference", told)
        self.register_buffer("beta", None if term.beta is None else torch.tensor([term.beta], dtype=torch.float32))

    def forward(self, features: Tensor, where: Tensor, reference: Tensor | None = None) -> Tensor:
        x = self.inputs(features, where)
        return self.net(x, where, self.preference, beta=self.beta, reference=reference).squeeze(1)


class MappedPart(nn.Module):
    """A part whose scores go through a map."""

    def __init__(self, part: nn.Module, map: ScoreMap):
        super().__init__()
        self.part, self.map = part, map

    def forward(self, features: Tensor, where: Tensor, reference: Tensor | None = None) -> Tensor:
        return self.map.padded(self.part(features, where, reference), where)


class FixedRanker(nn.Module):
    """forward(features float32 [batch, list, feature] raw, where bool [batch, list]) -> scores float32 [batch, list].

    sum_i share_i s_i without a reference, else s_ref + control sum_i share_i (s_i - s_ref); pads are 0.

    Attributes:
        facts: where it comes from: method or ranker, objectives, preference, number of features.
    """

    def __init__(
        self,
        parts: Sequence[tuple[float, nn.Module]],
        facts: dict[str, Any],
        base: nn.Module | None = None,
        control: float = 1.0,
        augmented: bool = False,
    ):
        super().__init__()
        self.shares, self.parts = [share for share, _ in parts], nn.ModuleList(part for _, part in parts)
        self.base, self.control, self.facts, self.augmented = base, control, facts, augmented

    def forward(self, features: Tensor, where: Tensor) -> Tensor:
        s_ref = None if self.base is None else self.base(features, where)
        reference = s_ref if self.augmented else None
        scores = torch.zeros_like(where, dtype=torch.float32)
        for share, part in zip(self.shares, self.parts, strict=True):
            each = part(features, where, reference)
            scores = scores + share * (each if s_ref is None else each - s_ref)
        if s_ref is not None:
            scores = s_ref + self.control * scores
        return torch.where(where, scores, 0.0)


def fixed(model: Any, preference=None) -> FixedRanker:
    """One module for one preference.

    Args:
        model: a fitted method, or a ranker (a net, boosted trees, a bag or a blend of them), which takes no preference.
        preference: `[objective]`; of a method that trained one model a preference, one of those.

    Raises:
        InputError: not fitted, an invalid preference, or a model that is neither net nor trees.
    """
    if isinstance(model, Method):
        return _method(model, preference)
    if preference is not None:
        raise InputError("this ranker takes no preference", came=preference)
    if getattr(model, "n_features", None) is None:
        raise InputError("this ranker is not fitted", do="Call fit, or load one that was saved")
    facts = {"ranker": model.name, "features": model.n_features}
    if isinstance(model, CalibratedRanker):
        return FixedRanker([(1.0, MappedPart(_ranker(model.models[0]), model.map))], facts).eval()
    if isinstance(model, ResidualRanker):
        first, net = model.models
        part = ConditionedPart(Term(1.0, net, np.ones(1)))
        return FixedRanker([(1.0, part)], facts, _ranker(first), float(model.best["control"]), True).eval()
    members = model.models if isinstance(model, ComposedRanker) else [model]
    shares = model.factors if isinstance(model, BlendRanker) else [1 / len(members)] * len(members)
    parts = [(float(share), _ranker(member)) for share, member in zip(shares, members, strict=True) if share]
    return FixedRanker(parts, facts).eval()


def _ranker(ranker: Any) -> nn.Module:
    """A ranker without preferences."""
    if isinstance(ranker, MethodAsRanker):
        return _method(ranker.method, ranker.preference)
    if isinstance(ranker, NeuralRanker):
        return PlainPart(ranker)
    if hasattr(ranker, "forest"):
        return TreesPart(ranker)
    raise InputError("only nets and boosted trees are exported", came=ranker.name, do="Score with ltr predict.")


def _method(method: Method, preference: Any) -> FixedRanker:
    if not method.models:
        raise InputError(f"method {method.name!r} is not fitted", do="Call fit, or load one that was saved")
    if preference is None:
        raise InputError("a method needs the preference to fix", expected=", ".join(method.objectives))
    w = np.asarray(check_preference(preference, method.objectives), np.float64)
    terms = method.terms(w)
    facts = {
        "method": method.name,
        "objectives": list(method.objectives),
        "preference": w.tolist(),
        "features": getattr(terms[0].net, "n_features", None) or method.models[0].n_features,
    }
    parts = [(term.share, _part(term)) for term in terms]
    if not isinstance(method, ReferenceMethod):
        return FixedRanker(parts, facts).eval()
    return FixedRanker(parts, facts, _ranker(method.base), method.control, method.config.augmented).eval()


def _part(term: Term) -> nn.Module:
    if term.output is not None:
        raise InputError("trees of several outputs are not exported", do="Score with ltr predict.")
    plain = isinstance(term.net, NeuralRanker) or not is_net(term.net)
    part = _ranker(term.net) if plain else ConditionedPart(term)
    return part if term.map is None else MappedPart(part, term.map)


def ship(
    module: FixedRanker, path: Path | str, example: tuple[Tensor, Tensor] | None = None, form: str | None = None
) -> Path:
    """Writes a module as a file that runs without ltr: `.onnx` (ONNX) or `.pt2` (torch.export).

    Args:
        module: from `fixed`.
        path: its ending says the form. The file appears whole or not at all.
        example: features and where the net is traced with; made up by default.
        form: ".onnx" or ".pt2", whatever the ending is.

    Raises:
        InputError: another form.
        MissingExtra: ONNX without the libraries of the extra `onnx`.
    """
    path = Path(path)
    form = path.suffix if form is None else form
    if form not in FORMS:
        raise InputError("no such form", file=path, expected=" or ".join(FORMS))
    program = _traced(module, example)
    facts = json.dumps(module.facts)
    with whole_file(path) as beside:
        if form == ".pt2":
            torch.export.save(program, beside, extra_files={"ltr.json": facts})
        else:
            _onnx(program, facts).save(beside)
    return path


def _traced(module: FixedRanker, example: tuple[Tensor, Tensor] | None) -> torch.export.ExportedProgram:
    """The program that either form keeps."""
    # Sizes of 2 and more: a trace with 1 would take the 1 for a fact of every list.
    lists, documents, features = 3, 5, module.facts["features"]
    example = example or (torch.randn(lists, documents, features), torch.ones(lists, documents, dtype=torch.bool))
    batch, length = torch.export.Dim("batch", min=1), torch.export.Dim("list", min=1)
    shapes = {"features": {0: batch, 1: length}, "where": {0: batch, 1: length}}
    with torch.no_grad():
        return torch.export.export(module, example, dynamic_shapes=shapes)


def _onnx(program, facts: str):
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtra(error.name or "onnx", "onnx", "ONNX files") from None
    with quiet("torch.onnx", "onnxscript", "onnx_ir"), warnings.catch_warnings():
        # torch's exporter calls a name of torch that torch has deprecated.
        warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated", category=FutureWarning)
        names: dict[str, Any] = {"input_names": ["features", "where"], "output_names": ["scores"]}
        made = torch.onnx.export(program, dynamo=True, verbose=False, **names)
    assert made is not None  # it is what dynamo=True gives
    made.model.metadata_props["ltr"] = facts
    return made
