"""What a user types into a notebook: their own loss, net and measure, wherever one is named; words that help."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from torch import nn
from toy_lists import toy

import ltr
from ltr import progress
from ltr.errors import InputError
from ltr.losses import loss
from ltr.losses.preference.base import preference_loss
from ltr.methods import make_method
from ltr.metrics import MEASURES
from ltr.rankers import load_ranker, make_ranker
from ltr.types import Split, Task

matplotlib.use("Agg")
TRAIN, VALI, TEST = toy(seed=0), toy(30, seed=1), toy(40, seed=2)
FAST = {"epochs": 2, "batch_size": 16, "learning_rate": 0.02}


pytestmark = pytest.mark.usefixtures("own_entries")


def squares(scores, labels, where, power=2):
    """Mean power of the errors."""
    return ((scores - labels).abs() ** power).masked_fill(~where, 0).sum(-1) / where.sum(-1).clamp(min=1)


def two_objectives(split: Split) -> Split:
    labels = np.stack([split.labels[:, 0], split.features[:, 0] > 0], 1).astype(np.float32)
    return split.having(labels=labels, objectives=("relevance", "price"))


def net(hidden: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, hidden), nn.ReLU(), nn.Linear(hidden, 1))


def test_a_function_is_a_loss():
    mine = loss(squares, power=1)
    assert (repr(mine), mine.needs) == ("squares(power=1)", "document")
    scores, labels = torch.tensor([[1.0, 0], [3, 5]]), torch.tensor([[0.0, 0], [0, 9]])
    where = torch.tensor([[True, True], [True, False]])
    assert mine(scores, labels, where).tolist() == [0.5, 3.0]
    assert loss("squares")(scores[0], labels[0]).item() == 0.5  # one list alone
    many = scores.expand(3, 2, 2)
    assert mine(many, many * 0, where.expand(3, 2, 2)).shape == (3, 2)
    assert preference_loss("squares-dpo", beta=2.0)(scores[:1], labels[:1]).item() == 2.0

    before = mine.fingerprint
    loss("squares", lambda s, y: (s * y).sum(-1), needs="pair")  # again: replaced, here and with -dpo
    assert loss("squares").needs == "pair" and loss("squares").fingerprint != before
    assert preference_loss("squares-dpo")(scores, labels).tolist() == [0.0, 45.0]
    with pytest.raises(InputError, match="'listnet' is a loss of the suite"):
        loss("listnet", squares)
    with pytest.raises(InputError, match=r"one value a list; expected \[batch\]"):
        loss("mean", lambda s, y: (s - y).mean())
    with pytest.raises(InputError, match="takes no weights"):
        loss(squares)(scores, labels, where, weights=scores)
    with pytest.raises(InputError, match="needs a name"):
        loss(lambda s, y: s)


def test_another_function_of_a_name_continues_no_checkpoint(tmp_path):
    make_ranker("linear", loss=squares, **FAST).fit(TRAIN, folder=tmp_path)
    loss("squares", lambda s, y, where: (s * y).masked_fill(~where, 0).sum(-1))
    with pytest.raises(InputError, match="another training"):
        make_ranker("linear", loss="squares", **FAST).fit(TRAIN, folder=tmp_path)


def test_names_and_functions_do_wherever_a_loss_is_asked_for():
    named = make_ranker("mlp", loss="listnet", **FAST).fit(TRAIN, VALI)
    given = make_ranker("mlp", **FAST).fit(TRAIN, VALI, loss=loss("listnet"))
    assert np.array_equal(named.score(TEST), given.score(TEST))
    own = make_ranker("mlp", loss=squares, **FAST).fit(TRAIN, VALI, select=lambda_free)
    assert own.history[0]["vali"] > 0
    task = Task("toy", "one", *(two_objectives(s) for s in (TRAIN, VALI, TEST)))
    method = make_method("ls", loss=loss(squares, power=1), ranker="linear", training=FAST)
    assert method.config.loss == "squares" and method.config.loss_params == {"power": 1}
    assert np.isfinite(method.fit(task, preferences=[[0.5, 0.5]]).score(TEST, [0.5, 0.5])).all()
    with pytest.raises(InputError, match="unknown loss 'listnett'. Did you mean 'listnet'"):
        make_ranker("mlp", loss="listnett")


def lambda_free(scores, labels):
    """Label of the first document."""
    return labels[scores.argmax()]


def test_a_module_is_a_ranker(tmp_path):
    module = net()
    before = [p.clone() for p in module.parameters()]
    ranker = make_ranker(module, loss="listnet", **FAST)
    scores = ranker.fit(TRAIN, VALI).score(TEST)
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))  # a copy learns
    assert np.array_equal(ranker.fit(TRAIN, VALI).score(TEST), scores)  # from the same start
    ranker.save(tmp_path / "kept")
    assert np.array_equal(load_ranker(tmp_path / "kept").score(TEST), scores)
    with pytest.raises(InputError, match=r"does not take features \[batch, list, 6\]"):
        make_ranker(nn.Sequential(nn.Linear(5, 1)), loss="listnet").fit(TRAIN)


def test_a_function_of_features_is_a_ranker(tmp_path):
    def first_feature(features, where):
        return features[..., 0].masked_fill(~where, 0)

    ranker = make_ranker(first_feature).fit(TRAIN, VALI)
    assert np.array_equal(ranker.score(TEST), TEST.features[:, 0])
    ranker.save(tmp_path / "kept")
    assert np.array_equal(load_ranker(tmp_path / "kept").score(TEST), TEST.features[:, 0])


def test_near_misses_are_looked_for_among_all_that_fits():
    with pytest.raises(InputError, match=r"'hiden' -> 'hidden', 'epocs' -> 'epochs'.*Known: .*learning_rate"):
        make_ranker("mlp", hiden=(8,), epocs=3)
    with pytest.raises(InputError, match="device belongs to fit"):
        make_ranker("mlp", device="cpu")


def test_a_measure_of_ones_own_changes_nothing_and_gives_numbers(own_entries):
    """It gets copies: one that wrote into its arguments changed the scores and labels of all measures after it."""
    scores, labels = np.array([3.0, 1.0, 2.0]), np.array([2.0, 0.0, 1.0])

    def spoils(scores, labels):
        scores[:], labels[:] = 0, 0
        return True

    assert ltr.evaluate([spoils, "RR", "nDCG@2"], scores, labels, [0, 3])["nDCG(gain=exp2,empty=skip)@2"].tolist() == [
        1
    ]
    assert scores.tolist() == [3, 1, 2] and labels.tolist() == [2, 0, 1]
    for wrong in (scores, None, "1", float("inf"), 1j):

        def mine(scores, labels, wrong=wrong):
            return wrong

        with pytest.raises(InputError, match="measure 'mine' of a list; expected a finite number"):
            ltr.evaluate(mine, scores, labels, [0, 3])
    for name, meant in (("ndcg_cut_10", "nDCG@10"), ("P_5", "P@5"), ("recall.7", "R@7")):
        with pytest.raises(InputError, match=f"(Did you mean {meant}|not a measure)"):
            ltr.measure(name)


def test_what_newcomers_type_is_answered():
    """Names of other libraries, tasks and arrays for lists, rankers for scores, sizes for offsets."""
    task = Task("toy", "one", TRAIN, TEST, TEST)
    ranker = make_ranker("linear", loss="listnet", epochs=1)
    for call, says in (
        (lambda: make_ranker("lightgbm", n_estimators=5), "Did you mean 'rounds'"),
        (lambda: make_ranker("mlp", random_state=1), "Did you mean 'seed'"),
        (lambda: make_ranker("lambdamart"), "Did you mean 'lightgbm'"),
        (lambda: ranker.fit(task), "ranker.fit.task.train, task.vali"),
        (lambda: ranker.fit(np.zeros((4, 2)), np.zeros(4)), "Split.from_arrays"),
        (lambda: ltr.evaluate("nDCG@5", ranker, TEST), "ranker.score.split., split"),
        (lambda: ltr.evaluate("nDCG@5", [1.0, 2.0, 3.0], [0, 1, 2], [1, 2]), "np.cumsum"),
        (lambda: Split.from_arrays(np.zeros((3, 2)), [0, 1, 0], [7, 7, 8]), "not the query of each row"),
    ):
        with pytest.raises(InputError, match=says):
            call()
    ranker.fit(TRAIN, progress=False)
    with pytest.raises(InputError, match="Split.from_arrays"):
        ranker.score(np.zeros((4, 50)))
    scores = ranker.score(TEST)
    whole, apart = ltr.evaluate("AP", scores, TEST), ltr.evaluate("AP", scores, TEST.label(), TEST.offsets)
    np.testing.assert_array_equal(*(next(iter(each.values())) for each in (whole, apart)))


def test_device_is_accelerator_in_the_words_of_torch():
    ranker = make_ranker("linear", loss="mse", **FAST)
    assert ranker.fit(TRAIN, device=torch.device("cpu")).device.type == "cpu"
    with pytest.raises(InputError, match="twice"):
        ranker.fit(TRAIN, accelerator="gpu", device="cpu")


def test_reprs_are_short():
    ranker = make_ranker("mlp", hidden=(4,), loss="mse", **FAST)
    assert repr(ranker) == "mlp(hidden=(4,)), not fitted"
    assert repr(ranker.fit(TRAIN)).startswith("mlp(hidden=(4,)), fitted to relevance on 6 features, epoch 2")
    assert repr(make_method("hyperdpo", alpha=0.5)) == "hyperdpo(alpha=0.5), not fitted"


def test_history_is_drawn():
    ranker = make_ranker("linear", loss="mse", **FAST).fit(TRAIN, VALI)
    ax = ranker.plot_history()
    assert ax.lines[0].get_ydata().tolist() == [row["loss"] for row in ranker.history]
    with pytest.raises(InputError, match="no history"):
        make_ranker("constant").fit(TRAIN).plot_history()


def test_a_bar_where_somebody_looks(monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(progress, "_bar", lambda what: shown.append(what) or tqdm_of(what))
    make_ranker("linear", loss="mse", **FAST).fit(TRAIN)
    assert shown == []  # nobody does: the tests' stderr is no terminal
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    make_ranker("linear", loss="mse", **FAST).fit(TRAIN, progress=False)
    heard = []
    make_ranker("linear", loss="mse", **FAST).fit(TRAIN, progress=heard.append)
    assert shown == [] and [event.epoch for event in heard] == [1, 2]
    make_ranker("linear", loss="mse", **FAST).fit(TRAIN)
    assert shown == ["linear"] and "1/2" in capsys.readouterr().err
    task = Task("toy", "one", *(two_objectives(s) for s in (TRAIN, VALI, TEST)))
    make_method("hyperdpo", ranker="linear", training=FAST).fit(task)
    assert shown == ["linear", "hyperdpo"]  # one bar, not one a training


def tqdm_of(what):
    from tqdm.std import tqdm

    return tqdm(desc=what, mininterval=0)


def test_every_public_function_has_an_example():
    """`tests/test_docs.py` runs them."""
    public = {name: getattr(ltr, name) for name in dir(ltr)}
    functions = {name: f for name, f in public.items() if inspect.isfunction(f)}
    assert {"list", "loss", "make_ranker"} < functions.keys()
    assert [name for name, f in functions.items() if ">>>" not in (f.__doc__ or "")] == []
    assert public["metrics"].MEASURES is MEASURES and "list" not in ltr.__all__
    assert list(ltr.list("rankers").loc["mlp", ["family", "source"]]) == ["neural", ""]
    with pytest.raises(InputError, match="Did you mean 'losses'"):
        ltr.list("loses")


def test_our_notebooks_use_public_names_only():
    wrong = []
    for path in sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb")):
        source = "".join("".join(c["source"]) + "\n" for c in json.loads(path.read_text())["cells"])
        for room, names in re.findall(r"^\s*from (ltr[\w.]*) import (.*)$", source, re.MULTILINE):
            there = dir(importlib.import_module(room))
            if room.count(".") > 1 or any(n.strip() not in there for n in names.split("#")[0].split(",")):
                wrong.append(f"{path.name}: from {room} import {names}")
    assert not wrong


def test_rankers_are_compared():
    bad, good = make_ranker("feature", column=6).fit(TRAIN), make_ranker("feature", column=1).fit(TRAIN)
    found = ltr.compare({"bad": bad, "good": good, "same": [good, good.score(TEST)]}, TEST, ["NDCG@5", lambda_free])
    table = found.table.loc["nDCG(gain=exp2,empty=skip)@5"]
    assert table.index.tolist() == ["good", "same", "bad"]
    row = table.loc["good"]
    assert row.low < row["mean"] < row.high and row["mean"] == table.loc["same", "mean"]
    assert row.differs == table.loc["same", "differs"] != table.loc["bad", "differs"]
    assert found.p("ndcg@5").loc["bad", "good"] < 0.05 < found.p().loc["same", "good"]
    assert found.difference("bad", "good").high < 0 and found.difference("bad", "good").verdict == "below"
    assert "lambda_free" in repr(found) and "<table" in found._repr_html_()
    assert [t.get_text() for t in found.plot().get_yticklabels()] == ["bad  b", "same  a", "good  a"]
    with pytest.raises(InputError, match="not fitted"):
        ltr.compare({"new": make_ranker("constant")}, TEST)
    assert ltr.compare({"listed": good.score(TEST).tolist()}, TEST).table["mean"].iloc[0] == pytest.approx(
        ltr.compare({"good": good}, TEST).table["mean"].iloc[0]
    )
    with pytest.raises(InputError, match="1 documents of the train split have labels that are no finite numbers"):
        blank = TRAIN.labels.copy()
        blank[3] = np.nan
        make_ranker("linear").fit(TRAIN.having(labels=blank), loss="listnet")
    for arguments, options, says in (
        (({"none": []}, TEST), {}, "nothing stands under 'none'"),
        (({"good": good}, None), {}, "a task or a labelled split; came 'NoneType'"),
        (({"good": good}, TEST, []), {}, "measures to compare by; expected one or more"),
        (({"good": good}, TEST), {"alpha": 5}, "alpha of the letters"),
    ):
        with pytest.raises(InputError, match=says):
            ltr.compare(*arguments, **options)
