"""Maps of a ranker's scores that a term of a combination may carry (terms.py): what makes scores of rankers comparable.

    ListSoftmax    p_i = e^{s_i / T} / sum_j e^{s_j / T} over the list        sees the list
    Monotone       y(s), piecewise linear and increasing                     sees the document

Both are asked in two forms that agree: `flat(scores [documents], offsets)`, for scoring, and `padded(scores, where)`,
both `[..., list]`, for an exported module.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ltr import ops

__all__ = ["ListSoftmax", "Monotone", "ScoreMap", "monotone"]

_BEYOND = 0.01  # slope outside the knots, in mean slopes: scores stay in order there and move next to nothing


class ListSoftmax(NamedTuple):
    """The softmax of a list's scores at a temperature.

    Documents more than 87 temperatures below the first of their list get 0 in float32, and tie.
    """

    temperature: float

    def flat(self, scores: Tensor, offsets: np.ndarray) -> Tensor:
        lengths = torch.as_tensor(np.diff(offsets), device=scores.device)
        of = torch.arange(len(lengths), device=scores.device).repeat_interleave(lengths)
        top = scores.new_full((len(lengths),), -torch.inf).scatter_reduce(0, of, scores, "amax")
        e = ((scores - top[of]) / self.temperature).exp()
        return e / scores.new_zeros(len(lengths)).index_add(0, of, e)[of]

    def padded(self, scores: Tensor, where: Tensor) -> Tensor:
        return torch.where(where, ops.log_softmax(scores / self.temperature, where).exp(), 0.0)


class Monotone(NamedTuple):
    """Linear between knots, and nearly flat beyond the first and the last; one knot is a constant.

    Attributes:
        x: scores, increasing.
        y: what they are worth, increasing.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]

    def flat(self, scores: Tensor, offsets: np.ndarray | None = None) -> Tensor:
        x, *_ = tables = self._tables(scores)
        return self._line(scores, torch.searchsorted(x[:-1], scores.contiguous()), tables)

    def padded(self, scores: Tensor, where: Tensor) -> Tensor:
        x, *_ = tables = self._tables(scores)
        # Counted, not searched: exporters know no search.
        return torch.where(where, self._line(scores, (scores.unsqueeze(-1) > x[:-1]).sum(-1), tables), 0.0)

    def _tables(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Knots, values and slopes of the pieces: piece i ends at knot i, the last one starts at the last knot."""
        x, y = np.array(self.x), np.array(self.y)
        inner = np.diff(y) / np.diff(x)
        outside = _BEYOND * (y[-1] - y[0]) / (x[-1] - x[0]) if len(x) > 1 else 0.0
        slopes = np.concatenate([[outside], inner, [outside]])
        x, y = np.append(x, x[-1]), np.append(y, y[-1])  # piece i ends at knot i; the last, past all, starts at its own
        x_, y_, slope_ = (torch.as_tensor(each, dtype=like.dtype, device=like.device) for each in (x, y, slopes))
        return x_, y_, slope_

    @staticmethod
    def _line(scores: Tensor, piece: Tensor, tables: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        x, y, slopes = tables
        return y[piece] + slopes[piece] * (scores - x[piece])


ScoreMap = ListSoftmax | Monotone


def monotone(scores: np.ndarray, worth: np.ndarray) -> Monotone:
    """The increasing map of scores `[documents]` to what the documents are worth, least squares.

    Isotonic regression (Ayer et al. 1955; scikit-learn's) gives the same value to blocks of neighbouring scores; the
    map runs linearly from the centre of one block to the next, as in centred isotonic regression (Oron and Flournoy
    2017), so that it changes no order: scores of one block do not tie.

    >>> monotone(np.array([3.0, 1.0, 2.0, 0.0]), np.array([1.0, 0.5, 0.25, 0.0]))
    Monotone(x=(0.0, 1.5, 3.0), y=(0.0, 0.375, 1.0))
    """
    from sklearn.isotonic import IsotonicRegression

    scores, worth = np.asarray(scores, np.float64), np.asarray(worth, np.float64)
    fitted = IsotonicRegression(out_of_bounds="clip").fit_transform(scores, worth)
    y, block = np.unique(np.round(fitted, 12), return_inverse=True)
    x = np.bincount(block, scores) / np.bincount(block)
    return Monotone(tuple(map(float, x)), tuple(map(float, y)))
