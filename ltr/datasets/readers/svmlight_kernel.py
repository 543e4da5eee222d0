"""The compiled half of the svmlight reader: bytes in, dense float32 rows out, the GIL released.

A block is parsed until its rows are full, its text ends, or a line needs what the caller must arrange first (a wider
row, a feature 0, room for hard numbers). Whatever the reason, the kernel stops at the START of a line, so the rows
before it are whole and the caller goes on from `pos`.

Numbers. Digits are gathered in an integer m of at most 18 digits with a power of ten e. With m < 2**53 and |e| <= 22
both m and 10**|e| are exact doubles, so one IEEE operation rounds correctly (Clinger 1990). Any other number may be
off by a few units of the last double place; that changes its float32 only beside a rounding boundary, and exactly
those are handed back as "hard" for Python's `float` to read. So every value equals `np.float32(float(text))`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["compiled", "parse", "widest"]

# Why the kernel stopped. Up to HARD the caller goes on, from LABEL_MISSING on the line is wrong.
END, FULL, WIDE, ZERO, HARD = 0, 1, 2, 3, 4
LABEL_MISSING, LABEL_TEXT, LABEL_NOT_FINITE, LABEL_NEGATIVE = 10, 11, 12, 13
QID_MISSING, QID_REPEATED, QID_EMPTY = 20, 21, 22
PAIR_TEXT, VALUE_TEXT, INDEX_ZERO, INDEX_OVER, INDEX_REPEATED, VALUE_NOT_FINITE = 30, 31, 32, 33, 34, 35

_NEARLY = 3.4e38  # above it a number may be infinite in float32
_INDEX_CAP = 1 << 40  # indices saturate here; every limit lies far below
_TENS = np.array([float(f"1e{k}") for k in range(309)])
_TAB, _LF, _CR, _SPACE, _HASH, _PLUS, _MINUS, _DOT, _NINE0, _COLON = 9, 10, 13, 32, 35, 43, 45, 46, 48, 58


def compiled(inline: str = "never"):
    """njit without the GIL, kept on disk where there is a place to write."""

    def compile_(function):
        try:
            return njit(nogil=True, cache=True, inline=inline)(function)
        except RuntimeError:  # neither the package's nor the user's folder can be written
            return njit(nogil=True, inline=inline)(function)

    return compile_


@compiled(inline="always")
def _is_blank(c):
    return c == _SPACE or (_TAB <= c <= _CR and c != _LF)  # as Python's strip: tab, vertical tab, form feed, return


@compiled()
def _word(text, pos, end, word):
    """Whether the letters of `word` (lower case) stand at pos, in either case."""
    if end - pos < len(word):
        return False
    for k in range(len(word)):
        if text[pos + k] | 32 != word[k]:
            return False
    return True


_NAN = np.frombuffer(b"nan", np.uint8)
_NULL, _NONE, _NA = (np.frombuffer(word, np.uint8) for word in (b"null", b"none", b"na"))
_N_A, _LT_NA, _MARK = (np.frombuffer(word, np.uint8) for word in (b"n/a", b"<na>", b"?"))
_INF = np.frombuffer(b"inf", np.uint8)
_INFINITY = np.frombuffer(b"infinity", np.uint8)
_DOCID = np.frombuffer(b"docid", np.uint8)


@compiled()
def _scaled(mantissa, exponent):
    """mantissa * 10**exponent for what the exact path cannot do; within 4e-16 of the truth, or 0 or inf."""
    value = float(mantissa)
    if mantissa == 0:
        return value
    while exponent > 308:
        value *= 1e308
        exponent -= 308
        if value == np.inf:
            return value
    while exponent < -308:
        value /= 1e308
        exponent += 308
        if value == 0.0:
            return value
    return value * _TENS[exponent] if exponent >= 0 else value / _TENS[-exponent]


@compiled(inline="always")
def _ends(text, pos, end):
    # A comment may follow a word, but 1.#INF and 1.#QNAN are what some C libraries print of what is no number.
    return pos >= end or _is_blank(text[pos]) or text[pos] == _LF or (text[pos] == _HASH and text[pos - 1] != _DOT)


@compiled()
def _missing(text, pos, end):
    """Where a word that stands for a missing value ends; pos where nothing stands; -1 where something else does."""
    if _ends(text, pos, end):
        return pos
    if text[pos] < 58:  # digits, signs and points: the usual guests here are exponents
        return -1
    for word in (_NAN, _NULL, _NONE, _NA, _N_A, _LT_NA, _MARK):
        if _word(text, pos, end, word) and _ends(text, pos + len(word), end):
            return pos + len(word)
    return -1


@compiled()
def _odd_number(text, pos, end):
    """The rare forms: more than 18 digits, exponents, nan, inf, missing. Returns (is a number, value, pos, hard)."""
    after = _missing(text, pos, end)
    if after >= 0:
        return True, np.nan, after, False
    negative = False
    if pos < end and (text[pos] == _PLUS or text[pos] == _MINUS):
        negative = text[pos] == _MINUS
        pos += 1
    for special in range(3):
        if special == 0 and _word(text, pos, end, _NAN):
            return True, np.nan, pos + 3, False
        if special == 1 and _word(text, pos, end, _INFINITY):
            return True, (-np.inf if negative else np.inf), pos + 8, False
        if special == 2 and _word(text, pos, end, _INF):
            return True, (-np.inf if negative else np.inf), pos + 3, False
    mantissa, exponent, digits, seen, point = 0, 0, 0, 0, False
    while pos < end:
        c = np.int64(text[pos]) - _NINE0
        if 0 <= c <= 9:
            seen += 1
            if digits < 18:
                mantissa = mantissa * 10 + c
                digits += 1 if mantissa else 0  # leading zeros carry no precision
                exponent -= 1 if point else 0
            else:
                exponent += 0 if point else 1
        elif text[pos] == _DOT and not point:
            point = True
        else:
            break
        pos += 1
    if seen == 0:
        return False, 0.0, pos, False
    if pos < end and text[pos] | 32 == 101:  # e
        pos += 1
        below = False
        if pos < end and (text[pos] == _PLUS or text[pos] == _MINUS):
            below = text[pos] == _MINUS
            pos += 1
        power, seen = 0, 0
        while pos < end:
            c = np.int64(text[pos]) - _NINE0
            if c < 0 or c > 9:
                break
            power = min(power * 10 + c, 1_000_000)
            seen += 1
            pos += 1
        if seen == 0:
            return False, 0.0, pos, False
        exponent += -power if below else power
    if mantissa < 9007199254740992 and -22 <= exponent <= 22:
        value = mantissa * _TENS[exponent] if exponent >= 0 else mantissa / _TENS[-exponent]
        hard = False
    else:
        value = _scaled(mantissa, exponent)
        hard = np.float32(value * (1 - 1e-15)) != np.float32(value * (1 + 1e-15))
    return True, (-value if negative else value), pos, hard


@compiled(inline="always")
def _number(text, pos, end):
    """The common form, [-]digits[.digits] of at most 15 digits, in one tight loop; the rest goes to `_odd_number`."""
    at = pos
    negative = False
    if at < end and text[at] == _MINUS:
        negative = True
        at += 1
    mantissa = 0
    first = at
    while at < end:
        c = np.int64(text[at]) - _NINE0
        if c < 0 or c > 9:
            break
        mantissa = mantissa * 10 + c
        at += 1
    digits = at - first
    decimals = 0
    if at < end and text[at] == _DOT:
        at += 1
        first = at
        while at < end:
            c = np.int64(text[at]) - _NINE0
            if c < 0 or c > 9:
                break
            mantissa = mantissa * 10 + c
            at += 1
        decimals = at - first
        digits += decimals
    if digits == 0 or digits > 15 or (at < end and text[at] > _COLON):
        return _odd_number(text, pos, end)
    value = mantissa / _TENS[decimals] if decimals else float(mantissa)
    return True, (-value if negative else value), at, False


@compiled()
def _doc_id(text, pos, end):
    """Span of the doc id in a comment (pos after the #): X of `docid = X`, else the comment's first word."""
    for at in range(pos, end - 5):
        if _word(text, at, end, _DOCID) and (at == pos or _is_blank(text[at - 1])):
            k = at + 5
            while k < end and _is_blank(text[k]):
                k += 1
            if k < end and text[k] == 61:  # =
                pos = k + 1
                break
    while pos < end and _is_blank(text[pos]):
        pos += 1
    start = pos
    while pos < end and not _is_blank(text[pos]):
        pos += 1
    return start, pos - start


@compiled()
def _mark(text, pos, end, stamp, base, row):
    """Stamps the feature indices of a line up to `end`; the slow way to repeated indices on unsorted lines."""
    index = 0
    started = False
    while pos < end:
        c = np.int64(text[pos])
        if 48 <= c <= 57:
            index = index * 10 + c - 48
            started = True
        elif c == _COLON and started:
            if 0 <= index - base < len(stamp):
                stamp[index - base] = row
            while pos < end and not _is_blank(text[pos]):
                pos += 1
            started, index = False, 0
        else:
            started, index = False, 0
            while pos < end and not _is_blank(text[pos]):
                pos += 1
        pos += 1


@compiled()
def parse(
    text,
    pos,
    end,
    base,
    fixed_base,
    declared,
    qid,
    finite,
    infinite,
    features,
    labels,
    query_at,
    query_length,
    doc_at,
    doc_length,
    hard_at,
    hard_end,
    hard_row,
    hard_column,
    stamp,
):
    """Parses lines of `text[pos:end]` into the rows of `features` (zeros before), until one of the reasons above.

    Args:
        base: index of the first column; `fixed_base` says the user declared it, else a 0 stops with ZERO.
        declared: number of features the user declared, 0 when open.
        qid: whether lines must carry `qid:`.
        finite: whether nan and inf among the features are refused.
        infinite: int64 `[3]`, how many features of the rows so far are infinite, and of the first the byte where its
            line begins and its index.
        query_at, query_length, doc_at, doc_length: spans in `text` of each row's query id and doc id (-1: none).
        hard_*: place of the numbers Python must read again.
        stamp: int64 `[width]` scratch for repeated indices, below 0 everywhere.

    Returns:
        (reason, pos, rows, hards, at): where to go on, and the byte `at` that names the offending token.
    """
    rows, hards = 0, 0
    width = features.shape[1]
    while True:
        # To the next line that holds a document.
        while pos < end and (_is_blank(text[pos]) or text[pos] == _LF):
            pos += 1
        if pos >= end:
            return END, pos, rows, hards, pos
        if text[pos] == _HASH:
            while pos < end and text[pos] != _LF:
                pos += 1
            continue
        if rows == features.shape[0]:
            return FULL, pos, rows, hards, pos
        line = pos
        hards_before = hards

        ok, value, at, hard = _number(text, pos, end)
        if at < end and text[at] == _COLON or not ok and text[pos] == 113:  # 1:... or qid:... where the label belongs
            return LABEL_MISSING, line, rows, hards, line
        if not ok or not _ends(text, at, end):
            return LABEL_TEXT, line, rows, hards, line
        if not np.isfinite(np.float32(value)):
            return LABEL_NOT_FINITE, line, rows, hards, line
        if value < 0:
            return LABEL_NEGATIVE, line, rows, hards, line
        labels[rows] = value + 0.0  # -0 is 0
        if hard:
            if hards == len(hard_at):
                return HARD, line, rows, hards, line
            hard_at[hards], hard_end[hards], hard_row[hards], hard_column[hards] = line, at, rows, -1
            hards += 1
        pos = at

        query_at[rows] = -1
        query_length[rows] = 0
        doc_at[rows] = -1
        doc_length[rows] = 0
        last = -1  # largest column so far: beyond it nothing can repeat
        unsorted = False
        infinities, first_infinity = 0, 0  # of this line
        while True:
            while pos < end and _is_blank(text[pos]):
                pos += 1
            if pos >= end or text[pos] == _LF:
                break
            start = pos
            c = np.int64(text[pos])
            index = 0
            while 48 <= c <= 57:
                index = min(index * 10 + c - 48, _INDEX_CAP)
                pos += 1
                if pos >= end:
                    break
                c = np.int64(text[pos])
            if pos > start and pos < end and c == _COLON:
                pos += 1
                ok, value, at, hard = _number(text, pos, end)
                if not ok or not _ends(text, at, end):
                    return VALUE_TEXT, line, rows, hards_before, start
                column = index - base
                if column < 0:
                    if fixed_base:
                        return INDEX_ZERO, line, rows, hards_before, start
                    return ZERO, line, rows, hards_before, start
                if column >= width:
                    if declared:
                        return INDEX_OVER, line, rows, hards_before, start
                    return WIDE, line, rows, hards_before, start
                if column > last:
                    last = column
                    if unsorted:
                        stamp[column] = rows
                else:
                    if not unsorted:
                        unsorted = True
                        _mark(text, line, start, stamp, base, rows)
                    if stamp[column] == rows:
                        return INDEX_REPEATED, line, rows, hards_before, start
                    stamp[column] = rows
                features[rows, column] = value
                if hard:
                    if hards == len(hard_at):
                        return HARD, line, rows, hards_before, start
                    hard_at[hards], hard_end[hards], hard_row[hards], hard_column[hards] = pos, at, rows, column
                    hards += 1
                if not abs(value) < _NEARLY:  # nan, inf, or beyond float32
                    if finite and not np.isfinite(np.float32(value)):
                        return VALUE_NOT_FINITE, line, rows, hards_before, start
                    if np.isinf(np.float32(value)):
                        infinities += 1
                        if infinities == 1:
                            first_infinity = index
                pos = at
            elif c == _HASH and pos == start:
                pos += 1
                stop = pos
                while stop < end and text[stop] != _LF:
                    stop += 1
                doc_at[rows], doc_length[rows] = _doc_id(text, pos, stop)
                pos = stop
                break
            elif (
                pos == start
                and end - pos > 3
                and c == 113
                and text[pos + 1] == 105
                and text[pos + 2] == 100
                and text[pos + 3] == _COLON
            ):
                if query_at[rows] >= 0:
                    return QID_REPEATED, line, rows, hards_before, start
                pos += 4
                query_at[rows] = pos
                while pos < end and not (_is_blank(text[pos]) or text[pos] == _LF or text[pos] == _HASH):
                    pos += 1
                query_length[rows] = pos - query_at[rows]
                if query_length[rows] == 0:
                    return QID_EMPTY, line, rows, hards_before, start
            else:
                return PAIR_TEXT, line, rows, hards_before, start
        if qid and query_at[rows] < 0:
            return QID_MISSING, line, rows, hards_before, line
        if infinities:
            if infinite[0] == 0:
                infinite[1], infinite[2] = line, first_infinity
            infinite[0] += infinities
        rows += 1


@compiled()
def widest(text, pos, end):
    """Largest feature index in `text[pos:end]` (whatever else is wrong with it), -1 without any."""
    top = -1
    while pos < end:
        if text[pos] == _HASH:
            while pos < end and text[pos] != _LF:
                pos += 1
            continue
        index, digits = 0, 0
        while pos < end and 48 <= text[pos] <= 57:
            index = min(index * 10 + np.int64(text[pos]) - 48, _INDEX_CAP)
            digits += 1
            pos += 1
        if digits and pos < end and text[pos] == _COLON:
            top = max(top, index)
        while pos < end and not (_is_blank(text[pos]) or text[pos] == _LF or text[pos] == _HASH):
            pos += 1
        while pos < end and (_is_blank(text[pos]) or text[pos] == _LF):
            pos += 1
    return top
