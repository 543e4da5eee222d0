"""The table reader: roles of columns, ids as text, missing values, errors with their place."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from ltr.datasets.readers import tables as table
from ltr.datasets.readers.tables import read_table
from ltr.errors import InputError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

CSV = "qid,docid,label,bm25,title,pr\n07,d1,2,1.5,hello,3\n07,d2,0,,x,4\n8,d3,1,2e-3,y,\n07,d4,1,7,z,1\n"


@pytest.fixture
def csv(tmp_path):
    def csv(text=CSV, name="t.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return csv


def test_csv(csv):
    split = read_table(csv(), name="train")
    assert split.feature_names == ("bm25", "pr")  # title is text: ignored
    assert split.query_ids.tolist() == ["07", "8"]
    assert split.offsets.tolist() == [0, 3, 4]
    assert split.doc_ids.tolist() == ["d1", "d2", "d4", "d3"]
    assert split.row.tolist() == [0, 1, 3, 2]
    assert split.labels[:, 0].tolist() == [2, 0, 1, 1]
    np.testing.assert_array_equal(
        split.features, np.float32([[1.5, 3], [np.nan, 4], [7, 1], [2e-3, np.nan]]), strict=True
    )
    assert table.roles(csv()).ignored == ("title",)


@pytest.mark.parametrize("name", ["t.tsv", "t.csv.gz", "t.tsv.gz"])
def test_other_forms_of_csv(csv, name):
    text = CSV.replace(",", "\t") if "tsv" in name else CSV
    path = csv(gzip.compress(text.encode()) if name.endswith("gz") else text, name)
    np.testing.assert_array_equal(read_table(path).features, read_table(csv()).features)


def test_parquet_types(tmp_path):
    path = tmp_path / "t.parquet"
    columns = {
        "Query_ID": pa.array([1.0, 1.0, 2.0]),
        "rel": pa.array([1, 0, 2], pa.int8()),
        "trust": pa.array([10, 20, 30], pa.int16()),
        "url": pa.array(["a", None, "c"]),
        "flag": pa.array([True, False, None]),
        "big": pa.array([1e39, -1.0, 0.1]),
        "small": pa.array([1, None, 3], pa.uint8()),
        "when": pa.array([0, 1, 2], pa.timestamp("s")),
    }
    pq.write_table(pa.table(columns), path, row_group_size=2)
    split = read_table(path)
    assert split.objectives == ("rel", "trust")  # a human judgement is no feature
    assert split.query_ids.tolist() == ["1", "2"]
    assert split.doc_ids.tolist() == ["a", "", "c"]
    assert split.labels.tolist() == [[1, 10], [0, 20], [2, 30]]
    assert split.feature_names == ("flag", "big", "small")
    np.testing.assert_array_equal(
        split.features, np.float32([[1, np.inf, 1], [0, -1, np.nan], [np.nan, 0.1, 3]]), strict=True
    )


def test_dictionary_and_sliced_strings(tmp_path):
    path = tmp_path / "t.parquet"
    q = pa.array(["a", "b", "a", "c"] * 9000).dictionary_encode()
    n = len(q)
    docs = pa.array([f"d{k}" for k in range(n)])
    pq.write_table(pa.table({"qid": q, "label": np.zeros(n, int), "x": np.arange(n), "doc": docs}), path)
    split = read_table(path)  # several batches
    assert split.query_ids.tolist() == ["a", "b", "c"]
    assert split.doc_ids.tolist() == [f"d{k}" for k in split.row]
    assert split.features[:, 0].tolist() == split.row.tolist()


def test_roles_by_name(csv):
    path = csv("topic,y,a,b,clicks\n1,0,1,2,3\n")
    roles = table.roles(path)
    assert (roles.query, roles.labels, roles.features) == ("topic", ("y",), ("a", "b"))
    assert "outcome" in roles.left_out["clicks"]
    roles = table.roles(path, wanted=["clicks"])
    assert (roles.labels, roles.features) == (("y", "clicks"), ("a", "b"))
    roles = table.roles(path, query="a", labels=["b"], features=["clicks"])
    assert (roles.query, roles.labels, roles.features, roles.ignored) == ("a", ("b",), ("clicks",), ("topic", "y"))


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,label,x\n1,1,1\n", {}, "no query column"),
        ("qid,a,x\n1,1,1\n", {}, "no label column"),
        ("qid,label\n1,1\n", {}, "no feature columns"),
        ("qid,label,x\n1,1,1\n", {"query": "qidd"}, "unknown query column 'qidd'. Did you mean 'qid'"),
        ("qid,label,x\n1,1,1\n", {"features": ["label"]}, "column 'label' cannot be a feature"),
        ("qid,label,x\n1,1,a\n", {"features": ["x"]}, "column 'x' cannot be a feature"),
        ("qid,label,x\n1,good,1\n", {}, "label column 'label' holds no numbers"),
        ("qid,label,x,x\n1,1,1,1\n", {}, "column 'x' stands twice"),
        ("qid,label,x\n", {}, "no numbers|no documents|no feature"),
        ("qid,label,x\n1,1,1\n1,-1,1\n", {}, r"t.csv:3: row 2, label column 'label': not a grade.*-1"),
        ("qid,label,x\n1,1,1\n1,,1\n", {}, r"t.csv:3: row 2, label column 'label': not a grade"),
        ("qid,label,x\n1,1,1\n1,nan,1\n", {}, r"t.csv:3: row 2, label column 'label': not a grade.*a missing value"),
        ("qid,label,x\n1,1,1\n,1,1\n", {}, r"t.csv:3: row 2: missing query id"),
        ("qid,label,x\n1,1,1\n1,1\n", {}, r"t.csv:3: a line with another number of cells; expected 3 cells.*2: 1,1"),
        ("", {}, "not a readable table"),
    ],
)
def test_errors(csv, text, options, message):
    with pytest.raises(InputError, match=message):
        path = csv(text)
        list(table.blocks(path, table.roles(path, **options)))


def test_a_number_that_is_none_far_down(csv):
    # Beyond the block from which Arrow infers the types.
    path = csv("qid,label,x\n" + "1,1,0.5\n" * 200_000 + "1,1,oops\n")
    with pytest.raises(InputError, match="row 200001, column 'x': not a number.*oops") as error:
        read_table(path)
    assert error.value.line == 200_002


def test_a_file_that_is_no_parquet(csv):
    with pytest.raises(InputError, match="not a readable table"):
        read_table(csv("no parquet", "t.parquet"))


@pytest.mark.data
def test_clef_without_a_special_case(real_data):
    path = real_data / "clef-ehealth-2016" / "judged.parquet"
    split = read_table(path)
    frame = pq.read_table(path).to_pandas()
    assert split.objectives == ("rel", "under", "trust")
    assert split.query_ids.tolist() == frame["query_id"].astype(str).unique().tolist()
    order = np.arange(len(frame)) if split.row is None else split.row
    np.testing.assert_array_equal(split.labels, frame[["rel", "under", "trust"]].to_numpy(np.float32)[order])
    np.testing.assert_array_equal(split.features, frame[list(split.feature_names)].to_numpy(np.float32)[order])
    np.testing.assert_array_equal(split.doc_ids, frame["doc_id"].to_numpy(str)[order])
