"""Spans of a text, one a row, compared and packed: compiled, the GIL released."""

from __future__ import annotations

import numpy as np

from .svmlight_kernel import compiled

__all__ = ["new_spans", "pack_spans"]


@compiled()
def new_spans(text, at, length, rows):
    """False for each row whose span holds the same bytes as the row before's."""
    new = np.ones(rows, np.bool_)
    for r in range(1, rows):
        if length[r] == length[r - 1]:
            k = 0
            while k < length[r] and text[at[r] + k] == text[at[r - 1] + k]:
                k += 1
            new[r] = k < length[r]
    return new


@compiled()
def pack_spans(text, at, length, rows):
    """The spans one after another: (offsets int64 [rows + 1], bytes), Arrow's layout of strings."""
    offsets = np.zeros(rows + 1, np.int64)
    for r in range(rows):
        offsets[r + 1] = offsets[r] + length[r]
    data = np.empty(offsets[rows], np.uint8)
    for r in range(rows):
        for k in range(length[r]):
            data[offsets[r] + k] = text[at[r] + k]
    return offsets, data
