"""The table reader: roles of columns, ids as text, missing values, errors with their place."""

from __future__ import annotations

import bz2
import gzip
import lzma

import numpy as np
import pytest

from ltr.datasets.readers import column_roles
from ltr.datasets.readers import tables as table
from ltr.datasets.readers.query_grouping import Gathered
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
        "when": pa.array([0, 1, 2], pa.timestamp("ms")),
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
        ("", {}, "the file is empty"),
        ("# made by x\nqid,label,x\n1,1,1\n", {}, "first line must be the names"),
        ("1,2,0.5\n1,0,0.1\n", {}, "first line looks like data"),
        ("qid,label,x\n1,1,1\n", {"labels": ["label:grade5"]}, "--objective label:grade5"),
        ("qid,label,x\n1,1,1\n", {"labels": ["qid"]}, "named as query and as label"),
        ("qid,label,x\n1,1,1\n", {"query": "x", "document": "x"}, "named as query and as document"),
        ("qid,label,x\n7.2E+16,1,1\n", {}, "lost their last digits"),
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


# --- no column is lost, none leaks ---------------------------------------------------------------------------------


def column(csv, cells, name="c", head="qid,label,a", **roles):
    """The feature of these cells in a CSV file, quoted, beside one that is always 0.5."""
    rows = "".join(f'{k // 2},1,0.5,"{cell}"\n' for k, cell in enumerate(cells))
    split = read_table(csv(f"{head},{name}\n{rows}"), **roles)
    return split.features[:, split.feature_names.index(name)].tolist() if name in split.feature_names else None


def test_missing_values_have_many_names(csv):
    words = ["", "NA", "N/A", "nan", "NULL", "None", "?", " ", "#N/A", "<NA>", "\\N", "nil", "null"]
    assert np.isnan(column(csv, [*words, "3"])[:-1]).all()
    assert column(csv, ["1", *words])[0] == 1
    assert np.isnan(column(csv, words)).all()  # nothing but missing values is still a column


def test_numbers_in_many_forms(csv):
    assert column(csv, ["+1.5", " 2 ", "1e3", ".5", "5.", "-0.25E+2"]) == [1.5, 2, 1000, 0.5, 5, -25]
    assert column(csv, ["True", "false", "TRUE", "0"]) == [1, 0, 1, 0]
    assert column(csv, ["inf", "-Infinity", "1e39", "1"]) == [np.inf, -np.inf, np.inf, 1]


def test_what_a_comma_means_is_read_off_the_whole_column(csv):
    assert column(csv, ["0,640", "1,246", "-3,5", "7"]) == np.float32([0.64, 1.246, -3.5, 7]).tolist()
    assert column(csv, ["1.234,5", "0,25"]) == [1234.5, 0.25]
    assert column(csv, ["1,234,567", "1,234", "12"]) == [1234567, 1234, 12]
    assert column(csv, ["1,234", "0.5"]) == [1234, 0.5]  # the point is the decimal point
    with pytest.raises(InputError, match=r"t.csv:2: row 1, column 'c': a comma that may group thousands or be the dec"):
        column(csv, ["1,234", "5,678"])
    with pytest.raises(InputError, match=r"t.csv:3: row 2, column 'c'.*both used as the decimal point.*'0,64'"):
        column(csv, ["1.5", "0,64"])
    semicolons = "qid;label;a;c\n1;1;0,5;1,234\n1;0;1,5;2,345\n"
    split = read_table(csv(semicolons))
    np.testing.assert_array_equal(split.features, np.float32([[0.5, 1.234], [1.5, 2.345]]), strict=True)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_separators_are_found_in_the_header(csv, delimiter):
    text = 'qid,label,"a;b",x\n1,1,2,3\n' if delimiter == "," else "qid,label,a,x\n1,1,2,3\n".replace(",", delimiter)
    assert read_table(csv(text)).features.tolist() == [[2, 3]]
    assert read_table(csv("qid\tlabel\tx,1,2,3\n1\t1\t2\n", "t.tsv")).features.tolist() == [
        [2]
    ]  # its commas are its own


def test_few_cells_that_are_no_numbers_are_refused_with_their_line(csv):
    with pytest.raises(InputError, match=r"t.csv:5: row 4, column 'c': not a number.*'n.v.t.'.*--drop 'c'") as error:
        column(csv, ["1", "2", "3", "n.v.t.", "5"])
    assert error.value.line == 5
    assert column(csv, ["1", "2", "3", "n.v.t.", "5"], drop=["c"]) is None
    # Lines, not rows: empty lines and line feeds in a cell count.
    path = csv('qid,label,title,x\n1,1,"two\nlines",1\n\n1,0,t,2\n1,0,u,oops\n')
    with pytest.raises(InputError, match=r"t.csv:6: row 3, column 'x'.*'oops'"):
        read_table(path)
    # Mostly words: a column of text, left out and said.
    roles = table.roles(csv("qid,label,x,size\n1,1,1,S\n1,1,1,M\n1,1,1,40\n"))
    assert roles.left_out == {"size": "text, 1 of 3 cells are numbers"}


def test_numbers_with_units_are_refused_and_not_taken_for_text(csv):
    for cell in ("50%", "$5.00", "5 €", "1 000", "1'000", "1\u202f000,5", "0x1F", "\u22125"):
        with pytest.raises(InputError, match=r"t.csv:2: row 1, column 'c': a number with a unit.*--drop 'c'"):
            column(csv, [cell, cell, ""])
    with pytest.raises(InputError, match=r"t.csv:3: row 2, column 'c': a number with a unit.*'7%'"):
        column(csv, ["1", "7%", "3"])
    for cells in (["2020-01-01"] * 3, ["1 2 3"] * 3, ["10.0.0.1"] * 3, ["0x" + "ab" * 20] * 3, ["5%", "a", "b"]):
        assert column(csv, cells) is None, cells


def test_a_column_that_is_empty_at_first_is_no_text(csv):
    rows = 300_000  # beyond Arrow's first block
    split = read_table(csv("qid,label,a,late\n" + "1,1,0.5,\n" * rows + "1,1,0.5,7\n"))
    assert split.feature_names == ("a", "late")
    assert np.isnan(split.features[:rows, 1]).all() and split.features[rows, 1] == 7


def test_what_cannot_be_a_feature_is_said_with_its_reason(tmp_path):
    path = tmp_path / "t.parquet"
    columns = {
        "qid": [1, 1, 2],
        "relevance": [0, 1, 2],
        "a": [0.5, None, 1.5],
        "title": ["x", "y", None],
        "emb": [[1.0, 2.0], [3.0], []],
        "when": pa.array([0, 1, 2], pa.date32()),
        "nothing": pa.nulls(3),
        "words": pa.array(["1.5", "NA", "2"]).dictionary_encode(),
        "seller": pa.array([72048431380967004, 3, None], pa.int64()),
        "cat": pa.array([7, 8, 7], pa.int16()).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), path)
    roles, said = column_roles.decide(table.columns_of(path), column_roles.Roles(), path)
    assert roles.features == ("a", "nothing", "words", "seller", "cat")
    assert set(roles.left_out) == {"title", "emb", "when"}
    assert {row["column"]: row["role"] for row in said}["emb"] == "left out"
    split = read_table(path)
    nan = np.nan
    big = np.float32(72048431380967004)
    np.testing.assert_array_equal(
        split.features, np.float32([[0.5, nan, 1.5, big, 7], [nan, nan, nan, 3, 8], [1.5, nan, 2, nan, 7]]), strict=True
    )


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "index", "level_0", "__index_level_0__", "ID", "row_number"])
def test_a_row_index_is_no_feature(csv, name):
    roles = table.roles(csv(f"{name},qid,label,a\n0,1,1,0.5\n"))
    assert roles.features == ("a",) and "a row index" in roles.left_out[name]


def test_the_index_of_pandas_is_no_feature(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"qid": [1, 1], "label": [0, 1], "a": [1, 2]})
    for name, features in ((None, ("a",)), ("place", ("a",)), ("qid", ("a",))):
        path = tmp_path / "t.parquet"
        (frame.set_index("qid") if name == "qid" else frame.rename_axis(name).iloc[::-1]).to_parquet(path)
        assert read_table(path).feature_names == features, name
        assert read_table(path).query_ids.tolist() == ["1"]


def test_names_of_outcomes_are_no_features_unless_said_so(csv):
    outcomes = [
        "clicks",
        "n_purchases",
        "booking_bool",
        "dwell_time",
        "conversionRate",
        "gross_revenue",
        "orders",
        "ctr",
    ]
    outcomes += ["sales", "position", "score", "rank", "rating", "add_to_cart", "watch_time", "likes", "srp_position"]
    outcomes += ["y_true", "ground_truth", "model_score", "y_pred", "gain", "helpful_votes", "target"]
    inputs = ["bm25_score", "page_rank", "price", "border", "stock", "review_position_mean", "url_length"]
    path = csv(f"qid,label,{','.join(outcomes + inputs)}\n" + f"1,1{',1' * len(outcomes + inputs)}\n")
    roles = table.roles(path)
    assert roles.features == tuple(inputs)
    assert all("--features" in roles.left_out[c] and "--labels" in roles.left_out[c] for c in outcomes)
    assert table.roles(path, features=["clicks", "p[oa]*", "price"]).features == (
        "clicks",
        "position",
        "page_rank",
        "price",
    )
    assert table.roles(path, labels=["clicks", "price"]).labels == ("clicks", "price")
    assert table.roles(path, drop=["*_*"]).features == ("price", "border", "stock")
    with pytest.raises(InputError, match="unknown column to drop 'pric'. Did you mean 'price'"):
        table.roles(path, drop=["pric"])
    with pytest.raises(InputError, match="column 'price' is dropped and named as"):
        table.roles(path, drop=["price"], labels=["price"])
    # A pattern speaks of features: what has another role keeps it, and one that takes nothing is a mistake.
    some = table.roles(csv("qid,label,q_len,a\n1,1,3,4\n"), drop=["q*"])
    assert (some.query, some.features) == ("qid", ("a",))
    with pytest.raises(InputError, match="no feature columns.*not all dropped"):
        table.roles(path, drop=["*"])
    with pytest.raises(InputError, match="takes no feature but 'qid'"):
        table.roles(csv("qid,label,a\n1,1,3\n"), drop=["q*"])


def test_a_second_judgement_is_a_label_or_left_out(csv):
    roles = table.roles(csv("qid,relevance,grade,trust,a\n1,1,2,3,4\n"))
    assert (roles.labels, roles.features, list(roles.left_out)) == (("relevance", "trust"), ("a",), ["grade"])
    assert table.roles(csv("qid,relevance,trust,a\n1,1,3,4\n"), drop=["trust"]).labels == ("relevance",)


def test_a_second_query_document_or_split_is_no_feature(csv):
    path = csv("qid,session_id,url,docid,fold,label,a\n1,7,3,4,2,1,5\n")
    roles = table.roles(path)
    assert (roles.query, roles.document, roles.features) == ("qid", "docid", ("a",))
    assert {c: roles.left_out[c].split(";")[0] for c in roles.left_out} == {
        "session_id": "its name speaks of a query",
        "url": "its name speaks of a document",
        "fold": "its name speaks of a split",
    }
    assert table.roles(path, query="session_id").left_out.keys() == {"qid", "url", "fold"}
    assert table.roles(path, features=["fold", "a"]).features == ("fold", "a")


def test_blanks_around_names_and_ids_are_none_of_them(csv):
    split = read_table(csv("qid, docid, label, a\n1, x,1,3\n 1,y ,0,4\n2 ,x,1,5\n"))
    assert (split.query_ids.tolist(), split.doc_ids.tolist()) == (["1", "2"], ["x", "y", "x"])
    assert split.objectives == (" label",) and split.feature_names == (" a",)


def test_ids_that_travelled_as_numbers(csv, tmp_path):
    """ "101.0" is 101 in text, too; what has lost digits on its way is refused instead of merged."""
    assert read_table(csv("qid,label,a\n101.0,1,3\n101,0,4\n1.10,1,5\n")).query_ids.tolist() == ["101", "1.10"]
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"qid": [2.0**60, 2.0**60 + 256], "label": [1, 0], "a": [1.0, 2.0]}), path)
    with pytest.raises(InputError, match="lost their last digits.*1.15.*text"):
        read_table(path)
    narrow = pa.array([2.0**25, 2.0**25 + 4], pa.float32())
    pq.write_table(pa.table({"qid": narrow, "label": [1, 0], "a": [1.0, 2.0]}), path)
    with pytest.raises(InputError, match="lost their last digits.*33554432"):
        read_table(path)
    pq.write_table(pa.table({"qid": [2**60, 2**60 + 1], "label": [1, 0], "a": [1.0, 2.0]}), path)
    assert read_table(path).query_ids.tolist() == [str(2**60), str(2**60 + 1)]


def test_a_row_of_sums_and_a_missing_id_are_no_queries(csv):
    head, rows = "qid,label,a\n", "1,1,3\n2,0,4\n"
    for name in ("Total", "Grand total", "sum", "Average"):
        with pytest.raises(InputError, match=f"row 3: the last row looks like one of sums.*{name!r}"):
            read_table(csv(f"{head}{rows}{name},1,7\n"))
    for name in ("NA", "null", "nan"):
        with pytest.raises(InputError, match=f"row 1: missing query id.*{name!r}"):
            read_table(csv(f"{head}{name},1,7\n{rows}"))
    # Queries may be the words of searches.
    assert read_table(csv(f"{head}tea,1,7\nnan,0,3\nbread,1,2\ntotal,0,1\n")).n_queries == 4
    assert read_table(csv(f"{head}total,1,7\n{rows}")).query_ids.tolist() == ["total", "1", "2"]


def test_several_files_are_one_source(csv):
    train = csv("qid,label,a,c,title\n1,1,1,2,x\n", "train.csv")
    test = csv("label,title,c,qid,a\n1,x,,9,5\n", "test.csv")  # another order, nothing in c
    found, _ = table.agreed([train, test], column_roles.Roles())
    blocks = [next(iter(table.blocks(path, found[path]))).features for path in (train, test)]
    assert blocks[0].tolist() == [[1, 2]] and blocks[1][0, 0] == 5 and np.isnan(blocks[1][0, 1])
    with pytest.raises(InputError, match=r"test.csv: column 'c' of train.csv is not here.*--drop 'c'"):
        table.agreed([train, csv("qid,label,a\n1,1,1\n", "test.csv")], column_roles.Roles())
    with pytest.raises(InputError, match=r"test.csv:3: row 2, column 'c': not a number"):
        table.agreed([train, csv("qid,label,a,c\n1,1,1,2\n1,1,1,x\n", "test.csv")], column_roles.Roles())
    _, said = table.agreed([train, csv("qid,label,a,c,new\n1,1,1,2,3\n", "test.csv")], column_roles.Roles())
    assert said[-1] == {"column": "new", "role": "left out", "why": "only in test.csv, not in train.csv"}


def test_arrow_files_and_packed_csv(tmp_path, csv):
    whole = read_table(csv())
    arrow = tmp_path / "t.arrow"
    data = pa.table({"qid": ["07", "07", "8"], "docid": ["d1", "d2", "d3"], "label": [2, 0, 1], "bm25": [1.5, None, 2]})
    with pa.OSFile(str(arrow), "wb") as file, pa.ipc.new_file(file, data.schema) as writer:
        writer.write_table(data)
    split = read_table(arrow)
    assert split.query_ids.tolist() == ["07", "8"] and split.doc_ids.tolist() == ["d1", "d2", "d3"]
    np.testing.assert_array_equal(split.features[:, 0], np.float32([1.5, np.nan, 2]))
    pq.write_table(data, tmp_path / "t.csv.parquet")  # the last ending counts
    assert read_table(tmp_path / "t.csv.parquet").labels.tolist() == [[2], [0], [1]]
    for name, pack in (("t.csv.bz2", bz2.compress), ("t.csv.xz", lzma.compress)):
        np.testing.assert_array_equal(read_table(csv(pack(CSV.encode()), name)).features, whole.features)


def test_files_that_are_no_tables_are_named(csv):
    cases = {
        "UTF-16 text": CSV.encode("utf-16"),
        "a zip archive": b"PK\x03\x04" + b"x" * 40,
        "header is not UTF-8": "qid,label,größe\n1,1,2\n".encode("latin1"),
        "The first line looks like data": b"1,0,0.5\n1,1,0.7\n",
        "There is one column only": b"qid\n1\n",
        "column 'x' stands twice": b"qid,label,x,x\n1,1,2,3\n",
        "column '' stands twice.*Name the columns in the first line": b"qid,label,x,,\n1,1,2,,\n",
        "column '1' stands twice.*Does the first line hold the names": b"1,1,0.5\n",
        "a web page, XML or JSON": b"<html><table></table></html>",
        ":2: label column 'label' holds no numbers.*'Bad'.*grades as numbers": b"qid,label,x\n1,Bad,2\n",
    }
    for what, text in cases.items():
        with pytest.raises(InputError, match=what) as error:
            read_table(csv(text))
        assert error.value.file is not None, what
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, pa.schema([("qid", pa.int64())])):
        pass
    with pytest.raises(InputError, match="Not an Arrow file.*write it with to_feather"):
        read_table(csv(stream.getvalue().to_pybytes(), "t.arrow"))
    # Text that nobody reads may be in any encoding.
    path = csv("qid,label,titel,x\n1,1,Größe,2\n".encode("latin1"))
    assert read_table(path).features.tolist() == [[2]]
    with pytest.raises(InputError, match=r"t.csv:2: row 1: a NUL byte in the query id"):
        read_table(csv(b"qid,label,x" + b" " * 5000 + b"\na\0b,1,2\n"), features=["x*"])


def test_inputs_for_a_ranker_are_found_by_name(csv):
    path = csv("c,qid,doc,a,extra\n1,7,d,NULL,x\n3,7,e,4,1\n")
    columns = table.inputs(path, ["a", "c"])
    assert (columns.query, columns.document, columns.labels) == ("qid", "doc", ())
    split = Gathered().read(table.blocks(path, columns)).split(objectives=(), names=columns.features)
    np.testing.assert_array_equal(split.features, np.float32([[np.nan, 1], [4, 3]]))
    with pytest.raises(InputError, match="1 of the ranker's 2 features are not in the table, first 'b'"):
        table.inputs(path, ["a", "b"])
    with pytest.raises(InputError, match=r"t.csv:2: row 1, column 'extra': not a number.*'x'"):
        table.inputs(path, ["extra"])


def test_many_rows_without_labels_are_inputs_too(csv):
    path = csv("qid,a\n" + "".join(f"{k // 5},{k}\n" for k in range(30)))
    gathered = Gathered(path=path).read(table.blocks(path, table.inputs(path, ["a"])))
    assert gathered.documents == 30 and gathered.labels.shape == (30, 0)


def test_the_roles_in_words():
    rows = [
        {"column": "qid", "role": "query", "why": ""},
        *({"column": f"f{k}", "role": "feature", "why": ""} for k in range(20)),
        {"column": "", "role": "left out", "why": "a row index"},
    ]
    assert column_roles.role_lines(rows, most=2) == [
        "query     qid",
        "feature   f0, f1, ... (20 in all)",
        "left out  '': a row index",
    ]


def test_text_that_is_no_utf8_is_refused(tmp_path):
    path, offsets = tmp_path / "x.parquet", np.array([0, 1, 2], np.int32)
    odd = pa.StringArray.from_buffers(2, pa.py_buffer(offsets), pa.py_buffer(b"1\xff"))
    pq.write_table(pa.table({"qid": [1, 2], "label": [1, 0], "a": odd}), path)
    with pytest.raises(InputError, match="x.parquet: not a readable table.*UTF8"):
        read_table(path)


def test_dates_beyond_the_calendar_of_python_are_no_ids(tmp_path):
    path = tmp_path / "x.parquet"
    for kind in (pa.date32(), pa.timestamp("ms")):
        days = pa.array(
            [2**31 - 1 if kind == pa.date32() else 2**59], pa.int32() if kind == pa.date32() else pa.int64()
        )
        pq.write_table(pa.table({"qid": days.cast(kind), "label": [1], "a": [2.0]}), path)
        with pytest.raises(InputError, match="x.parquet: "):
            read_table(path)


def test_ids_are_text_or_numbers(tmp_path):
    """Columns of lists and structures cannot name a query, a document or a split."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    plain = {"query": [1, 2], "document": ["a", "b"], "split": ["train", "train"], "label": [1, 0], "f": [1.0, 2.0]}
    for name in ("query", "document", "split"):
        for value in ([1, 2], {"a": 1}):
            pq.write_table(pa.table(plain | {name: [value, value]}), tmp_path / "x.parquet")
            with pytest.raises(InputError, match="x.parquet: "):
                read_table(tmp_path / "x.parquet", query="query", document="document", split="split")


def test_rows_that_an_unclosed_quote_has_swallowed_are_refused(csv):
    """The cell that begins with a quote ends at the next one, rows later, and the number of cells fits."""
    title = {3: '"27 inch', 6: '"big" one'}
    rows = [f"{k // 2},{k % 2},{k}.5,{title.get(k, 'x')}" for k in range(10)]
    with pytest.raises(InputError, match=r"t.csv:5: row 4, column 'title': the cell holds whole rows"):
        read_table(csv("\n".join(["qid,label,a,title", *rows])))
    first = [f"{title.get(k, 'x')};{k // 2};{k % 2};{k}.5" for k in range(10)]
    with pytest.raises(InputError, match=r"t.csv:5: row 4, column 'title'"):
        read_table(csv("\r\n".join(["title;qid;label;a", *first])))
    text = "\n".join(["qid,label,a,title", *(f'{k // 2},{k % 2},{k}.5,"red,\n1, blue, x"' for k in range(10))])
    assert read_table(csv(text)).n_documents == 10  # a text of two lines, with as many commas as a row


def test_ids_are_the_same_whatever_they_travelled_as(csv, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("ltr.errors._SAID", set())
    text = csv(b"qid,doc,label,a\n1.00,5.0,0,1\n\xef\xbb\xbf1,\xef\xbb\xbf6,1,2\n007,d7,0,3\n")
    assert read_table(text).query_ids.tolist() == ["1", "007"]
    assert read_table(text).doc_ids.tolist() == ["5", "6", "d7"]
    with pytest.raises(InputError, match="ids that were numbers have lost their last digits"):
        read_table(csv("qid,doc,label,a\n1,7.2048431380967e+16,0,1\n"))
    decimal = pa.array([7, 7, 8], pa.int8()).cast(pa.decimal128(10, 2))
    pq.write_table(
        pa.table(
            {"qid": decimal, "doc": pa.array([b"aa", b"ab", b"ac"], pa.binary(2)), "label": [0, 1, 0], "x": [1.0] * 3}
        ),
        tmp_path / "t.parquet",
    )
    split = read_table(tmp_path / "t.parquet")
    assert split.query_ids.tolist() == ["7", "8"] and split.doc_ids.tolist() == ["aa", "ab", "ac"]
    assert capsys.readouterr().err == ""
    assert read_table(csv("qid,label,a\né,1,1\n".encode("latin1"))).query_ids.tolist() == ["\\xe9"]
    assert "some ids are no UTF-8 text" in capsys.readouterr().err


def test_a_label_that_is_missing_elsewhere_is_not_to_be_dropped(csv):
    first, second = csv("qid,label,a,b\n1,1,2,3\n"), csv("qid,a\n1,2\n", "u.csv")
    with pytest.raises(InputError, match="column 'label' .* is not here") as refused:
        table.agreed([first, second], table.Roles())
    assert "--drop" not in str(refused.value)
    with pytest.raises(InputError, match="Correct the file, or leave the column out everywhere: --drop 'b'"):
        table.agreed([first, csv("qid,label,a\n1,1,2\n", "v.csv")], table.Roles())
    assert table.roles(csv("qid,label,a,is_test\n1,1,2,0\n")).features == ("a",)
