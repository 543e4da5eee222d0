"""Clicks and the rank they were made at: a simulator, propensities, and weights that undo the bias of position.

    P(c = 1 | document d shown at rank k) = theta_k gamma_d        the position-based model: who looks at rank k clicks
                                                                   on what is relevant [Richardson et al., WWW 2007]

Clicks of low ranks are rare because nobody looks, so a ranker that learns from plain clicks learns the old ranking.
With theta, the propensities, each clicked document weighs 1 / theta_k (inverse-propensity weighting: Joachims,
Swaminathan, Schnabel, WSDM 2017), in expectation over who looks as if everybody had looked everywhere. That is exact
for losses that are a sum over the relevant documents, each with its weight (the softmax loss, pairs with the clicked
document as the better one); mse and other pointwise losses need more than weights.

theta is given, or estimated from the clicks alone by regression EM (Wang, Golbandi, Bendersky, Metzler, Najork, WSDM
2018): gamma is a logistic regression on the features, and with the hidden E (looked) and R (relevant), c = E R,

    E step   P(E = 1 | c = 0) = theta (1 - gamma) / (1 - theta gamma)        both 1 where c = 1
             P(R = 1 | c = 0) = gamma (1 - theta) / (1 - theta gamma)
    M step   theta_k = mean of P(E = 1) at rank k;  gamma: the regression on P(R = 1), one Newton step

The product leaves the scale of theta open, and it divides out: the largest is 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ltr.errors import InputError, say_once
from ltr.seeds import seed_of
from ltr.types import Split, Task

__all__ = ["Propensities", "debias", "position_weights", "propensities", "simulate_clicks"]

_ROWS = 50_000  # that propensities are estimated from, about
_SHOWN = 1 << 28  # documents of simulated sessions
_RANKS = 1_000_000  # more are no ranks of a list
_RIDGE = 1e-3  # of the regression, a row
_Data = TypeVar("_Data", Split, Task)


@dataclass(frozen=True, eq=False)
class Propensities:
    """How likely a document is looked at, by the rank it is shown at.

    Attributes:
        theta: float64 `[rank]`, of ranks 1, 2, ...; below the last one, its value.
        source: where they come from, in words.
    """

    theta: np.ndarray
    source: str = "given"

    def __post_init__(self) -> None:
        theta = np.asarray(self.theta, np.float64)
        if theta.ndim != 1 or not len(theta) or not ((theta > 0) & (theta <= 1)).all():
            came = theta.reshape(-1)[:5].tolist()
            raise InputError("propensities", expected="numbers above 0, up to 1, one a rank", came=came)
        object.__setattr__(self, "theta", theta)

    def at(self, positions: np.ndarray) -> np.ndarray:
        """Of documents shown at these ranks (from 1), float64 `[documents]`."""
        if (last := int(positions.max(initial=1))) > len(self.theta):
            say_once(
                f"propensities of {len(self.theta)} ranks, and ranks up to {last:,}: those below have the last one's"
            )
        found: np.ndarray = self.theta[np.minimum(positions, len(self.theta)) - 1]
        return found

    def __repr__(self) -> str:
        shown = ", ".join(f"{x:.3g}" for x in self.theta[:5]) + (", ..." if len(self.theta) > 5 else "")
        return f"Propensities({shown}; {self.source})"


def power_law(ranks: int, eta: float) -> np.ndarray:
    """theta_k = k^-eta, `[rank]`."""
    law: np.ndarray = np.arange(1, ranks + 1) ** -float(eta)
    return law


# ---------------------------------------------------------------------------------------------------------- simulator


def simulate_clicks(
    data: _Data,
    scores: Any = None,
    *,
    sessions: int = 10,
    shown: int | None = None,
    eta: float = 1.0,
    noise: float = 0.1,
    objective: str | None = None,
    seed: int = 0,
) -> _Data:
    """Clicks of users of a graded set, by the position-based model: theta_k = k^-eta, gamma = noise + (1 - noise) g,
    g = (2^y - 1) / (2^best - 1) (as Ai et al., SIGIR 2018).

    Args:
        data: a task, of which the training lists get clicks and validation and test keep their true grades; or a split.
        scores: `[documents]` of (training) lists, what the old ranking was made by, highest first; a linear ranker with
            random weights by default.
        sessions: how often each query is asked; each session is a list.
        shown: ranks below are not shown, and not in the lists; None: all are shown.
        eta: how fast attention falls; 0: all ranks are looked at.
        noise: chance that a looked-at document of grade 0 is clicked.
        objective: label column of the grades; the main one by default.
        seed: of the clicks and of the random ranker.

    Returns:
        Lists in the order of ranks with labels 0 and 1 under the name of the grades, and `positions`. The query of
        session s is called QUERY/s.

    >>> import ltr
    >>> simulate_clicks(ltr.load("synthetic:queries=20,features=50").train, sessions=2, shown=5)
    Split(train: 24 queries, ... documents, 50 features, objectives relevance)
    """
    if isinstance(data, Task):
        options: dict[str, Any] = {"sessions": sessions, "shown": shown, "eta": eta, "noise": noise, "seed": seed}
        name = objective or data.objectives[0]
        task: Task = data
        clicked: Any = replace(
            task,
            train=simulate_clicks(task.train, scores, objective=name, **options),
            vali=_only(task.vali, name),
            test=_only(task.test, name),
            facts={k: v for k, v in task.facts.items() if k != "truth"},
        )
        return clicked
    if not isinstance(data, Split):
        raise InputError("clicks are simulated on a task or a split", came=type(data).__name__)
    for what, value in (("sessions", sessions), ("shown", 1 if shown is None else shown)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise InputError(f"{what} of simulated clicks", expected="a whole number, 1 or more", came=value)
    if sessions * data.n_documents > _SHOWN:
        expected = f"at most {_SHOWN:,} documents shown"
        raise InputError("sessions of simulated clicks", expected=expected, came=f"{sessions:,} x {data.n_documents:,}")
    if not eta >= 0:
        raise InputError("eta of simulated clicks", expected="0 or more", came=eta)
    if not 0 <= noise <= 1:
        raise InputError("noise of simulated clicks", expected="0 to 1", came=noise)
    split = _only(data, objective or data.objectives[0])
    draw = np.random.default_rng(seed_of("clicks", seed))
    if scores is None:
        scores = _standardised(split.features) @ draw.normal(size=split.n_features)
    scores = np.asarray(scores)
    scores = scores.astype(np.float64) if scores.dtype.kind in "fiub" else np.full(scores.shape, np.nan)
    if scores.shape != (split.n_documents,) or not np.isfinite(scores).all():
        expected = f"[documents={split.n_documents}] finite numbers"
        raise InputError("scores of the old ranking", expected=expected, came=scores.shape)
    lists = np.repeat(np.arange(split.n_queries), split.lengths)
    order = np.lexsort((-scores, lists))
    rank = np.arange(split.n_documents) - np.repeat(split.offsets[:-1], split.lengths) + 1
    keep = rank <= (shown or split.n_documents)
    rows, rank, lengths = order[keep], rank[keep], np.minimum(split.lengths, shown or split.n_documents)
    grades = split.label()
    if len(odd := grades[~((grades >= 0) & (grades <= 52))]):
        raise InputError("grades that clicks are simulated by", expected="0 to 52", came=float(odd[0]))
    gain = 2.0**grades - 1
    gamma = noise + (1 - noise) * gain / max(gain.max(initial=0.0), 1.0)
    chance = (power_law(rank.max(initial=1), eta)[rank - 1] * gamma[rows])[None].repeat(sessions, 0)
    clicks = draw.random(chance.shape) < chance
    names = [f"{query}/{s + 1}" for s in range(sessions) for query in split.query_ids.tolist()]
    every = np.tile(rows, sessions)
    return split.having(
        features=split.features[every],
        labels=clicks.reshape(-1, 1).astype(np.float32),
        offsets=np.concatenate([[0], np.cumsum(np.tile(lengths, sessions))]).astype(np.int64),
        query_ids=np.array(names, dtype=np.str_),
        doc_ids=None if split.doc_ids is None else split.doc_ids[every],
        row=None,
        weights=None if split.weights is None else split.weights[every],
        positions=np.tile(rank, sessions).astype(np.int32),
    )


def _only(split: Split, name: str) -> Split:
    return split.having(labels=np.asarray(split.label(name))[:, None], objectives=(name,))


def _standardised(features: np.ndarray) -> np.ndarray:
    """float64: logarithm of size, mean 0, sd 1 a column; 0 where missing or constant."""
    x = np.asarray(features, np.float64)
    x = np.sign(x) * np.log1p(np.abs(x))
    x[~np.isfinite(x)] = np.nan
    with np.errstate(invalid="ignore"):
        held = ~np.isnan(x)
        count = np.maximum(held.sum(0), 1)
        x = np.where(held, x - np.where(held, x, 0).sum(0) / count, 0.0)
        sd = np.sqrt((x**2).sum(0) / count)
    return x / np.where(sd > 1e-9, sd, np.inf)


# -------------------------------------------------------------------------------------------------------- propensities


def propensities(
    how: Any, split: Split | None = None, *, objective: str | None = None, rounds: int = 300, tolerance: float = 1e-4
) -> Propensities:
    """Propensities of ranks, given or estimated.

    Args:
        how: "em" estimates them from the clicks (see above); "power:ETA" is k^-ETA; a file with a line a rank; numbers,
            one a rank; or what this function made.
        split: with clicks (labels above 0) and positions, for "em" and "power".
        objective: label column of the clicks; the main one by default.
        rounds: of EM at most; it stops where no propensity moves by more than `tolerance`.

    Raises:
        InputError: no positions or no clicks to estimate from, or numbers that are none.

    >>> propensities("power:1", Split.from_arrays(np.zeros((2, 1))).having(positions=np.array([1, 2])))
    Propensities(1, 0.5; k^-1)
    """
    if isinstance(how, Propensities):
        return how
    if not isinstance(how, str | Path):
        try:
            return Propensities(np.asarray(how, np.float64))
        except (TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError("propensities", expected="em, power:ETA, a file, or numbers", came=how) from None
    law, _, eta = str(how).partition(":")
    if law in ("em", "power"):
        if (ranks := int(_positions(split).max(initial=1))) > _RANKS:
            raise InputError("positions of documents", expected=f"ranks of a list, up to {_RANKS:,}", came=ranks)
    if law == "em" and not eta:
        assert split is not None
        return Propensities(_em(split, objective, rounds, tolerance), "regression EM")
    try:
        if law == "power":
            return Propensities(power_law(ranks, float(eta)), f"k^-{eta}")
        return Propensities(np.array(Path(how).read_text(encoding="utf-8-sig").split(), np.float64), Path(how).name)
    except (ValueError, OSError):
        expected = "em, power:ETA, or a file with a number a rank"
        raise InputError("propensities", expected=expected, came=str(how)) from None


def _positions(split: Split | None) -> np.ndarray:
    if split is None or split.positions is None:
        do = "Name their column: --positions, positions=; or put a .position file beside svmlight text"
        raise InputError("the lists carry no positions", do=do)
    return split.positions


def looked_and_relevant(clicks: np.ndarray, theta: np.ndarray, gamma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The E step: P(E = 1 | c) and P(R = 1 | c), `[documents]` each."""
    silent = np.maximum(1 - theta * gamma, 1e-12)
    looked = np.where(clicks, 1.0, theta * (1 - gamma) / silent)
    relevant = np.where(clicks, 1.0, gamma * (1 - theta) / silent)
    return looked, relevant


def _em(split: Split, objective: str | None, rounds: int, tolerance: float) -> np.ndarray:
    if split.n_documents > _ROWS:  # whole lists, seeded by nothing but their number
        draw = np.random.default_rng(seed_of("propensities", split.n_queries))
        few = max(1, int(_ROWS * split.n_queries / split.n_documents))
        split = split.take(np.sort(draw.choice(split.n_queries, few, replace=False)))
    clicks, rank = split.label(objective) > 0, _positions(split) - 1
    if not clicks.any():
        raise InputError("propensities are estimated from clicks, and there are none", expected="labels above 0")
    counts = np.bincount(rank)
    x = _standardised(split.features)
    x = np.hstack([np.ones((len(x), 1)), x, np.clip(x**2 - 1, -1, 8)])
    b = np.zeros(x.shape[1])
    shown = np.maximum(counts, 1)
    theta = np.bincount(rank, clicks, len(counts)) / shown
    theta = np.clip(theta / theta.max(), 0.01, 1.0) * 0.9
    gamma = np.full(len(x), min(max(clicks.mean() / theta[rank].mean(), 0.01), 0.99))
    b[0] = np.log(gamma[0] / (1 - gamma[0]))
    ridge = _RIDGE * len(x) * np.append(0.0, np.ones(len(b) - 1))
    for step in range(rounds):
        looked, relevant = looked_and_relevant(clicks, theta[rank], gamma)
        before, theta = theta, np.bincount(rank, looked, len(counts)) / shown
        slope = x.T @ (relevant - gamma) - ridge * b
        if step & (step - 1) == 0:  # in rounds 0, 1, 2, 4, 8 ...: an older curvature is good enough for a step
            curve = np.linalg.inv((x * (gamma * (1 - gamma))[:, None]).T @ x + np.diag(ridge + 1e-6))
        b = b + curve @ slope
        gamma = 1 / (1 + np.exp(-np.clip(x @ b, -30, 30)))
        if np.abs(theta / theta.max() - before / before.max()).max() < tolerance:
            break
    return np.clip(theta / theta.max(), 1e-6, 1.0)


# ------------------------------------------------------------------------------------------------------------- weights


def position_weights(
    split: Split, propensities: Propensities, *, objective: str | None = None, least: float = 0.02
) -> np.ndarray:
    """Weights float32 `[documents]`: 1 / theta of its rank for a document with clicks, 1 for others; times the weights
    the split has.

    Args:
        least: propensities below count as this much; the largest weight is its inverse (less variance, some bias).
    """
    if not 0 <= least <= 1:
        raise InputError("least of propensities", expected="0 to 1", came=least)
    weights = np.where(split.label(objective) > 0, 1 / np.maximum(propensities.at(_positions(split)), least), 1.0)
    return (weights if split.weights is None else weights * split.weights).astype(np.float32)


def debias(data: _Data, how: Any = "em", *, objective: str | None = None, least: float = 0.02) -> _Data:
    """The (training) lists with inverse-propensity weights, ready for any ranker whose loss weighs documents.

    Args:
        data: a task, of which the training lists are weighed; or a split.
        how: propensities, as `propensities` takes them.
        objective: label column of the clicks; the main one by default.
        least: see `position_weights`.

    Returns:
        The same lists with weights; of a task `facts["propensities"]` tells the propensities.

    >>> shown = Split.from_arrays(np.eye(3), [0, 1, 1]).having(positions=np.array([1, 2, 3]))
    >>> debias(shown, "power:1").weights.tolist()
    [1.0, 2.0, 3.0]
    """
    split = data.train if isinstance(data, Task) else data
    found = propensities(how, split, objective=objective)
    weighed = split.having(weights=position_weights(split, found, objective=objective, least=least))
    if isinstance(data, Task):
        task: Any = data
        return replace(task, train=weighed, facts={**task.facts, "propensities": found})
    return weighed
