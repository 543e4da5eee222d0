"""The svmlight reader: every stated rule, every error with its line, exact numbers, and scikit-learn as witness."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tracemalloc
import warnings

import numpy as np
import pytest
from battery import about
from hypothesis import given, settings
from hypothesis import strategies as st

from ltr.datasets.readers import chunks, companions, limits, svmlight
from ltr.datasets.readers.query_grouping import Gathered
from ltr.datasets.readers.svmlight import read_svmlight
from ltr.datasets.readers.thread_pool import ThreadPool
from ltr.errors import InputError


@pytest.fixture
def write(tmp_path):
    def write(text, name="data.txt"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def values(split):
    return split.features.tolist()


# --- the rules ---------------------------------------------------------------------------------------------------


def test_a_plain_file(write):
    split = read_svmlight(write("2 qid:7 1:0.5 3:-2\n0 qid:7 2:1e-05\n1.5 qid:b 1:1E+3\n"), name="train")
    assert values(split) == [[0.5, 0, -2], [0, np.float32(1e-05), 0], [1000, 0, 0]]
    assert split.labels.tolist() == [[2], [0], [1.5]]
    assert split.offsets.tolist() == [0, 2, 3]
    assert split.query_ids.tolist() == ["7", "b"]
    assert split.feature_names == ("f1", "f2", "f3")
    assert (split.doc_ids, split.row, split.name, split.objectives) == (None, None, "train", ("relevance",))


@pytest.mark.parametrize(
    "text",
    [
        "1 qid:1 1:2 2:3\r\n0 qid:1 1:4\r\n",  # CRLF
        "1 qid:1 1:2 2:3   \t\n0 qid:1 1:4 \n",  # trailing blanks
        "1\tqid:1\t1:2\t2:3\n0  qid:1   1:4",  # tabs, several blanks, no last line feed
        "\n\n1 qid:1 1:2 2:3\n   \n\t\r\n0 qid:1 1:4\n\n",  # empty lines
        "# heading\n1 qid:1 1:2 2:3\n  # qid:9 note\n0 qid:1 1:4\n#",  # lines that are comments
        "\ufeff1 qid:1 1:2 2:3\n0 qid:1 1:4\n",  # byte-order mark
        "+1 qid:1 1:+2 2:3.\n-0 qid:1 1:.4e1\n",  # signs and points
        "1 qid:1 2:3 1:2\n0 qid:1 1:4\n",  # unsorted
        "1 1:2 qid:1 2:3\n0 1:4 qid:1\n",  # qid elsewhere
    ],
)
def test_forms_of_the_same_file(write, text):
    split = read_svmlight(write(text))
    assert values(split) == [[2, 3], [4, 0]]
    assert split.labels[:, 0].tolist() == [1, 0]
    assert split.query_ids.tolist() == ["1"]


def test_comments_keep_document_ids(write):
    lines = [
        "1 qid:1 1:1 #docid = GX008-86-4444840 inc = 1 prob = 0.086622",
        "1 qid:1 1:1 # docid = clueweb09-en0003-55-31884 ",
        "1 qid:1 1:1 # docid=abc",
        "1 qid:1 1:1 # first second",
        "1 qid:1 1:1 # DOCID = Ärger",
        "1 qid:1 1:1 # notdocid = x",
        "1 qid:1 1:1 #",
        "1 qid:1 1:1",
    ]
    ids = ["GX008-86-4444840", "clueweb09-en0003-55-31884", "abc", "first", "Ärger", "notdocid", "", ""]
    assert read_svmlight(write("\r\n".join(lines))).doc_ids.tolist() == ids


def test_ids_that_are_not_utf8_stay_readable(write):
    split = read_svmlight(write(b"1 qid:\xff 1:1 # d\xff\n0 qid:\xff 1:1 # d2\n"))
    assert split.query_ids.tolist() == ["\\xff"]
    assert split.doc_ids.tolist() == ["d\\xff", "d2"]


def test_queries_that_come_back_are_gathered_in_stable_order(write):
    text = "".join(f"{label} qid:{q} 1:{label} # d{label}\n" for label, q in enumerate("abacbaab"))
    split = read_svmlight(write(text))
    assert split.query_ids.tolist() == ["a", "b", "c"]
    assert split.offsets.tolist() == [0, 4, 7, 8]
    assert split.row.tolist() == [0, 2, 5, 6, 1, 4, 7, 3]
    assert split.labels[:, 0].tolist() == split.row.tolist()
    assert split.features[:, 0].tolist() == split.row.tolist()
    assert split.doc_ids.tolist() == [f"d{k}" for k in split.row]


def test_query_ids_are_text(write):
    split = read_svmlight(write("0 qid:7 1:1\n0 qid:07 1:1\n0 qid:q-1/x:2 1:1\n0 qid:-3 1:1\n"))
    assert split.query_ids.tolist() == ["7", "07", "q-1/x:2", "-3"]


def test_a_line_without_features_is_a_document(write):
    split = read_svmlight(write("0 qid:1\n1 qid:1 2:3\n0 qid:1 # only a comment\n"))
    assert values(split) == [[0, 0], [0, 3], [0, 0]]
    assert split.doc_ids.tolist() == ["", "", "only"]


@pytest.mark.parametrize("chunk", [8, 64, 1 << 20])
def test_index_0_anywhere_makes_the_file_0_based(write, chunk):
    path = write("0 qid:1 1:1 3:3\n0 qid:1 2:2\n0 qid:1 0:9 1:5\n0 qid:1 3:7\n")
    gathered = Gathered().read(svmlight.blocks(path, chunk=chunk, threads=1))
    split = gathered.split()
    assert values(split) == [[0, 1, 0, 3], [0, 0, 2, 0], [9, 5, 0, 0], [0, 0, 0, 7]]
    assert split.feature_names == ("f0", "f1", "f2", "f3")


def test_index_base_overrules(write):
    path = write("0 qid:1 1:1 2:2\n")
    assert values(read_svmlight(path, index_base=0)) == [[0, 1, 2]]
    assert values(read_svmlight(path, index_base=1, n_features=4)) == [[1, 2, 0, 0]]


def test_declared_width_with_index_0_late(write):
    assert values(read_svmlight(write("0 qid:1 1:1\n0 qid:1 0:5\n"), n_features=2)) == [[0, 1], [5, 0]]
    with pytest.raises(InputError, match="indices 0 to 2"):
        read_svmlight(write("0 qid:1 2:1\n0 qid:1 0:5\n"), n_features=2)


def test_non_finite_features_are_kept_or_refused(write):
    text = "0 qid:1 1:nan 2:NaN 3:inf 4:-Inf 5:+infinity 6:1e39 7:-1e400 8:1\n"
    kept = read_svmlight(write(text)).features[0]
    np.testing.assert_array_equal(
        kept, np.float32([np.nan, np.nan, np.inf, -np.inf, np.inf, np.inf, -np.inf, 1]), strict=True
    )
    for bad in ("nan", "-inf", "1e39"):
        with pytest.raises(InputError, match=r"data.txt:2: the feature is not finite") as error:
            read_svmlight(write(f"0 qid:1 1:1\n0 qid:1 1:{bad}\n"), non_finite="refuse")
        assert error.value.came == f"1:{bad}"


def test_sizes_in_a_second_file(write):
    path = write("1 1:1\n0 2:1 # x\n\n2 1:3\n")
    write("2\n1\n", "data.txt.query")
    split = read_svmlight(path)
    assert split.offsets.tolist() == [0, 2, 3]
    assert split.query_ids.tolist() == ["1", "2"]
    write("2\n\n2\n", "data.txt.query")
    with pytest.raises(InputError, match=r"data.txt.query: list sizes do not fit"):
        read_svmlight(path)
    write("2\n-1\n", "data.txt.query")
    with pytest.raises(InputError, match=r"data.txt.query:2: not a list size"):
        read_svmlight(path)


# --- errors ------------------------------------------------------------------------------------------------------

GOOD = "1 qid:1 1:1 2:2 # fine\r\n\n# comment\n"  # three lines before the wrong one
WRONG = [
    ("x qid:1 1:1", "the label is not a number", "x"),
    ("1x qid:1 1:1", "the label is not a number", "1x"),
    ("1,0 qid:1 1:1", "the label is not a number", "1,0"),
    ("nan qid:1 1:1", "the label is not finite", "nan"),
    ("inf qid:1 1:1", "the label is not finite", "inf"),
    ("1e99 qid:1 1:1", "the label is not finite", "1e99"),
    ("-1 qid:1 1:1", "negative label", "-1"),
    ("qid:1 1:1", "missing label", "qid:1"),
    ("1:1 2:1", "missing label", "1:1"),
    ("1 1:1 2:1", "missing qid", "1"),
    ("1", "missing qid", "1"),
    ("1 # qid:1", "missing qid", "1"),
    ("1 qid:1 qid:2 1:1", "qid stands twice", "qid:2"),
    ("1 qid: 1:1", "empty qid", "qid:"),
    ("1 qid:1 1:1 abc", "not a feature", "abc"),
    ("1 qid:1 1:1 7", "not a feature", "7"),
    ("1 qid:1 1.5:1", "not a feature", "1.5:1"),
    ("1 qid:1 -1:1", "not a feature", "-1:1"),
    ("1 qid:1 1:1,5", "the feature's value is not a number", "1:1,5"),
    ("1 qid:1 1:1e", "the feature's value is not a number", "1:1e"),
    ("1 qid:1 1:1e+", "the feature's value is not a number", "1:1e+"),
    ("1 qid:1 1:--1", "the feature's value is not a number", "1:--1"),
    ("1 qid:1 1:.", "the feature's value is not a number", "1:."),
    ("1 qid:1 1:0x10", "the feature's value is not a number", "1:0x10"),
    ("1 qid:1 1:1_000", "the feature's value is not a number", "1:1_000"),
    ("1 qid:1 1:1.2.3", "the feature's value is not a number", "1:1.2.3"),
    ("1 qid:1 1:nano", "the feature's value is not a number", "1:nano"),
    ("1 qid:1 1:1:1", "the feature's value is not a number", "1:1:1"),
    ("1 qid:1 1:1 2:2 2:3", "feature index stands twice in the line", "2:3"),
    ("1 qid:1 2:1 1:2 2:3", "feature index stands twice in the line", "2:3"),
    ("1 qid:1 4:1 3:1 2:1 1:2 3:3", "feature index stands twice in the line", "3:3"),
    ("1 qid:1 99999999999999999999:1", "feature index out of range", "99999999999999999999:1"),
]


@pytest.mark.parametrize("chunk", [16, 1 << 20])
def test_wrong_lines_are_named(write, chunk):
    for line, what, came in WRONG:
        path = write(GOOD + line + "\n0 qid:1 1:1\n")
        with about(line), pytest.raises(InputError) as error:
            list(svmlight.blocks(path, chunk=chunk, threads=1))
        assert (error.value.what, error.value.file, error.value.line, error.value.came) == (what, path, 4, came)
        assert error.value.expected, line


def test_declared_ranges_are_limits(write):
    path = write("1 qid:1 1:1\n1 qid:1 5:1\n1 qid:1 0:1\n")
    with pytest.raises(InputError, match=r"data.txt:2: feature index out of range; expected indices from 1 to 4"):
        read_svmlight(path, n_features=4)
    with pytest.raises(InputError, match=r"data.txt:3: feature index out of range; expected indices from 1;.*'0:1'"):
        read_svmlight(path, index_base=1)
    with pytest.raises(InputError, match=r"data.txt:2: .* expected indices from 0 to 3"):
        read_svmlight(path, n_features=4, index_base=0)


@pytest.mark.parametrize("text", ["", "\n \n", "# nothing\n", b"\x1f\x8b" + gzip.compress(b"\n", mtime=0)[2:]])
def test_empty_files(write, text):
    with pytest.raises(InputError, match="no documents"):
        read_svmlight(write(text))


def test_the_first_line_without_qid_says_what_to_do(write):
    for text, advice in (
        ("# x\n1 1:1\n", r"data.txt:2: missing qid.*data.txt.query"),
        ("1 QID:3 1:1\n", r"data.txt:1: missing qid.*as qid:QUERY"),
        ("qid,label,a\n", "looks like a table: name it .csv"),
        ('{"qid": 1}\n', "web page, XML or JSON"),
        ("hello\n", "does not look like svmlight text"),
    ):
        with pytest.raises(InputError, match=advice):
            read_svmlight(write(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 qid:1 1:1\r0 qid:1 1:2\r", "data.txt:1: a carriage return within the line"),
        ("1 qid:1 1:1 # a\n1 qid:1 1:1 # a\r0 qid:1 1:2\n", "data.txt:2: a carriage return within the line"),
        ("1 qid:1 1:1\n1 qid:1\u00a01:1 2:1\n", "data.txt:2: white space in the query id"),
        (b"1 qid:1 1:1\n1 qid:2\xa01:1 2:1\n", "data.txt:2: white space in the query id"),
        ("1 qid:1 1:1\n1 qid:q#1 1:1 2:1\n", "data.txt:2: a # within the query id begins a comment; .*'q#1 1:1 2:1'"),
    ],
)
def test_what_would_be_lost_in_a_comment_or_an_id_is_refused(write, text, message):
    with pytest.raises(InputError, match=message):
        read_svmlight(write(text))
    assert read_svmlight(write("1 qid:1#d\r\r\n1 qid:\u00e9 1:1#d\r\n".replace("1#d\r\r", "1 #d\r\r"))).n_documents == 2


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="cannot read the file"):
        read_svmlight(tmp_path / "none.txt")


@pytest.mark.parametrize("threads", [1, 2])
def test_truncated_gzip(write, threads):
    lines = "".join(f"1 qid:{k} 1:{k * 7919 % 1000003}\n" for k in range(20000)).encode()
    packed = gzip.compress(lines)
    assert read_svmlight(write(packed, "whole.gz"), threads=threads).n_documents == 20000
    with pytest.raises(InputError, match="truncated or damaged gzip") as error:
        read_svmlight(write(packed[: len(packed) // 2], "cut.gz"), threads=threads)
    assert 1000 < error.value.line < 20000
    with pytest.raises(InputError, match="truncated or damaged gzip"):
        read_svmlight(write(packed[:-4], "tail.gz"), threads=threads)
    damaged = bytearray(packed)
    damaged[len(packed) // 2] ^= 0xFF
    with pytest.raises(InputError):
        read_svmlight(write(bytes(damaged), "damaged.gz"), threads=threads)


# --- numbers -----------------------------------------------------------------------------------------------------


def check_numbers(texts, write):
    split = read_svmlight(write("".join(f"0 qid:1 1:{t}\n" for t in texts)))
    with np.errstate(over="ignore"):
        expected = np.array([np.float32(float(t)) for t in texts])
    np.testing.assert_array_equal(split.features[:, 0].view(np.uint32), expected.view(np.uint32))


digits = st.text("0123456789", min_size=0, max_size=25)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.builds(
            lambda sign, whole, part, e: f"{sign}{whole}{part}{e}",
            st.sampled_from(["", "-", "+"]),
            st.text("0123456789", min_size=1, max_size=25),
            st.one_of(st.just(""), digits.map(lambda d: "." + d)),
            st.one_of(
                st.just(""), st.integers(-400, 400).map(lambda k: f"e{k}"), st.integers(0, 50).map("E+{}".format)
            ),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_numbers_are_exactly_pythons(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("numbers") / "n.txt"
    check_numbers(texts, lambda text: (path.write_text(text), path)[1])


def test_numbers_beside_rounding_boundaries(write):
    """Midpoints of neighbouring float32, and one part in 10**17 beside them: where a double's last place decides."""
    rng = np.random.default_rng(0)
    texts = []
    for low in np.abs(rng.standard_normal(6000).astype(np.float32)) * np.float32(10.0) ** rng.integers(-38, 38, 6000):
        high = np.nextafter(low, np.float32(np.inf))
        middle = (np.float64(low) + np.float64(high)) / 2
        texts += [
            repr(float(middle)),
            f"{middle:.25e}",
            f"{np.nextafter(middle, 0):.17g}",
            f"{np.nextafter(middle, 1e99):.20g}",
        ]
    texts += [
        "3.4028235677973366e38",
        "3.4028235677973365e38",
        "1.401298464324817e-45",
        "7.006492321624085e-46",
        "7.1e-46",
    ]
    check_numbers(texts, write)


def test_a_line_with_more_hard_numbers_than_there_is_room_for(write):
    # Beyond 18 digits and beside a boundary every one of them goes back to Python.
    n = svmlight._HARD * 2 + 5
    text = "0.50000002980232238769531250000001"
    split = read_svmlight(write("1 qid:1 " + " ".join(f"{k}:{text}" for k in range(1, n + 1)) + "\n0 qid:1 1:1\n"))
    assert (split.features[0] == np.float32(float(text))).all()
    assert split.n_documents == 2


# --- witnesses and invariances -----------------------------------------------------------------------------------


@st.composite
def sources(draw):
    rows = draw(st.integers(1, 12))
    width = draw(st.integers(1, 9))
    number = st.one_of(
        st.floats(width=32, allow_nan=False, allow_infinity=False),
        st.integers(-1000, 1000).map(float),
        st.just(0.0),
    )
    X = np.array(draw(st.lists(st.lists(number, min_size=width, max_size=width), min_size=rows, max_size=rows)))
    y = draw(st.lists(st.integers(0, 4), min_size=rows, max_size=rows))
    q = sorted(draw(st.lists(st.integers(0, 4), min_size=rows, max_size=rows)))
    return X, np.array(y, float), np.array(q)


@settings(max_examples=80, deadline=None)
@given(sources(), st.booleans())
def test_what_sklearn_writes_we_read(tmp_path_factory, source, zero_based):
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    X, y, q = source
    path = tmp_path_factory.mktemp("sk") / "data.svm"
    sklearn_datasets.dump_svmlight_file(X, y, str(path), query_id=q, zero_based=zero_based, comment="by scikit-learn")
    ours = read_svmlight(path, n_features=X.shape[1], index_base=0 if zero_based else 1)
    theirs, labels, queries = sklearn_datasets.load_svmlight_file(
        str(path), n_features=X.shape[1], query_id=True, zero_based=zero_based, dtype=np.float64
    )
    np.testing.assert_array_equal(ours.features, theirs.toarray().astype(np.float32))
    np.testing.assert_array_equal(ours.labels[:, 0], labels)
    np.testing.assert_array_equal(np.repeat(ours.query_ids.astype(int), ours.lengths), queries)


def messy(rng, lines=400):
    """Sparse lines whose width grows, queries that come back, comments, empty lines."""
    out = io.StringIO()
    for k in range(lines):
        index = np.sort(rng.choice(np.arange(1, 4 + k // 4), rng.integers(0, 4 + k // 8), replace=k % 7 == 0))
        pairs = " ".join(f"{i}:{rng.normal():.6g}" for i in dict.fromkeys(index.tolist()))
        out.write(f"{rng.integers(0, 5)} qid:{rng.integers(0, 30)} {pairs}{f' # d{k}' if k % 3 else ''}\n")
        if k % 11 == 0:
            out.write("\n")
    return out.getvalue()


@pytest.mark.parametrize("packed", [False, True])
def test_chunks_and_threads_change_nothing(write, packed):
    text = messy(np.random.default_rng(0)).encode()
    path = write(gzip.compress(text) if packed else text)
    whole = read_svmlight(path, threads=1)
    assert whole.n_features > 50 and whole.row is not None
    for chunk, threads in ((1, 1), (50, 2), (700, 1), (700, 3), (1 << 14, 2)):
        split = Gathered().read(svmlight.blocks(path, chunk=chunk, threads=threads)).split()
        for name in ("features", "labels", "offsets", "query_ids", "doc_ids", "row"):
            np.testing.assert_array_equal(getattr(split, name), getattr(whole, name), err_msg=name)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("packed", [False, True])
def test_lines_much_shorter_than_the_first(write, packed, threads):
    """Room is made for lines as long as those before: more of them come, and the last one is wrong."""
    long = "".join(f"{k % 3} qid:{k} " + " ".join(f"{i}:{k + i}" for i in range(1, 60)) + "\n" for k in range(20))
    short = "".join(f"{k % 2} qid:s{k // 7} 3:{k}\n" for k in range(900))
    content = (long + short).encode()
    path = write(gzip.compress(content) if packed else content, "a.txt")
    split = Gathered().read(svmlight.blocks(path, chunk=3000, threads=threads)).split()
    assert (split.n_documents, split.n_features, split.n_queries) == (920, 59, 20 + 129)
    assert split.features[20:, 2].tolist() == list(range(900)) and split.features[19, 58] == 19 + 59
    assert split.labels[20:, 0].tolist() == [k % 2 for k in range(900)]
    assert split.features.base is None  # one array, trimmed to what it holds

    content += b"0 qid:9 1:x\n"
    path = write(gzip.compress(content) if packed else content, "b.txt")
    with pytest.raises(InputError, match="not a number") as error:
        list(svmlight.blocks(path, chunk=3000, threads=threads))
    assert error.value.line == 921


def test_a_spool_changes_nothing(write, tmp_path):
    path = write(messy(np.random.default_rng(1)))
    whole = read_svmlight(path)
    gathered = Gathered(tmp_path / "spool", 128).read(svmlight.blocks(path, chunk=999))
    out = np.zeros(whole.features.shape, np.float32)
    gathered.fill(out, gathered.layout(), gathered.base)
    np.testing.assert_array_equal(out, whole.features)


def test_memory_is_that_of_chunks_not_of_the_file(write):
    rng = np.random.default_rng(0)
    line = " ".join(f"{k}:{v:.6f}" for k, v in enumerate(rng.random(100), 1))
    path = write("".join(f"0 qid:{k // 50} {line}\n" for k in range(12000)))  # 13 MB of text, 4.8 MB of features
    chunk = 1 << 17
    next(iter(svmlight.blocks(path, threads=1)))  # compiled before we measure
    tracemalloc.start()
    try:
        rows = sum(len(block.labels) for block in svmlight.blocks(path, chunk=chunk, threads=1))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert rows == 12000
    assert peak < 12 * chunk < path.stat().st_size / 8


def test_no_warnings_at_all(write):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_svmlight(write("0 qid:1 1:1e300 2:1e-300 3:nan\n"))


@pytest.mark.data
@pytest.mark.parametrize("name", ["MQ2008/Fold1/vali.txt", "ClueWeb09/Fold2/test.txt", "MSLR-WEB10K-head/test.txt"])
def test_real_files_as_sklearn_reads_them(real_data, name):
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    path = real_data / name
    ours = read_svmlight(path)
    X, y, q = sklearn_datasets.load_svmlight_file(str(path), query_id=True, dtype=np.float64)
    np.testing.assert_array_equal(ours.features, X.toarray().astype(np.float32))
    np.testing.assert_array_equal(ours.labels[:, 0], y)
    np.testing.assert_array_equal(np.repeat(ours.query_ids.astype(int), ours.lengths), q)
    assert (ours.doc_ids is None) == name.startswith("MSLR")


# --- missing, infinite, and what no file may do -----------------------------------------------------------------------


def test_missing_values_have_many_names(write):
    words = ["", "NULL", "null", "NA", "na", "N/A", "None", "?", "nan", "NaN", "<NA>"]
    text = "".join(f"0 qid:1 1:{word} 2:1\n" for word in words) + "0 qid:1 1:5 2:? # doc\n0 qid:1 1:# doc"
    split = read_svmlight(write(text))
    assert np.isnan(split.features[: len(words), 0]).all() and (split.features[: len(words), 1] == 1).all()
    assert split.features[len(words), 0] == 5 and np.isnan(split.features[len(words) :, 1][0])
    for word in ("nul", "NAN1", "??", "n/", "nonee"):
        with pytest.raises(InputError, match="data.txt:1: the feature's value is not a number"):
            read_svmlight(write(f"0 qid:1 1:{word}\n"))
    with pytest.raises(InputError, match="data.txt:1: the label is not finite.*'NA'"):
        read_svmlight(write("NA qid:1 1:1\n"))


@pytest.mark.parametrize("chunk", [16, 1 << 20])
def test_the_first_infinity_is_named(write, chunk):
    path = write("0 qid:1 1:1\n# note\n0 qid:1 1:nan 12:1e39\n0 qid:1 3:-inf 12:inf\n0 qid:1 1:3.4028234e38\n")
    for pool in (None, ThreadPool(3)):
        gathered = Gathered().read(svmlight.blocks(path, chunk=chunk, pool=pool, threads=1))
        assert gathered.infinite == (3, "data.txt:3, feature 12")


def test_other_blanks_are_blanks(write):
    split = read_svmlight(write("\x0b\n\x0c\n1\x0bqid:1\x0c1:2\n\x0b \x0c\n"))
    assert values(split) == [[2]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"1 qid:\0 1:1\n" + b" " * 5000, r"this is a binary file: it holds NUL bytes"),
        (b"1 qid:1 1:1\n" * 500 + b"1 qid:a\0b 1:1\n", r"data.txt:501: a NUL byte in the query id"),
        (b"1 qid:1 1:1\n" * 500 + b"1 qid:1 1:1 # a\0b\n", r"data.txt:501: a NUL byte in the document id"),
        (b"1 qid:1 1:1\n1 qid:" + b"q" * 4097 + b" 1:1\n", r"data.txt:2: the query id is too long"),
        (b"1 qid:1 1:1\n1 qid:1 1:1 # " + b"d" * 4097 + b"\n", r"data.txt:2: the document id is too long"),
        ("1 qid:1 1:1\n".encode("utf-32"), "this is UTF-32 text"),
        (b"version https://git-lfs.github.com/spec/v1\n", "pointer of a file kept in Git LFS"),
        ("1 qid:1 1:1\n".encode("utf-16"), "this is UTF-16 text.*Save it as UTF-8"),
        ("1 qid:1 1:1\n".encode("utf-16-le"), "this is UTF-16 text without a byte order mark"),
        (b"train.txt".ljust(257, b"\0") + b"ustar".ljust(255, b"\0"), "this is a tar archive.*Unpack it"),
        (b"1 qid:1 1:1\n0 qid:NA 1:2\n", "row 2: missing query id.*came 'NA'"),
        (b"PAR1" + b"\1" * 50, "this is a Parquet file.*Name it .parquet"),
        (b"PK\x03\x04" + b"\1" * 50, "this is a zip archive"),
        (b"\x28\xb5\x2f\xfd" + b"\1" * 50, "compressed with zstd"),
        (b"BZh91AY" + b"\1" * 50, "truncated or damaged"),
        (b"\xfd7zXZ\x00" + b"\1" * 50, "truncated or damaged"),
        (b"\x0b\x0c\n", "no documents"),
        (b"\xe9\n", "data.txt:1: "),
    ],
)
def test_files_that_are_no_text_of_numbers(write, text, message):
    with pytest.raises(InputError, match=message) as error:
        read_svmlight(write(text))
    assert error.value.file is not None


def test_every_packed_form_is_read(write):
    text = messy(np.random.default_rng(3)).encode()
    whole = read_svmlight(write(text))
    for pack in (gzip.compress, bz2.compress, lzma.compress):
        packed = read_svmlight(write(pack(text)), threads=2)
        np.testing.assert_array_equal(packed.features, whole.features)
        np.testing.assert_array_equal(packed.doc_ids, whole.doc_ids)


@pytest.mark.parametrize("sizes", ["9223372036854775807\n9223372036854775807\n12\n", "9" * 5000, "1e3", "1.0", "²"])
def test_sizes_nobody_can_have(write, sizes):
    path = write("1 1:1\n" * 10)
    write(sizes, "data.txt.query")
    with pytest.raises(InputError, match="list sizes do not fit the documents|not a list size") as error:
        read_svmlight(path)
    assert error.value.file.name == "data.txt.query"


def test_long_lines_and_bombs_are_refused_in_little_memory(write, monkeypatch):
    monkeypatch.setattr(limits, "LINE", 1 << 16)
    monkeypatch.setattr(chunks, "LINE", 1 << 16)
    good = b"1 qid:1 1:1\n"
    for text in (good * 2 + b"0 qid:1 " + b"1" * (1 << 18), good * 2 + b"#" * (1 << 18) + b"\n"):
        for packed in (False, True):
            with pytest.raises(InputError, match=r":3: the line is too long") as error:
                list(svmlight.blocks(write(gzip.compress(text) if packed else text), chunk=1 << 14, threads=1))
            assert error.value.line == 3
    monkeypatch.setattr(chunks, "PACKED_FROM", 1 << 16)
    with pytest.raises(InputError, match="unpacks to far more .* at most 200 times its size"):
        read_svmlight(write(gzip.compress(good * 200_000)))


def test_what_the_machine_cannot_hold_is_refused_before_it_is_asked_for(write, monkeypatch):
    monkeypatch.setattr(limits, "free_memory", lambda: 1 << 20)
    wide = write("1 qid:1 60000:1\n" + "0 qid:1 1:1\n" * 50)
    with pytest.raises(
        InputError, match=r"documents of 60,000 features do not fit in memory; expected at most 0.0 GiB"
    ):
        read_svmlight(wide)
    with pytest.raises(InputError, match="do not fit in memory"):
        read_svmlight(write("1 qid:1 1:1\n", "small.txt"), n_features=10**12)
    monkeypatch.undo()
    assert read_svmlight(wide).features.shape == (51, 60000)


def test_a_wide_file_is_parsed_in_pieces(write, monkeypatch):
    """However short its lines: what is parsed in one go has a bound, and the pieces are the whole."""
    path = write("".join(f"{k % 3} qid:{k // 10} {k % 900 + 1}:{k}\n" for k in range(3000)) + "0 qid:x 1:x\n")
    with pytest.raises(InputError, match="data.txt:3001: the feature's value is not a number"):
        read_svmlight(path)
    text = path.read_text().rsplit("0 qid:x", 1)[0]
    whole = read_svmlight(write(text))
    monkeypatch.setattr(svmlight, "_MOST_CELLS", 5000)
    pieces = read_svmlight(write(text), threads=2)
    np.testing.assert_array_equal(pieces.features, whole.features)
    assert pieces.offsets.tolist() == whole.offsets.tolist()
    with pytest.raises(InputError, match="data.txt:3001: the feature's value is not a number"):
        read_svmlight(path.with_name(write(text + "0 qid:x 1:x\n").name))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [
                    b"1",
                    b" ",
                    b"qid:1",
                    b"1:1",
                    b"2:?",
                    b"\n",
                    b"\r\n",
                    b"#",
                    b"\0",
                    b"\x0b",
                    b"\xff",
                    b":",
                    b"nan",
                    b"-1",
                ]
            ),
            st.binary(max_size=4),
        ),
        max_size=25,
    )
)
def test_whatever_a_file_holds_it_is_read_or_refused_with_its_name(tmp_path_factory, words):
    path = tmp_path_factory.mktemp("fuzz") / "x.txt"
    path.write_bytes(b"".join(words))
    try:
        split = read_svmlight(path, threads=1)
    except InputError as error:
        assert error.file == path
    else:
        assert split.n_documents == split.offsets[-1] > 0 and np.isfinite(split.labels).all()


def test_files_beside_a_set(write):
    path = write("1 1:1\n")
    for ending in ("weight", "position", "query", "other"):
        write("1\n", f"data.txt.{ending}")
    assert [p.name for p in companions.beside(path)] == ["data.txt.query", "data.txt.weight", "data.txt.position"]
    write("1\n", "data.group")  # as the demonstrations of XGBoost name it
    assert companions.beside(path, (".group",)) == [path.with_name("data.group")]


def test_infinities_are_read_without_a_warning(write):
    """Whether a column counts the rows is asked by differences, which infinities do not have."""
    values = ["inf", "inf", "-inf", *["3e38", "-3e38"] * 40]
    split = read_svmlight(write("".join(f"{i % 2} qid:1 1:{x} 2:{i}\n" for i, x in enumerate(values))))
    assert np.isinf(split.features[:3, 0]).all() and np.isfinite(split.features[3:]).all()


def test_what_c_libraries_print_of_no_number_is_no_comment(write):
    """1.#QNAN would be 1 and a comment that hides the rest of the line."""
    for word in ("1.#QNAN", "1.#INF", "-1.#IND"):
        with pytest.raises(InputError, match=r"data.txt:2: the feature's value is not a number"):
            read_svmlight(write(f"1 qid:1 1:2 2:3\n0 qid:1 1:{word} 2:3\n"))
    assert read_svmlight(write("1 qid:1 1:2 2:3#d7\n")).doc_ids.tolist() == ["d7"]


def test_a_query_that_travelled_as_a_float_is_the_same_query(write, capsys, monkeypatch):
    monkeypatch.setattr("ltr.errors._SAID", set())
    split = read_svmlight(write("1 qid:12 1:2\n0 qid:12.0 1:3\n0 qid:012 1:3\n0 qid:1.5 1:3\n"))
    assert split.query_ids.tolist() == ["12", "012", "1.5"] and split.lengths.tolist() == [2, 1, 1]
    read_svmlight(write("1 qid:é 1:2 # ü\n".encode("latin1")))
    assert "some ids are no UTF-8 text" in capsys.readouterr().err
