"""What is true of the synthetic task: utilities, grades, and the best ranker for every preference.

The model. Features x of a document fix its utility u^k for every objective k, exactly (`World.utility`). The grade is
drawn from the cumulative logistic (proportional odds) model, independently for every document and objective:

    P(y^k >= g | x) = sg((u^k - t^k_g) / tau),  g = 1..4
    E[2^y - 1 | x]  = sum_g 2^(g-1) P(y >= g | x)

and with probability `blank` an objective of a query is blanked: all its grades become 0, whatever the features.

What is optimal for what. Let D(r) = log2(1 + r) and r_i the rank of document i.

    DCG    sum_i E[gain_i] / D(r_i) is largest when sorted by E[gain_i | x]: exact, the probability ranking principle
           (Robertson, 1977), for any preference with sum_k w_k E[gain^k_i | x].
    nDCG   IDCG is random too, but E[nDCG] = sum_i E[gain_i / IDCG | list] / D(r_i) is still linear in one number a
           document, so sorting by a_i = sum_k w_k E[gain^k_i / IDCG_k | list] is exactly optimal. That expectation has
           no closed form; `normalised_gain` integrates it (own grade exactly, those of the others by simulation).

Both know the features only, as a ranker does. The oracle front (T7 of our notes: sort by sum_k w_k gain^k / IDCG_k)
knows the drawn labels; no scorer passes it on these labels, and no honest ranker reaches it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ltr.errors import InputError, check_name, unknown_name
from ltr.types import Split

if TYPE_CHECKING:
    from .generator import World

__all__ = ["GAIN", "Truth"]

GRADES = 5
GAIN = 2.0 ** np.arange(GRADES) - 1  # exp2 gain of grades 0-4


@dataclass(frozen=True, eq=False)
class Truth:
    """The generative model of the synthetic tasks, asked about any split drawn from it.

    The objectives are always those of the split that is asked about, in its order: `[documents, objective]` below fits
    its labels, also when a task keeps only some of them.

    Attributes:
        world: from features to utilities.
        thresholds: `[6, 4]`, t^k_1 < ... < t^k_4 of all objectives of the world.
        tau: scale of the logistic noise of the grades.
        blank: probability that an objective of a query is blanked.
    """

    world: World
    thresholds: np.ndarray
    tau: float
    blank: float

    def utility(self, split: Split) -> np.ndarray:
        """u^k, float64 `[documents, objective]`; a known function of the features alone."""
        return self.world.utility(split.features)[:, self._columns(split)]

    def grade_probability(self, split: Split) -> np.ndarray:
        """P(y^k = g | x) where not blanked, float64 `[documents, objective, 5]`."""
        at_least = _logistic((self.utility(split)[:, :, None] - self.thresholds[self._columns(split)]) / self.tau)
        return -np.diff(at_least, axis=2, prepend=1.0, append=0.0)

    def expected_gain(self, split: Split) -> np.ndarray:
        """E[2^y - 1 | x], blanking included, float64 `[documents, objective]`."""
        return (1 - self.blank) * self.grade_probability(split) @ GAIN

    def draw(self, split: Split, generator: np.random.Generator) -> np.ndarray:
        """New grades for the split, float32 `[documents, objective]`."""
        return self.draw_all(split.features, split.lengths, generator)[:, self._columns(split)]

    def draw_all(self, features: np.ndarray, lengths: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Grades of every objective of the world, float32 `[documents, 6]`."""
        utility = self.world.utility(features)
        noisy = utility + self.tau * logistic_noise(utility.shape, generator)
        grades: np.ndarray = (noisy[:, :, None] > self.thresholds).sum(2, dtype=np.float32)
        blanked = _columns_of(utility.shape[1], generator, lambda g, m: g.random((len(lengths), m))) < self.blank
        grades[np.repeat(blanked, lengths, axis=0)] = 0
        return grades

    def normalised_gain(self, split: Split, k: int | None = 10, draws: int = 64, seed: int = 0) -> np.ndarray:
        """E[gain_i / IDCG@k | list], blanking included (0 / 0 counts 0), float64 `[documents, objective]`.

        E[gain_i / IDCG] = sum_g P(y_i = g) gain_g E[1 / IDCG | y_i = g]; the inner mean runs over `draws` drawn lists
        in which the grade of document i is replaced by g. IDCG only needs the counts of the grades.
        """
        probability = self.grade_probability(split)
        generator = np.random.default_rng(seed)
        list_of = np.repeat(np.arange(split.n_queries), split.lengths)
        one = np.eye(GRADES, dtype=np.int64)
        swap = one[None, 1:] - one[:, None]  # [own grade, new grade 1..4, grade]
        out = np.zeros(probability.shape[:2])
        for o in range(len(split.objectives)):
            cumulative = probability[:, o].cumsum(1)[:, :-1]
            weighted = probability[:, o, 1:] * GAIN[1:]
            for _ in range(draws):
                own = (generator.random((len(out), 1)) > cumulative).sum(1)
                counts = _count_grades(list_of, own, split.n_queries)[:, None, None]
                ideal = _ideal(np.maximum(counts + swap, 0), k)  # [query, own grade, new grade]
                # 0 only for an own grade that no document of the list has.
                inverse = np.divide(1.0, ideal, out=np.zeros_like(ideal), where=ideal > 0)
                out[:, o] += np.einsum("dg,dg->d", weighted, inverse[list_of, own])
        return (1 - self.blank) / draws * out

    def best_scores(
        self, split: Split, preference=None, *, measure: str = "ndcg", k: int | None = 10, draws: int = 64
    ) -> np.ndarray:
        """Scores of the best ranker that knows the features only, float64 `[documents]`.

        Args:
            preference: weights of the objectives, `[objective]`; None means the first objective alone.
            measure: "ndcg" maximises E[sum_k w_k nDCG_k@k] (up to the error of `draws`), "dcg" E[sum_k w_k DCG_k] at
                every cut-off (exactly).
        """
        preference = self._preference(split, preference)
        return self._value(split, measure, k, draws) @ preference

    def expected(
        self, split: Split, scores: np.ndarray, *, measure: str = "ndcg", k: int | None = 10, draws: int = 64
    ) -> np.ndarray:
        """Expected mean nDCG@k (blank lists skipped) or DCG@k of a ranking, without label noise: `[objective]`.

        Of several rankings at once, scores `[ranking, documents]`: `[ranking, objective]`. Ties of the scores keep the
        order of the split.
        """
        value = self._value(split, measure, k, draws)
        if np.ndim(scores) == 2:
            return np.stack([self._mean(split, value, _discount(each, split, k), measure) for each in scores])
        return self._mean(split, value, _discount(scores, split, k), measure)

    def regret(
        self,
        split: Split,
        scores: np.ndarray,
        preference=None,
        *,
        measure: str = "ndcg",
        k: int | None = 10,
        draws: int = 64,
    ) -> float:
        """What the ranking lacks to the best ranker at this preference, in expectation; never negative."""
        preference = self._preference(split, preference)
        value = self._value(split, measure, k, draws)
        best, got = (
            self._mean(split, value, _discount(s, split, k), measure) @ preference for s in (value @ preference, scores)
        )
        return float(best - got)

    def front(
        self,
        split: Split,
        preferences,
        k: int | None = 10,
        *,
        ranker: str = "bayes",
        expected: bool = False,
        draws: int = 64,
    ) -> np.ndarray:
        """Mean nDCG@k (gain exp2, blanks skipped) of the best ranker at each preference: `[preference, objective]`.

        Args:
            preferences: `[preference, objective]`.
            ranker: "bayes" knows the features, "oracle" the labels.
            expected: over the label noise instead of on the split's labels ("bayes" only).
        """
        preferences = np.stack([self._preference(split, w) for w in preferences])
        if ranker == "bayes":
            value = self._value(split, "ndcg", k, draws)
            if expected:
                return np.stack([self._mean(split, value, _discount(value @ w, split, k), "ndcg") for w in preferences])
        elif ranker != "oracle":
            raise unknown_name("ranker of the true front", ranker, ("bayes", "oracle"))
        elif expected:
            raise InputError("the oracle knows the drawn labels", do="Leave expected out, or take ranker='bayes'")
        normalised = _normalise(split, k)
        value = normalised if ranker == "oracle" else value
        judged = (_per_list(normalised, split) > 0).sum(0)  # lists that are not blank
        return np.stack([(normalised * _discount(value @ w, split, k)[:, None]).sum(0) / judged for w in preferences])

    def _columns(self, split: Split) -> list[int]:
        known = self.world.objectives
        unknown = [name for name in split.objectives if name not in known]
        if unknown:
            raise unknown_name("objective of the synthetic world", unknown[0], known)
        return [known.index(name) for name in split.objectives]

    def _preference(self, split: Split, preference) -> np.ndarray:
        if preference is None:
            return np.eye(len(split.objectives))[0]
        preference = np.asarray(preference, dtype=np.float64)
        if preference.shape != (len(split.objectives),) or not (preference >= 0).all():
            expected = f"{len(split.objectives)} weights >= 0, one for each of {', '.join(split.objectives)}"
            raise InputError("preference does not fit the objectives", expected=expected, came=preference.tolist())
        return preference

    def _value(self, split: Split, measure: str, k: int | None, draws: int) -> np.ndarray:
        check_name("measure of the truth", measure, ("ndcg", "dcg"))
        return self.normalised_gain(split, k, draws) if measure == "ndcg" else self.expected_gain(split)

    def _mean(self, split: Split, value: np.ndarray, discount: np.ndarray, measure: str) -> np.ndarray:
        total = (value * discount[:, None]).sum(0)
        if measure == "dcg":
            return total / split.n_queries
        # A list counts as often as it is not blank.
        no_gain = np.log(np.maximum(self.grade_probability(split)[:, :, 0], 1e-300))
        return total / ((1 - self.blank) * (1 - np.exp(_per_list(no_gain, split)))).sum(0)


def logistic_noise(shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """Standard logistic draws `[documents, objective]`."""
    return _columns_of(shape[1], generator, lambda g, m: g.logistic(size=(shape[0], m)))


def _columns_of(
    m: int, generator: np.random.Generator, draw: Callable[[np.random.Generator, int], np.ndarray]
) -> np.ndarray:
    """Draws for m objectives. The last one came later: its are a child's, so that those of the others stay."""
    return np.hstack([draw(generator, m - 1), draw(generator.spawn(1)[0], 1)])


def _logistic(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))


def _per_list(values: np.ndarray, split: Split) -> np.ndarray:
    """Sums over the documents of each list: `[documents, ...]` -> `[queries, ...]`."""
    return np.diff(np.concatenate([np.zeros_like(values[:1]), values.cumsum(0)])[split.offsets], axis=0)


def _discount(scores: np.ndarray, split: Split, k: int | None) -> np.ndarray:
    """1 / D(rank) of each document in its list, 0 beyond rank k: `[documents]`."""
    list_of = np.repeat(np.arange(split.n_queries), split.lengths)
    order = np.lexsort((-np.asarray(scores, dtype=np.float64), list_of))  # stable
    rank = np.empty(len(order))
    rank[order] = np.arange(len(order)) - split.offsets[list_of] + 1
    return np.where(rank <= (k or np.inf), 1 / np.log2(1 + rank), 0.0)


def _ideal(counts: np.ndarray, k: int | None) -> np.ndarray:
    """IDCG@k of lists with these counts of the grades 0..4: `[..., 5]` -> `[...]`."""
    most = int(counts.sum(-1).max(initial=0))
    ranks = np.arange(1, most + 1)
    discount = np.where(ranks <= (k or np.inf), 1 / np.log2(1 + ranks), 0.0)
    below = np.concatenate([[0.0], discount.cumsum()])  # total discount of the first n ranks
    at_least = counts[..., ::-1].cumsum(-1)[..., ::-1]  # documents of grade g or better
    # Sorted by grade, ranks 1..at_least[g] have grade g or better, and each step of the gain is earned there.
    return (below[at_least[..., 1:]] * np.diff(GAIN)).sum(-1)


def _count_grades(list_of: np.ndarray, grades: np.ndarray, queries: int) -> np.ndarray:
    return np.bincount(list_of * GRADES + grades, minlength=queries * GRADES).reshape(queries, GRADES)


def _normalise(split: Split, k: int | None) -> np.ndarray:
    """gain / IDCG@k of the split's labels, 0 for blank lists: `[documents, objective]`."""
    list_of = np.repeat(np.arange(split.n_queries), split.lengths)
    assert split.labels is not None
    grades = split.labels.astype(np.int64)
    counts = np.stack([_count_grades(list_of, g, split.n_queries) for g in grades.T], axis=1)
    ideal = _ideal(counts, k)[list_of]
    return np.divide(GAIN[grades], ideal, out=np.zeros(grades.shape), where=ideal > 0)
