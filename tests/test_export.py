"""A shipped file scores as the method does, on lists of any size, without ltr in between."""

from __future__ import annotations

import functools
import importlib
import json
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from ltr.datasets import load
from ltr.datasets.batching.batches import Batches
from ltr.errors import InputError
from ltr.methods import METHODS, load_method, make_method
from ltr.methods.export import fixed, ship
from ltr.rankers import make_ranker

TRAINING = {"epochs": 2, "learning_rate": 0.02, "batch_size": 8, "patience": 0, "transform": "log1p-standardise"}
NET = {"ranker_params": {"hidden": [8]}, "training": TRAINING}
FILM = {"kind": "film", "hidden": [8]}
LISTWISE = {"ranker": "transformer", "ranker_params": {"width": 8, "d_ff": 8, "heads": 2, "blocks": 1}}
FORMS = {
    "hyperdpo-film": ("hyperdpo", {**NET, "conditioning": FILM}),
    "hyperdpo-mixture": ("hyperdpo", {**NET, "conditioning": {"kind": "mixture"}}),
    "hyperdpo-scratch-temperature": ("hyperdpo", {**NET, "start": "scratch", "temperature": (0.5, 2.0)}),
    "hyperdpo-transformer": ("hyperdpo", {"training": TRAINING, **LISTWISE, "conditioning": {"kind": "prompt"}}),
    "hyperdpo-prefix": ("hyperdpo", {"training": TRAINING, **LISTWISE, "conditioning": {"kind": "prefix"}}),
    "hyperdpo-readout": ("hyperdpo", {"training": TRAINING, **LISTWISE, "conditioning": {"kind": "readout"}}),
    "spo-scratch": ("spo", {**NET, "start": "scratch"}),
    "spo-three-rounds-ahead": ("spo", {**NET, "alpha": 2.0, "order": ("quality", "relevance")}),
    "plug-in-one-isotonic": ("plug-in", {**NET, "nets": "one", "form": "isotonic"}),
    "plug-in-softmax": ("plug-in", {**NET, "form": "softmax"}),
    "soup-transformer": ("soup", {"training": TRAINING, **LISTWISE}),
}
NETS = [entry.name for entry in METHODS if not entry.claims.get("trees") and entry.claims.get("learns", True)]
ALL = {**FORMS, **{name: (name, NET) for name in NETS}}
EXPORT = importlib.import_module("ltr.methods.export")  # the package has a function of this name
W = np.array([[1.0, 0.0], [0.7, 0.3], [0.0, 1.0]])


@pytest.fixture(scope="module")
def task():
    return load("synthetic:queries=20,objectives=2")


@pytest.fixture(scope="module", params=ALL)
def method(request, task, tmp_path_factory):
    """Trained, saved and loaded: what is shipped is what was kept."""
    name, params = ALL[request.param]
    folder = tmp_path_factory.mktemp("method") / "saved"
    made = make_method(name, **params)
    fixed_ones = made.claims["preference"] == "fixed"
    made.fit(task, accelerator="cpu", **({"preferences": W} if fixed_ones else {})).save(folder)
    return load_method(folder)


def padded(split):
    """Raw features `[batch, list, feature]`, where, and the place of each in the split, all lists in one batch."""
    lengths = split.lengths
    where = np.arange(lengths.max())[None] < lengths[:, None]
    features = np.full((*where.shape, split.n_features), 1e6, np.float32)  # what stands in a pad does not matter
    features[where] = split.features
    return torch.from_numpy(features), torch.from_numpy(where)


def agree(ours, theirs, where):
    """Equal up to the rounding of another order of sums."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    scale = max(1.0, np.abs(theirs).max())
    assert np.abs(ours[where.numpy()] - theirs).max() <= 2e-5 * scale
    assert (ours[~where.numpy()] == 0).all()


SHIPPED = set()  # what the modules of the files that were written are made of


def makings(module):
    """What a traced program is made of: kinds of parts with their settings, whatever their number and their weights.

    One part or several, with a reference or without, is a setting of the whole; sizes and trained numbers are none.
    """
    plain, sizes = (bool, str, type(None)), ("training", "hidden")
    found = {("parts", len(module.parts) > 1, module.base is not None, module.augmented)}
    for part in module.modules():
        settings = {k: v for k, v in vars(part).items() if k not in sizes}
        settings |= {f"config {k}": v for k, v in vars(settings.get("config", part)).items() if k not in sizes}
        settings |= {"map": type(settings["map"]).__name__} if "map" in settings else {}
        found.add((type(part).__name__, *sorted((k, v) for k, v in settings.items() if isinstance(v, plain))))
    return found


def test_one_module_scores_as_the_method(method, task):
    features, where = padded(task.test)
    scores = method.score(task.test, W)
    assert np.abs(scores[0] - scores[2]).max() > 1e-4 or method.claims["preference"] == "ignored"
    for w, expected in zip(W, scores, strict=True):
        with torch.no_grad():
            agree(fixed(method, w)(features, where), expected, where)


def test_the_file_scores_as_the_method_on_lists_of_any_size(method, task, tmp_path, request, monkeypatch):
    module = fixed(method, W[1])
    assert module.facts["method"] == method.name and module.facts["preference"] == W[1].tolist()
    assert module.facts["objectives"] == list(task.objectives)
    assert module.facts["features"] == task.train.n_features
    if makings(module) <= SHIPPED:
        pytest.skip("a program of parts that stand in other files")
    SHIPPED.update(makings(module))
    traced = functools.cache(EXPORT._traced)  # once for both forms
    monkeypatch.setattr(EXPORT, "_traced", traced)
    expected = method.score(task.test, W[1])[0]
    features, where = padded(task.test)
    forms = [".pt2"]
    if all(find_spec(name) for name in ("onnxscript", "onnxruntime")):  # the extra onnx
        forms += [".onnx"] if request.node.callspec.params["method"] in (*FORMS, "mod", "pamal") else []
    for form in forms:
        path = ship(module, tmp_path / f"ranker{form}")
        assert [p.name for p in tmp_path.iterdir()] == [path.name], "one file, nothing beside it"
        run, facts = opened(path)
        agree(run(features, where), expected, where)
        for length in (1, 7):  # one list alone, shorter or longer than the traced ones
            alone = torch.ones(1, length, dtype=torch.bool)
            x = features[:1, :1].expand(1, length, -1).contiguous()
            with torch.no_grad():
                agree(run(x, alone), module(x, alone)[alone].numpy(), alone)
        assert facts == module.facts
        path.unlink()
    assert traced.cache_info().misses == 1


def opened(path):
    """What runs the file, `(features, where) -> scores`, and its facts."""
    if path.suffix == ".pt2":
        extra = {"ltr.json": ""}
        program = torch.export.load(path, extra_files=extra).module()
        return (lambda x, where: program(x, where).detach()), json.loads(extra["ltr.json"])
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    facts = json.loads(session.get_modelmeta().custom_metadata_map["ltr"])
    return (lambda x, where: session.run(["scores"], {"features": x.numpy(), "where": where.numpy()})[0]), facts


def test_a_ranker_without_preferences_is_shipped_too(task, tmp_path):
    import ltr

    ranker = make_ranker("mlp", loss=ltr.loss("listnet"), hidden=[8], **TRAINING).fit(task.train, task.vali)
    features, where = padded(task.test)
    run, facts = opened(ship(fixed(ranker), tmp_path / "ranker.pt2"))
    agree(run(features, where), ranker.score(task.test), where)
    assert facts == {"ranker": "mlp", "features": task.train.n_features}
    assert next(iter(Batches(task.test))).features.shape[-1] == facts["features"]


def test_what_cannot_be_shipped_says_so(task, tmp_path):
    column = make_ranker("feature").fit(task.train, task.vali)
    with pytest.raises(InputError, match="only nets and boosted trees"):
        fixed(column)
    with pytest.raises(InputError, match="not fitted"):
        fixed(make_method("hyperdpo", **NET), W[0])
    fitted = make_method("ls", **NET).fit(task, preferences=W, accelerator="cpu")
    with pytest.raises(InputError, match="needs the preference"):
        fixed(fitted)
    with pytest.raises(InputError, match="one model a preference"):
        fixed(fitted, [0.4, 0.6])
    with pytest.raises(InputError, match="no such form"):
        ship(fixed(fitted, W[0]), tmp_path / "ranker.bin")
    assert list(tmp_path.iterdir()) == []
