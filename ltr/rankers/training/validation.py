"""What validation says of many score vectors at once."""

from __future__ import annotations

import numpy as np

from ltr.types import Split

__all__ = ["Selection"]

_DOCUMENTS = 200_000  # evaluated in one call: enough to hide what a call costs, few megabytes


class Selection:
    """One measure of one objective on a split; what no score changes (ideal orders, gains) is computed once.

    Args:
        measure: its name.
        split: with labels.
        objective: index of the label column.
    """

    def __init__(self, measure: str, split: Split, objective: int):
        self.measure, self.split, self.labels = measure, split, split.labels[:, objective]
        self._judged: dict[int, object] = {}

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """The mean over the lists that count, float64 `[row]`, of scores `[row, documents]`; NaN where none does."""
        from ltr.metrics import evaluate, mean

        step = max(1, _DOCUMENTS // max(self.split.n_documents, 1))
        found = []
        for at in range(0, len(scores), step):
            block = scores[at : at + step]
            values = evaluate(self.measure, block.reshape(-1), self._copies(len(block)))
            found += [mean(row) for row in next(iter(values.values())).reshape(len(block), -1)]
        return np.array(found)

    def _copies(self, number: int):
        """The judged lists, so many times one after another: the bits of a list's value do not depend on the others."""
        from ltr.metrics import Judgements

        if number not in self._judged:
            starts = self.split.n_documents * np.arange(number)[:, None] + self.split.offsets[:-1]
            offsets = np.append(starts.reshape(-1), self.split.n_documents * number)
            self._judged[number] = Judgements(np.tile(self.labels, number), offsets)
        return self._judged[number]
