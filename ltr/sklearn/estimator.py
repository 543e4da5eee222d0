"""scikit-learn's verbs over the rankers and losses of the catalogue."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import MISSING, fields
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from ltr.datasets.readers.column_roles import Column, is_outcome, no_feature
from ltr.datasets.readers.query_grouping import Block, odd_features
from ltr.errors import InputError, unknown_name
from ltr.losses import loss as make_loss
from ltr.metrics import evaluate, mean
from ltr.metrics import measure as as_measure
from ltr.rankers import HEADLINE, RANKERS, TrainingConfig, make_ranker
from ltr.rankers.devices import asked_device
from ltr.rankers.own import own_ranker
from ltr.schema import bind
from ltr.types import Split

from .rows import QUERY, frame, lists_of, names_of

__all__ = ["RankingEstimator"]

_OWN = ("ranker", "loss", "seed", "select", "single_list")
_TRAINING = tuple(f.name for f in fields(TrainingConfig))
_SAID: set[str] = set()


class RankingEstimator(BaseEstimator):
    """Ranks documents from arrays or data frames.

    Parameters:
        ranker: name in the catalogue of rankers, or a module or function, see `make_ranker`.
        loss: name in the catalogue of losses, or a function, see `ltr.loss`; rankers that bring their own objective
            ignore it.
        seed: everything random follows from it.
        select: measure that picks the epoch or iteration, when `fit` gets an `eval_set`.
        single_list: rows that come with neither `group` nor `qid` are one list; otherwise that is an error.
        **params: parameters of the ranker (`hidden=(64,)`, `rounds=200`), of the training loop (`epochs=20`,
            `learning_rate=1e-3`) and, as `loss_params={...}`, of the loss. What is not given keeps its default.

    Attributes:
        ranker_: the fitted ranker of the suite; `ranker_.save(folder)` keeps it, `ranker_.notes` is what it has to say.
        log_: what its training left to tell: seconds, selection, history and speeds.
        n_features_in_: columns of `X`.
        feature_names_in_: their names, where `X` was a data frame with names.
        feature_importances_: of boosted trees, `[feature]` with sum 1: the gain of each feature's splits.

    Example:
        >>> import numpy as np
        >>> X = np.array([[1.2], [0.4], [1.9], [-0.3], [2.0], [1.0]], dtype=np.float32)
        >>> y = [1, 0, 2, 0, 1, 0]
        >>> model = RankingEstimator("linear", loss="listnet", epochs=3, transform="none").fit(X, y, group=[4, 2])
        >>> model.predict(X, group=[4, 2]).shape
        (6,)
    """

    ranker_: Any
    n_features_in_: int
    feature_names_in_: np.ndarray
    _kinds: tuple[str, ...]

    __metadata_request__fit = {"qid": True, "sample_weight": True, "groups": False}
    __metadata_request__predict = {"qid": True}
    __metadata_request__score = {"qid": True}

    def __init__(
        self,
        ranker: Any = "mlp",
        loss: Any = "listnet",
        seed: int = 0,
        select: Any = HEADLINE,
        single_list: bool = False,
        **params,
    ):
        self.ranker = ranker
        self.loss = loss
        self.seed = seed
        self.select = select
        self.single_list = single_list
        self._params = dict(params)

    # scikit-learn reads parameters from the signature; those of the catalogues are known by name only.
    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All parameters by name, those of the ranker, its training and its loss among them."""
        return {**{name: getattr(self, name) for name in _OWN}, **self._defaults(), **self._params}

    def _defaults(self) -> dict[str, Any]:
        """What the ranker, its training and its loss would take; nothing while the ranker is not known."""
        if not isinstance(self.ranker, str) or self.ranker not in RANKERS:
            return {}
        claims = RANKERS[self.ranker].claims
        found: dict[str, Any] = {"loss_params": None} if claims["needs_loss"] else {}
        for schema in (claims.get("training"), claims["config"]):
            for each in fields(schema) if schema else ():
                found[each.name] = each.default if each.default_factory is MISSING else each.default_factory()
        return found

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        own = {"ranker": self.ranker, "loss": self.loss, "seed": self.seed, **self._params}
        return f"RankingEstimator({', '.join(f'{name}={value!r}' for name, value in own.items())})"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.allow_nan = True
        return tags

    @property
    def feature_importances_(self) -> np.ndarray:
        check_is_fitted(self, "ranker_")
        gains = self.ranker_.importances()
        if gains is None:
            raise AttributeError(f"ranker {self.ranker_.name!r} has no feature importances")
        return gains / (gains.sum() or 1.0)

    def set_params(self, **params) -> RankingEstimator:
        """Sets parameters by name; names are checked when `fit` knows the ranker.

        With another ranker, what stood at the default of the former one goes with it.
        """
        before = self._defaults()
        if params.get("ranker", self.ranker) is not self.ranker:
            self.ranker = params["ranker"]
            self._params = {k: v for k, v in self._params.items() if k not in before or v != before[k]}
        for name, value in params.items():
            if name in _OWN:
                setattr(self, name, value)
            else:
                self._params[name] = value
        return self

    def fit(
        self,
        X,
        y,
        group: Sequence[int] | None = None,
        *,
        qid: Sequence | None = None,
        sample_weight: Sequence | None = None,
        eval_set: Sequence | None = None,
        eval_group: Sequence | None = None,
        eval_qid: Sequence | None = None,
        accelerator: str = "auto",
        device: Any = None,
        single_list: bool | None = None,
        groups: Sequence | None = None,
    ) -> RankingEstimator:
        """Trains on lists.

        Args:
            X: `[documents, feature]`, an array or a data frame; NaN and missing values are allowed where the ranker
                allows them. Columns of a data frame go by their names, one called qid says the query, and those of
                type category are categories, see `ltr.datasets.transforms` and `ltr.rankers.trees`.
            y: `[documents]` grades, 0 and up.
            group: documents of each query, in the order of the rows, summing to `len(X)`.
            qid: `[documents]` query of each row, in any order, instead of `group`.
            sample_weight: `[documents]` numbers from 0: what each row counts in the loss of its list; the same for all
                rows of a query is the weight of the query.
            eval_set: `(X, y, group)` that picks the epoch or iteration; without it the last one is kept. `group` is a
                `qid` there when `qid` is one here, and left out when a column says it. Also as the boosters and
                PyTerrier give it: `[(X, y)]` with `eval_group` or `eval_qid`.
            eval_group, eval_qid: of `eval_set`, as group and qid or as a list of one of them.
            accelerator, device: "auto", "cpu", "gpu", "cuda:1" or "mps".
            single_list: in place of the parameter of that name.
            groups: is refused; the name other libraries have for `qid`.

        Raises:
            InputError: shapes or types that do not fit, missing ids, rows without a query, negative grades, unknown
                names or parameters.
        """
        if not isinstance(self.seed, Integral) or isinstance(self.seed, bool) or self.seed < 0:
            raise InputError("seed", expected="a whole number from 0", came=self.seed)
        as_measure(self.select)
        single = self.single_list if single_list is None else single_list
        X = frame(X)
        if y is None:
            raise InputError("RankingEstimator requires y to be passed, but the target y is None")
        lists, order = lists_of(X, y, group, qid, "train", groups=groups, single=single, weights=sample_weight)
        named = bool(names_of(X))
        _say_odd(lists, order, named)
        known = lists.feature_names if named else None
        self._kinds = tuple(lists.feature_names[k] for k in lists.categories)
        vali = None
        if eval_set is not None:
            Xv, yv, group_v, qid_v = _evaluation(eval_set, eval_group, eval_qid, qid is not None)
            vali, _ = lists_of(frame(Xv), yv, group_v, qid_v, "vali", known=known, single=single, kinds=self._kinds)
        elif eval_group is not None or eval_qid is not None:
            raise InputError("the queries of an eval_set came without it", do="Give eval_set=[(X, y)]")
        params, training, loss_params = self._sorted_params()
        name = self._name()
        needs = RANKERS[name].claims["needs_loss"]
        bound = make_loss(self.loss, **loss_params) if needs and self.loss is not None else None
        settings = {} if training is None else {"training": training}
        ranker = make_ranker(name, loss=bound, seed=self.seed, **settings, **params)
        where = asked_device(accelerator, device)
        self.ranker_ = ranker.fit(lists, vali, select=self.select, accelerator=where, progress=False)
        best = dict(ranker.best)
        keys = ("seconds", "documents_per_second", "step_seconds")
        self.log_ = {
            **{key: ranker.cost.get(key) for key in keys},
            "selection": {"value": best.pop("vali", None), **best},
            "history": list(ranker.history),
        }
        self.n_features_in_ = lists.n_features
        if named:
            self.feature_names_in_ = np.array(lists.feature_names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        for note in ranker.notes:
            _say(note)
        return self

    def predict(
        self, X, group: Sequence[int] | None = None, *, qid: Sequence | None = None, single_list: bool | None = None
    ) -> np.ndarray:
        """Scores in the order of the rows, higher is better.

        Args:
            X: `[documents, feature]` as in `fit`; a data frame may have its columns in another order.
            group, qid, single_list: lists, as in `fit`. A ranker that scores each document by itself needs none.

        Returns:
            float32 `[documents]`.
        """
        check_is_fitted(self, "ranker_")
        alone = RANKERS[self.ranker_.name].claims["independent"]
        single = alone or (self.single_list if single_list is None else single_list)
        lists, order = lists_of(
            *(frame(X), None, group, qid, "X"),
            known=self._known(),
            width=self.n_features_in_,
            single=single,
            kinds=self._kinds,
        )
        _say_infinite(lists)
        scores = np.empty(lists.n_documents, np.float32)
        scores[order] = self.ranker_.score(lists)
        return scores

    def score(
        self,
        X,
        y,
        group: Sequence[int] | None = None,
        *,
        qid: Sequence | None = None,
        measure: str | None = None,
        single_list: bool | None = None,
    ) -> float:
        """Mean of a measure (the selection measure by default) of the predictions for `X`.

        scikit-learn's searches hand no `qid` over to this method: there the rows of a fold count as one list, which is
        said, unless `X` is a data frame with a column qid.
        """
        check_is_fitted(self, "ranker_")
        X = frame(X)
        given = group is not None or qid is not None or bool(set(QUERY) & set(names_of(X)))
        if not given and not (self.single_list if single_list is None else single_list):
            _say("score: all rows count as one list, because no query came with them; give X a column qid")
        how: dict[str, Any] = {"known": self._known(), "width": self.n_features_in_, "kinds": self._kinds}
        lists, _ = lists_of(X, y, group, qid, "X", single=True, **how)
        values = evaluate([measure or self.select], self.ranker_.score(lists), lists.label(), lists.offsets)
        return float(mean(next(iter(values.values()))))

    def _known(self) -> tuple[str, ...] | None:
        return tuple(self.feature_names_in_) if hasattr(self, "feature_names_in_") else None

    def _name(self) -> str:
        """Of the ranker, which may be a module or a function."""
        return self.ranker if isinstance(self.ranker, str) else own_ranker(self.ranker)

    def _sorted_params(self) -> tuple[dict, TrainingConfig | None, dict]:
        """Parameters of the ranker, of the training loop and of the loss, each with whom it belongs to."""
        claims = RANKERS[self._name()].claims
        own = [f.name for f in fields(claims["config"])]
        loop = _TRAINING if claims.get("training") else ()
        loss = ("loss_params",) if claims["needs_loss"] else ()
        for name in self._params:
            if name not in (*own, *loop, *loss):
                raise unknown_name(f"parameter of {self.ranker!r}", name, (*own, *loop, *loss, *_OWN))
        pick = lambda names: {n: v for n, v in self._params.items() if n in names}  # noqa: E731
        training = bind(TrainingConfig, pick([n for n in loop if n not in own])) if loop else None
        return pick(own), training, self._params.get("loss_params") or {}


def _evaluation(eval_set: Any, eval_group: Any, eval_qid: Any, by_query: bool) -> tuple[Any, Any, Any, Any]:
    """X, y, group and qid of the lists that select, in any of the forms they come in."""
    one = lambda x: x[0] if isinstance(x, tuple | list) and len(x) == 1 and np.ndim(x[0]) == 1 else x  # noqa: E731
    given = eval_set
    if isinstance(given, list) and given and all(isinstance(each, tuple) for each in given):
        if len(given) > 1:
            raise InputError("one eval_set selects", expected="[(X, y)]", came=f"{len(given)} of them")
        given = given[0]
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        came = f"{len(given)} items" if hasattr(given, "__len__") else type(given).__name__
        raise InputError("eval_set is a triple", expected="(X, y, group)", came=came)
    X, y, *by = given
    group, qid = one(eval_group), one(eval_qid)
    if by:
        if group is not None or qid is not None:
            raise InputError("eval_set and eval_group say the same thing twice", expected="one of them")
        group, qid = (None, by[0]) if by_query else (by[0], None)
    return X, y, group, qid


def _say_odd(lists: Split, order: np.ndarray, named: bool) -> None:
    """Says what among the features is infinite, or looks like none: an index, an id, an outcome, the label itself."""
    _say_infinite(lists)
    names = lists.feature_names
    if outcomes := [repr(n) for n in names if named and is_outcome(n)]:
        _say(f"features whose names speak of a judgement or an outcome: {', '.join(outcomes)}")
    for name in names if named else ():
        if not is_outcome(name) and (why := no_feature(Column(name, "number"))):
            _say(f"feature {name!r}: {why.split(';')[0]}")
    rows = np.empty_like(order)
    rows[order] = np.arange(len(order))
    features = lists.features if np.array_equal(order, np.arange(len(order))) else lists.features[rows]
    block = Block(features, 0, np.asarray(lists.labels)[rows], np.zeros(1, np.int64), [""])
    for k, what in odd_features(block).items():
        _say(f"feature {names[k]!r} {what}")


def _say_infinite(lists: Split) -> None:
    if len(infinite := np.argwhere(np.isinf(lists.features))):
        row, column = int(np.asarray(lists.row)[infinite[0, 0]]), lists.feature_names[infinite[0, 1]]
        _say(f"{len(infinite):,} infinite values among the features, the first in row {row}, column {column}")


def _say(note: str) -> None:
    """Once a process, on stderr where nobody has set the logger "ltr" up."""
    if note not in _SAID:
        _SAID.add(note)
        logging.getLogger("ltr").warning("ltr: %s", note)
