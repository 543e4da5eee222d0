"""TREC files: what is written can be read, by us and by the field's own tools, and gives the same numbers."""

from __future__ import annotations

import gzip
from collections import defaultdict

import ir_measures
import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from ltr import errors
from ltr.errors import InputError
from ltr.runs import read_qrels, read_run, write_qrels, write_run
from ltr.runs.per_query import join, per_query
from ltr.runs.scores import scores_table
from ltr.runs.trec import document_names, scores_of_run
from ltr.types import Split


def make(lengths, seed=0, named=True, labels=3):
    """Lists with shuffled names, so that name order is not row order."""
    rng = np.random.default_rng(seed)
    n = int(np.sum(lengths))
    names = np.concatenate([rng.permutation([f"d{i:03d}" for i in range(k)]) for k in lengths]) if named else None
    return Split(
        np.zeros((n, 1), np.float32),
        rng.integers(0, labels, (n, 1)).astype(np.float32),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.array([f"q{i}" for i in range(len(lengths))]),
        doc_ids=names,
        name="test",
    )


@pytest.fixture
def worked():
    """The hand-worked list: s = (1.2, 0.4, 1.9, -0.3), y = (1, 3, 0, 2), documents a b c d."""
    return Split(
        np.zeros((4, 1), np.float32),
        np.array([[1], [3], [0], [2]], np.float32),
        np.array([0, 4]),
        np.array(["7"]),
        doc_ids=np.array(["a", "b", "c", "d"]),
        name="test",
    )


def test_the_lines_are_those_of_the_format(worked, tmp_path):
    write_run(tmp_path / "x.run", worked, [1.2, 0.4, 1.9, -0.3], tag="mlp")
    assert (
        tmp_path / "x.run"
    ).read_text() == "7 Q0 c 1 1.9 mlp\n7 Q0 a 2 1.2 mlp\n7 Q0 b 3 0.4 mlp\n7 Q0 d 4 -0.3 mlp\n"
    write_qrels(tmp_path / "x.qrels", worked)
    assert (tmp_path / "x.qrels").read_text() == "7 0 a 1\n7 0 b 3\n7 0 c 0\n7 0 d 2\n"


def test_ties_stand_as_trec_eval_breaks_them(worked, tmp_path):
    """Equal scores: the later name first, so that the rank column says what trec_eval does."""
    write_run(tmp_path / "x.run", worked, [0.5, 0.5, 1.0, 0.5])
    assert [line.split()[2] for line in (tmp_path / "x.run").read_text().splitlines()] == ["c", "d", "b", "a"]


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    seed=st.integers(0, 99),
    scale=st.sampled_from([1e-30, 1e-3, 1.0, 1e6, 1e30]),
    named=st.booleans(),
)
def test_a_run_comes_back_as_it_went(tmp_path_factory, lengths, seed, scale, named):
    split = make(lengths, seed, named)
    scores = (np.random.default_rng(seed).standard_normal(split.n_documents) * scale).astype(np.float32)
    path = tmp_path_factory.mktemp("trec") / "x.run"
    write_run(path, split, scores)
    [(_, back)] = join(split, scores_of_run(split, read_run(path)))
    np.testing.assert_array_equal(back.astype(np.float32), scores)
    np.testing.assert_array_equal(np.unique(back, return_inverse=True)[1], np.unique(scores, return_inverse=True)[1])


def test_scores_that_differ_as_doubles_do_not_tie(worked, tmp_path):
    """99999999 and 99999998 are one float32; labels are 1 3 0 2, so that this order is perfect."""
    path = tmp_path / "x.run"
    for scores in (("99999999", "99999998", "99999997", "99999996"), ("1e300", "1e299", "-1e299", "-1e300")):
        lines = zip("bdac", scores, strict=True)
        path.write_text("".join(f"7 Q0 {d} {i} {s} x\n" for i, (d, s) in enumerate(lines, 1)))
        table = per_query(worked, scores_of_run(worked, read_run(path)), ["nDCG@4", "AP"])
        assert [table[name].to_pylist() for name in table.column_names[-2:]] == [[1.0], [1.0]]
        short = path.read_text().splitlines()[:3]
        path.write_text("\n".join(short) + "\n")
        assert scores_of_run(worked, read_run(path), missing="last")["score"].to_pylist() == [0.0, 2.0, -1.0, 1.0]


def test_marks_tabs_and_line_ends_of_other_systems(worked, tmp_path):
    path = tmp_path / "x.run"
    lines = [b"7 Q0 c 1 1.9 m", b"7\tQ0\ta\t2\t1.2\tm", b"", b"7 Q0 b 3 +4e-1 m", b" 7 Q0 d\xc2\xa0e 4 -.3 m "]
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines))
    table = read_run(path)
    assert table["query"].to_pylist() == ["7"] * 4 and table["score"].to_pylist() == [1.9, 1.2, 0.4, -0.3]
    assert table["doc"].to_pylist()[-1] == "d\xa0e", "only blanks and tabs part fields"
    path.write_bytes(b"\xef\xbb\xbf7 0 a 1\r\n7 0 b -2\r\n")
    assert read_qrels(path)["grade"].to_pylist() == [1, -2]
    path.write_text("7 Q0 a 1 1.0 m\n", encoding="utf-16")
    with pytest.raises(InputError, match="this is UTF-16 text"):
        read_run(path)
    path.write_bytes(b"7 " * (1 << 20))
    with pytest.raises(InputError, match="x.run:1: a line without end"):
        read_run(path)


def test_names_with_blanks_are_refused_with_a_way_out_that_works(worked, tmp_path):
    from dataclasses import replace

    path = tmp_path / "x.run"
    docs = replace(worked, doc_ids=np.array(["a b", "c", "d", "e"]))
    queries = replace(worked, query_ids=np.array(["red shoes"]))
    for split, what in ((docs, "document"), (queries, "query")):
        for write in (lambda s: write_run(path, s, [1.0, 2, 3, 4]), lambda s: write_qrels(path, s)):
            with pytest.raises(InputError, match=f"cannot carry this {what} name.*--names row"):
                write(split)
        assert not path.exists()
        write_run(path, split, [1.0, 2, 3, 4], names="row")
        [(_, back)] = join(split, scores_of_run(split, read_run(path)))
        assert back.tolist() == [1, 2, 3, 4], "what was written is found again"
        write_qrels(path, split, names="row")
        assert read_qrels(path)["grade"].to_pylist() == [1, 3, 0, 2]
        path.unlink()
    write_run(path, worked, [1.0, 2, 3, 4], names="row")
    assert path.read_text().startswith("7 Q0 row3 1 4.0")


def test_qrels_come_back_as_they_went(tmp_path):
    split = make([3, 2], named=False)
    write_qrels(tmp_path / "x.qrels", split)
    table = read_qrels(tmp_path / "x.qrels")
    assert table["doc"].to_pylist() == ["row0", "row1", "row2", "row3", "row4"]
    assert table["grade"].to_pylist() == split.labels[:, 0].tolist()
    assert table["query"].to_pylist() == ["q0"] * 3 + ["q1"] * 2


def test_row_names_are_the_rows_of_the_source():
    from dataclasses import replace

    split = replace(make([2, 1], named=False), row=np.array([5, 0, 3]))
    assert document_names(split).tolist() == ["row5", "row0", "row3"]
    assert document_names(make([2]), "row").tolist() == ["row0", "row1"]


def test_the_fields_own_tools_give_the_same_numbers(tmp_path):
    """ir_measures and pytrec_eval read our two files and agree with per_query to the last digits, query by query.

    Their nDCG takes gain = grade, an empty list counts 0, and scores here have no ties (test_metrics.py has those).
    """
    split = make([12, 7, 30, 1, 25], seed=3, labels=4)
    scores = np.random.default_rng(3).standard_normal(split.n_documents).astype(np.float32)
    write_run(tmp_path / "x.run", split, scores)
    write_qrels(tmp_path / "x.qrels", split)
    ours = (
        per_query(
            split,
            scores_table(split, scores),
            [
                "nDCG(gain=linear,empty=0)@10",
                "nDCG(gain=linear,empty=0)@5",
                "AP(empty=0)",
                "RR(empty=0)",
                "P(empty=0)@5",
            ],
        )
        .to_pandas()
        .set_index("query")
    )

    run = list(ir_measures.read_trec_run(str(tmp_path / "x.run")))
    qrels = list(ir_measures.read_trec_qrels(str(tmp_path / "x.qrels")))
    theirs = defaultdict(dict)
    for value in ir_measures.iter_calc(
        [ir_measures.nDCG @ 10, ir_measures.nDCG @ 5, ir_measures.AP, ir_measures.RR, ir_measures.P @ 5], qrels, run
    ):
        theirs[str(value.measure)][value.query_id] = value.value
    pairs = {"nDCG@10": 0, "nDCG@5": 1, "AP": 2, "RR": 3, "P@5": 4}
    names = [c for c in ours.columns if c not in ("objective", "preference", "documents", "blank")]
    for name, column in pairs.items():
        assert theirs[name] == pytest.approx(ours[names[column]].to_dict(), abs=1e-6), name

    by_query = defaultdict(dict), defaultdict(dict)
    for q in qrels:
        by_query[0][q.query_id][q.doc_id] = q.relevance
    for r in run:
        by_query[1][r.query_id][r.doc_id] = r.score
    judged = pytrec_eval.RelevanceEvaluator(by_query[0], {"ndcg_cut_10", "map"}).evaluate(by_query[1])
    for query, values in judged.items():
        assert values["ndcg_cut_10"] == pytest.approx(ours.loc[query, names[0]], abs=1e-6)
        assert values["map"] == pytest.approx(ours.loc[query, names[2]], abs=1e-6)


@pytest.mark.parametrize(
    "text, says",
    [
        (
            "7 Q0 a 1 1.9 mlp\n7 Q0 b 2 mlp\n",
            r"x.run:2: not a line of the format; expected qid Q0 docid rank score tag",
        ),
        ("\n7 Q0 a 1 high mlp\n", r"x.run:2: the score is not a finite number; expected a number; came 'high'"),
        ("7 Q0 a 1 nan mlp\n", r"x.run:1: the score is not a finite number"),
        ("7 Q0 a 1 1e400 mlp\n", r"x.run:1: the score is not a finite number"),
        ("7 Q0 a 1 1_0 mlp\n", r"x.run:1: the score is not a finite number"),
        ("7 Q0 a 1² 1.0 mlp\n", r"x.run:1: the rank is not a whole number; .*came '1²'"),
        ("7 Q0 a 9223372036854775808 1.0 mlp\n", r"x.run:1: the rank is not a whole number"),
        ("7 Q0 a\0b 1 1.0 mlp\n", r"x.run:1: this is a binary file"),
        ("7 Q0 a first 1.0 mlp\n", r"x.run:1: the rank is not a whole number"),
        ("7 Q0 a 1 1.9 mlp\n7 Q0 a 2 1.8 mlp\n", r"x.run:2: document 'a' is ranked twice for query '7'"),
        ("", "the file is empty"),
    ],
)
def test_a_bad_run_names_its_line(tmp_path, text, says):
    (tmp_path / "x.run").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=says):
        read_run(tmp_path / "x.run")


@pytest.mark.parametrize(
    "text, says",
    [
        ("7 0 a 1\n7 0 b\n", r"x.qrels:2: not a line of the format"),
        ("7 0 a 1.5\n", r"x.qrels:1: the grade is not a whole number; expected an integer of 64 bits; came '1.5'"),
        ("7 0 a 1\n7 0 a 0\n", r"x.qrels:2: document 'a' is judged twice"),
        ("7 0 a --5\n", r"x.qrels:1: the grade is not a whole number"),
        ("7 0 a 99999999999999999999\n", r"x.qrels:1: the grade is not a whole number"),
    ],
)
def test_bad_qrels_name_their_line(tmp_path, text, says):
    (tmp_path / "x.qrels").write_text(text)
    with pytest.raises(InputError, match=says):
        read_qrels(tmp_path / "x.qrels")


def test_files_that_are_none(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_run(tmp_path / "nothing.run")
    for content, message in (
        (b"\xff\xfe\x00", "UTF-16 text"),
        (b"7 Q0 a 1 1 m\n7 Q0 \xe9 2 0 m\n", "x.run:2: not UTF-8"),
    ):
        (tmp_path / "x.run").write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_run(tmp_path / "x.run")


def test_what_a_run_says_twice_and_differently_is_said(tmp_path, capsys, monkeypatch):
    """Ranks that contradict the scores, ranks of equal scores, and differences a double cannot hold."""
    path = tmp_path / "x.run.gz"  # packed, as large runs are
    cases = {
        "the ranks of 1 queries, first 8, are not those of the scores": (("7", "3 2 1"), ("8", "1 2 3")),
        "the ranks of 2 queries, first 7, are not those": (("7", "1 1 1"), ("8", "2 2 2")),
        "x.run.gz:2: the scores 72048431380967002 and 72048431380967001 of query 7 are one double": (
            ("7", "72048431380967002 72048431380967001 1"),
        ),
        "": (("7", "3 3 1"), ("8", "1.00000000000000000000 1.0 -4e5")),
    }
    for message, lists in cases.items():
        monkeypatch.setattr(errors, "_SAID", set())
        lines = [f"{q} Q0 {'abc'[k]} {k + 1} {s} m\n" for q, scores in lists for k, s in enumerate(scores.split())]
        path.write_bytes(gzip.compress("".join(lines).encode()))
        assert read_run(path)["score"].to_pylist() == [float(s) for _, scores in lists for s in scores.split()]
        said = capsys.readouterr().err
        assert message in said if message else not said


def test_what_the_format_cannot_carry_is_refused_and_nothing_is_written(worked, tmp_path):
    from dataclasses import replace

    cases = [
        (
            lambda: write_run(tmp_path / "x", replace(worked, doc_ids=np.array(["a", "b b", "c", "d"])), [1, 2, 3, 4]),
            "white space",
        ),
        (
            lambda: write_run(tmp_path / "x", replace(worked, doc_ids=np.array(["a", "b", "a", "d"])), [1, 2, 3, 4]),
            "names a document twice",
        ),
        (lambda: write_run(tmp_path / "x", worked, [1, 2, 3, np.nan]), "not finite"),
        (lambda: write_run(tmp_path / "x", worked, [1, 2, 3, 4], tag="two words"), "one word"),
        (lambda: write_qrels(tmp_path / "x", replace(worked, labels=worked.labels / 2)), "whole numbers"),
    ]
    for write, says in cases:
        with pytest.raises(InputError, match=says):
            write()
    assert list(tmp_path.iterdir()) == []
    write_run(tmp_path / "x", replace(worked, doc_ids=np.array(["a", "b", "a", "d"])), [1, 2, 3, 4], names="row")
    assert "row3 1 4.0" in (tmp_path / "x").read_text()


def test_an_outside_run_must_rank_the_lists_it_is_measured_on(worked, tmp_path):
    path = tmp_path / "x.run"
    path.write_text("7 Q0 c 1 3 other\n7 Q0 a 2 2 other\n7 Q0 zz 3 1 other\n")
    run = read_run(path)
    with pytest.raises(InputError, match=r"1 of 3 lines rank a document that 'test' does not have, the first is 'zz'"):
        scores_of_run(worked, run)
    with pytest.raises(InputError, match="2 of 4 documents of 'test' are not ranked, the first is b of query '7'"):
        scores_of_run(worked, run, unknown="drop")
    scores = scores_of_run(worked, run, unknown="drop", missing="last")["score"].to_numpy()
    assert scores[2] > scores[0]
    assert scores[1] == scores[3] < 2, "what is not ranked is tied below all that is"
    path.write_text("8 Q0 x 1 3 other\n")
    with pytest.raises(InputError, match="Another fold"):
        scores_of_run(worked, read_run(path), unknown="drop", missing="last")
