"""A shipped file scores as the method does, on lists of any size, without ltr in between."""

from __future__ import annotations

import json
from dataclasses import is_dataclass

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
    "plug-in-softmax": ("plug-in", {"training": TRAINING, **LISTWISE, "form": "softmax"}),
    "soup-transformer": ("soup", {"training": TRAINING, **LISTWISE}),
}
NETS = [entry.name for entry in METHODS if not entry.claims.get("trees") and entry.claims.get("learns", True)]
ALL = {**{name: (name, NET) for name in NETS}, **FORMS}
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


SHIPPED = {}  # form and structure -> the first method whose file was written


def structure(module):
    """All that a traced program depends on but the numbers in it: types, settings, shapes of the weights."""
    plain = (bool, int, float, str, type(None))
    parts = [
        (type(part).__name__, *((k, repr(v)) for k, v in vars(part).items() if isinstance(v, plain) or is_dataclass(v)))
        for part in module.modules()
    ]
    return tuple(parts), tuple((name, tuple(v.shape), v.dtype) for name, v in module.state_dict().items())


def test_one_module_scores_as_the_method(method, task):
    features, where = padded(task.test)
    scores = method.score(task.test, W)
    assert np.abs(scores[0] - scores[2]).max() > 1e-4 or method.claims["preference"] == "ignored"
    for w, expected in zip(W, scores, strict=True):
        with torch.no_grad():
            agree(fixed(method, w)(features, where), expected, where)


@pytest.mark.parametrize("form", [".pt2", ".onnx"])
def test_the_file_scores_as_the_method_on_lists_of_any_size(method, task, form, tmp_path, request):
    if form == ".onnx" and request.node.callspec.params["method"] not in (*FORMS, "mod", "pamal", "ric"):
        pytest.skip("the other form is made of it; this one of every kind of net and combination")
    if form == ".onnx":
        pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
        pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    module = fixed(method, W[1])
    assert module.facts["method"] == method.name and module.facts["preference"] == W[1].tolist()
    assert module.facts["objectives"] == list(task.objectives)
    assert module.facts["features"] == task.train.n_features
    like = SHIPPED.setdefault((form, structure(module)), method.name)
    if like != method.name:
        pytest.skip(f"the same program as of {like}, with other weights")
    path = ship(module, tmp_path / f"ranker{form}")
    assert [p.name for p in tmp_path.iterdir()] == [path.name], "one file, nothing beside it"
    expected = method.score(task.test, W[1])[0]
    features, where = padded(task.test)
    run, facts = opened(path)
    agree(run(features, where), expected, where)
    for length in (1, 7):  # one list alone, shorter or longer than the traced ones
        alone = torch.ones(1, length, dtype=torch.bool)
        x = features[:1, :1].expand(1, length, -1).contiguous()
        with torch.no_grad():
            agree(run(x, alone), module(x, alone)[alone].numpy(), alone)
    assert facts == module.facts


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
