"""Comparisons, "A beats B with chance p", into losses, boosters and methods, and into labels; teachers' scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from toy_lists import toy

import ltr
from ltr.cli import main
from ltr.datasets.pairs import bradley_terry, pair_lists, read_pairs
from ltr.errors import InputError
from ltr.losses import LOSSES
from ltr.losses.preference.base import PREFERENCE_LOSSES, preference_loss
from ltr.rankers import make_ranker
from ltr.rankers.training.validation import measure_split
from ltr.types import Task


def named(split):
    return split.having(doc_ids=np.array([f"d{k}" for k in range(split.n_documents)]))


TRAIN, TEST = named(toy(40, seed=0)), named(toy(20, seed=2))


def stated(split, each: int = 6, seed: int = 0) -> dict:
    """Comparisons of random documents, the better label wins with .9."""
    draw, rows = np.random.default_rng(seed), []
    for q, (a, b) in enumerate(zip(split.offsets, split.offsets[1:], strict=False)):
        for i, j in draw.integers(a, b, (each, 2)).tolist():
            if split.label()[i] != split.label()[j]:
                i, j = (i, j) if split.label()[i] > split.label()[j] else (j, i)
                rows.append((split.query_ids[q], f"d{i}", f"d{j}", 0.9, 2.0))
    return dict(zip(("query", "winner", "loser", "p", "weight"), map(list, zip(*rows, strict=True)), strict=True))


PAIRS = stated(TRAIN)


def test_a_comparison_is_the_cross_entropy_of_its_chance():
    """On two-document lists the pair losses, plain and against a reference, are their own formulas with p."""
    lists = pair_lists(TRAIN, PAIRS)
    n = len(PAIRS["p"])
    assert lists.n_queries == 2 * n and set(lists.lengths) == {2} and lists.query_ids[n].endswith("/1~")
    rows = np.array([int(d[1:]) for d in lists.doc_ids])
    assert np.array_equal(lists.features, TRAIN.features[rows]) and lists.labels[::2].all()
    s = torch.randn(TRAIN.n_documents, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u = s[torch.from_numpy(rows).view(-1, 2)]
    labels, weights = (torch.from_numpy(x).view(-1, 2) for x in (lists.label(), lists.weights))
    margin = u[:n, 0] - u[:n, 1]
    p, w = torch.tensor(PAIRS["p"]), torch.tensor(PAIRS["weight"])
    expected = w * (p * torch.nn.functional.softplus(-margin) + (1 - p) * torch.nn.functional.softplus(margin))
    for one in (ltr.loss("ranknet"), preference_loss("dpo"), preference_loss("ranknet-dpo")):
        values = one(u, labels, weights=weights)
        torch.testing.assert_close(values[:n] + values[n:], expected, rtol=1e-5, atol=1e-6)
    sure = pair_lists(TRAIN, {key: PAIRS[key] for key in ("query", "winner", "loser")})
    assert sure.n_queries == n and (sure.weights == 1).all()


def test_every_preference_loss_learns_from_them():
    lists = pair_lists(TRAIN, PAIRS)
    scores = torch.zeros(lists.n_queries, 2, requires_grad=True)
    labels, weights = (torch.from_numpy(x).view(-1, 2) for x in (lists.label(), lists.weights))
    for name in (*PREFERENCE_LOSSES.names(), "lambdarank-dpo", "listmle-dpo"):
        value = preference_loss(name)(scores, labels, weights=weights, generator=torch.Generator().manual_seed(0)).sum()
        (slope,) = torch.autograd.grad(value, scores)
        if name not in ("modpo", "modpo-list") or slope.any():
            n = lists.n_queries // 2
            assert (slope[:n, 0] <= slope[:n, 1]).all() and slope.abs().max() > 0, name


def ndcg(ranker) -> float:
    return measure_split("nDCG@10", ranker.score(TEST), TEST, 0)


def test_rankers_and_methods_learn_from_them(tmp_path):
    task = pair_lists(Task("toy", "one", TRAIN, TEST, TEST), PAIRS)
    how = {"epochs": 8, "learning_rate": 0.05, "transform": "none"}
    chance = ndcg(make_ranker("random").fit(TRAIN))
    assert ndcg(make_ranker("linear", loss="ranknet", **how).fit(task.train, task.vali)) > chance + 0.1
    pytest.importorskip("lightgbm")
    assert ndcg(make_ranker("lightgbm", rounds=10, min_data_in_leaf=5).fit(task.train)) > chance + 0.1
    two = TRAIN.having(labels=np.hstack([TRAIN.labels, 4 - TRAIN.labels]), objectives=("good", "bad"))
    turned = {"query": PAIRS["query"], "winner": PAIRS["loser"], "loser": PAIRS["winner"]}
    both = {key: [*PAIRS[key], *turned[key]] for key in turned} | {"objective": ["good"] * len(PAIRS["p"]) * 2}
    both["objective"][len(PAIRS["p"]) :] = ["bad"] * len(PAIRS["p"])
    lists = pair_lists(two, both)
    assert (lists.labels.reshape(-1, 2, 2).sum((1, 2)) == 1).all() and lists.labels[-2:].tolist() == [[0, 1], [0, 0]]
    corners = np.eye(2)
    method = ltr.make_method("ls", ranker="linear", loss="ranknet", training=how)
    good, bad = method.fit(Task("two", "one", lists, two, two), preferences=corners).score(TEST, corners)
    assert measure_split("nDCG@10", good, TEST, 0) > measure_split("nDCG@10", bad, TEST, 0) + 0.2


def test_bradley_terry_is_the_maximum():
    alone = {"query": ["0"] * 3, "winner": ["d0", "d0", "d1"], "loser": ["d1", "d1", "d2"], "p": [1, 0.5, 0.25]}
    labels = bradley_terry(TRAIN, alone, prior=0.3).astype(np.float64)
    assert (labels[3:] == 0.5).all()  # nobody spoke of them

    def minus_likelihood(b):
        chance = lambda d: -np.logaddexp(0, -d)  # noqa: E731
        games = [(0, 1, 1.0), (0, 1, 0.5), (1, 2, 0.25)]
        value = sum(p * chance(b[i] - b[j]) + (1 - p) * chance(b[j] - b[i]) for i, j, p in games)
        return -value - 0.3 * sum(chance(x) + chance(-x) for x in b)

    best = minimize(minus_likelihood, np.zeros(3), tol=1e-12).x
    np.testing.assert_allclose(labels[:3], 1 / (1 + np.exp(-best)), atol=1e-5)
    learned = TRAIN.having(labels=bradley_terry(TRAIN, PAIRS)[:, None])
    how = {"epochs": 8, "learning_rate": 0.05, "transform": "none"}
    ranker = make_ranker("linear", loss=ltr.loss("listnet", target="lin"), **how).fit(learned)
    assert ndcg(ranker) > ndcg(make_ranker("random").fit(TRAIN)) + 0.1


def test_files_and_mistakes(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("query,winner,loser,p,weight\n0,d0,d1,0.5,1\n0,d1,d2,1,3\n")
    pq = pytest.importorskip("pyarrow.parquet")
    pairs = read_pairs(path)
    assert pairs.p.tolist() == [0.5, 1] and pairs.weight.tolist() == [1, 3] and repr(pairs).startswith("Pairs(2 comp")
    pa = pytest.importorskip("pyarrow")
    pq.write_table(pa.table({"query": [0, 0], "winner": ["d0", "d1"], "loser": ["d1", "d2"]}), tmp_path / "p.parquet")
    assert read_pairs(tmp_path / "p.parquet").query.tolist() == ["0", "0"]
    frame = pytest.importorskip("pandas").read_csv(path)
    assert read_pairs(frame).loser.tolist() == ["d1", "d2"]
    plain = {"query": ["0"], "winner": ["d0"], "loser": ["d1"]}
    for change, message in (
        ({"loser": ["d0"]}, "row 1, a document is compared with itself"),
        ({"p": [1.5]}, "row 1, column 'p'; expected a chance"),
        ({"p": ["often"]}, "row 1, column 'p'"),
        ({"weight": [-1]}, "row 1, column 'weight'"),
        ({"winner": [None]}, "row 1, column 'winner' is empty"),
        ({"loser": ["d999"]}, "comparison 1 is of document 'd999' of query '0'"),
        ({"query": ["zero"]}, "comparison 1 is of query 'zero'"),
        ({"objective": ["relevanse"]}, "Did you mean 'relevance'"),
        ({"p": [1, 1]}, "all of one length; came {'query': 1, 'winner': 1, 'loser': 1, 'p': 2}"),
    ):
        with pytest.raises(InputError, match=message):
            pair_lists(TRAIN, {**plain, **change})
    with pytest.raises(InputError, match="or columns by name; came 'list'"):
        read_pairs([("0", "d0", "d1")])
    with pytest.raises(InputError, match="a finite number above 0; came inf"):
        bradley_terry(TRAIN, plain, prior=float("inf"))
    with pytest.raises(InputError, match="no column 'loser'"):
        read_pairs({"query": ["0"], "winner": ["d0"]})
    with pytest.raises(InputError, match="these lists do not"):
        pair_lists(TRAIN.having(doc_ids=None), plain)


def test_a_run_on_comparisons(tmp_path, monkeypatch):
    monkeypatch.setenv("LTR_DATA", str(tmp_path / "data"))
    rows = list(
        zip(np.repeat(TRAIN.query_ids, TRAIN.lengths), TRAIN.doc_ids, TRAIN.label(), TRAIN.features, strict=True)
    )
    head = "qid,doc,relevance," + ",".join(f"f{k}" for k in range(6)) + ",split\n"
    parts = {q: ("train", "train", "vali", "test")[int(q) % 4] for q in TRAIN.query_ids}
    lines = [f"{q},{d},{y:g},{','.join(map(str, x))},{parts[q]}\n" for q, d, y, x in rows]
    (tmp_path / "lists.csv").write_text(head + "".join(lines))
    told = [k for k, q in enumerate(PAIRS["query"]) if parts[q] == "train"]
    keys = ("query", "winner", "loser", "p", "weight")
    lines = [",".join(str(PAIRS[key][k]) for key in keys) + "\n" for k in told]
    (tmp_path / "pairs.csv").write_text(",".join(keys) + "\n" + "".join(lines))
    shared = ["--ranker", "linear", "--loss", "ranknet", "--training.epochs", "1", "-q", "--out", str(tmp_path / "run")]
    files = ["--data", str(tmp_path / "lists.csv"), "--pairs", str(tmp_path / "pairs.csv")]
    assert main(["train", *files, *shared]) == 0
    assert f"trained on {len(told)} comparisons" in " ".join(ltr.runs.read_record(tmp_path / "run").notes)


def test_scores_of_a_teacher():
    """Any numbers as labels: a loss takes them, or says in one message that they must be gains."""
    s = torch.tensor([0.3, -1.0, 0.8], requires_grad=True)
    y = torch.tensor([-2.5, 0.7, -9.0])
    taken = []
    for name in LOSSES.names():
        try:
            value = ltr.loss(name)(s, y, generator=torch.Generator().manual_seed(0))
        except InputError as error:
            assert "negative" in str(error) or "0 or more" in str(error), (name, error)
            continue
        assert torch.isfinite(torch.autograd.grad(value, s)[0]).all(), name
        taken.append(name)
    distillation = {"mse", "pairwisemse", "adrmse", "ranknet", "listmle", "plackettluce"}
    assert distillation <= set(taken)
    assert torch.isfinite(ltr.loss("listnet", target="soft", temperature=2.0)(s, y))


def test_what_comparisons_leave_unsaid_is_said(capsys, monkeypatch):
    monkeypatch.setattr("ltr.errors._SAID", set())
    pairs = {"query": ["1", "1", "1"], "winner": ["a", "b", "b"], "loser": ["b", "a", "c"]}
    read_pairs({**pairs, "wieght": [1, 2, 3]})
    said = capsys.readouterr().err
    assert "columns of comparisons that are left out: wieght; known are query, winner, loser, p" in said
    assert "2 of 3 comparisons contradict others of the same two documents" in said
    read_pairs({**pairs, "p": [0.9, 0.2, 1.0]})  # the second says the same as the first
    assert capsys.readouterr().err == ""
    with pytest.raises(InputError, match="without comparisons"):
        read_pairs({"query": [], "winner": [], "loser": []})
    with pytest.raises(InputError, match=r"row 1, column 'weight'; expected a finite number from 0"):
        read_pairs({**pairs, "weight": [1e39, 1, 1]})
