"""Feature transforms: fitted on the train split only, saved with the run, applied on any device.

    none                x
    log1p               sign(x) log(1 + |x|)                       DASALC (Qin et al., ICLR 2021) feeds it plain
    standardise         (x - mean) / sd
    log1p-standardise   standardise after log1p
    quantile            piecewise linear map of the train quantiles to a normal or uniform distribution

What has no value (NaN) is left out of the fit and becomes 0 afterwards, the mean where there is one; and because that a
value is missing tells something too (a document that no index retrieved), a column of 0 and 1 follows the others for
each column that misses values in train. An infinity is a value: it becomes the largest (smallest) finite one the column
has in train. A column that is constant in train becomes 0 everywhere, whatever it holds later.

A column of categories becomes 0, and behind all others a column of 0 and 1 follows for each of the `LEVELS` most
frequent values it has in train (one-hot, no label is looked at); of other values, unseen ones too, all of these are 0.

The fit streams over row chunks and sums in float64 (raw columns of web data reach 1e7, so float32 sums drift), so a
memory-mapped block of any size needs the memory of one chunk. `apply` is float32 torch arithmetic for arrays and
tensors alike: an array and a CPU tensor give the same bits, a GPU the same to the last place or two.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ltr.atomic import whole_file
from ltr.errors import InputError, unknown_name
from ltr.seeds import seed_of

from .list_context import list_context

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["NAMES", "Transform", "fit"]

LEVELS = 64
NAMES = ("none", "log1p", "standardise", "log1p-standardise", "quantile")
_CHUNK = 32_768  # rows; 18 MB of 136 float32 features, and twice that in float64


def fit(
    name: str,
    features: np.ndarray,
    *,
    missing: Literal["indicator", "mean"] | None = None,
    context: bool = False,
    categories: Sequence[int] = (),
    n_quantiles: int = 1000,
    output: str = "normal",
    sample: int = 100_000,
    seed: int = 0,
) -> Transform:
    """Fits a transform on the features of the train split.

    Args:
        name: one of `NAMES`.
        features: `[documents, feature]`, memory-mapped or not; read chunk by chunk.
        missing: "indicator" (the default, also None): columns that miss values in train get a column that says so;
            "mean": they do not.
        context: let two columns follow for each feature, its rank and z-score within its list (list_context.py).
        categories: columns that hold codes of categories.
        n_quantiles: knots of the quantile map.
        output: "normal" or "uniform", what the quantile map aims at.
        sample: rows the quantiles are estimated from, drawn without replacement; all rows when there are fewer.
        seed: of that draw.

    Raises:
        InputError: unknown name or output; features that are not a matrix.

    >>> fit("standardise", np.array([[1.0, 7.0], [3.0, 7.0]])).apply(np.array([[1.0, 7.0], [3.0, 9.0]])).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    if name not in NAMES:
        raise unknown_name("transform", name, NAMES)
    if features.ndim != 2:
        raise InputError("features must be a matrix", expected="[documents, feature]", came=features.shape)
    log = name.startswith("log1p")
    arrays, holes = _moments(features, log) if name.endswith("standardise") else _ends(features, log)
    if name == "quantile":
        arrays |= _quantile_knots(features, n_quantiles, output, sample, seed)
    holes[list(categories)] = False  # a category that is missing is none of those that were seen
    for array in arrays.values():
        array[list(categories)] = 0
    return Transform(
        name, arrays, () if missing == "mean" else np.flatnonzero(holes), context, levels_of(features, categories)
    )


def levels_of(features: np.ndarray, columns: Sequence[int], most: int = LEVELS) -> dict[int, np.ndarray]:
    """Column -> its most frequent values, float32, most frequent first (of equal counts the smaller code)."""
    found = {}
    for column in columns:
        values, counts = np.unique(np.asarray(features[:, column], np.float32), return_counts=True)
        values, counts = values[np.isfinite(values)], counts[np.isfinite(values)]
        found[int(column)] = values[np.argsort(-counts, kind="stable")][:most]
    return found


class Transform:
    """A fitted transform: its name and the arrays the fit produced.

    Attributes:
        name: one of `NAMES`.
        arrays: `low` and `high`, the ends of the finite values (after the logarithm, if there is one). standardise:
            `centre` and `centre_rest` (the float64 mean in two float32 parts), `scale` (1 / sd, 0 for a constant
            column), each `[feature]`. quantile: `knots` and `values` `[feature, n_quantiles]`. Those that versions
            before 0.2 saved have no ends: an infinity became 0 there, and still does.
        missing: int64, the columns that are followed by an indicator, in the order of the indicators.
        levels: column of categories -> the values that have a column of their own, behind the indicators.
        context: whether ranks and z-scores within the list follow, which `lists` adds and `apply` leaves out: it sees
            documents only.
    """

    def __init__(
        self,
        name: str,
        arrays: Mapping[str, np.ndarray],
        missing: Sequence[int] | np.ndarray = (),
        context: bool = False,
        levels: Mapping[int, np.ndarray] | None = None,
    ):
        if name not in NAMES:
            raise unknown_name("transform", name, NAMES)
        self.name, self.missing, self.context = name, np.asarray(missing, dtype=np.int64), bool(context)
        self.arrays = {key: np.ascontiguousarray(array, dtype=np.float32) for key, array in arrays.items()}
        self.levels = {int(c): np.asarray(values, np.float32) for c, values in (levels or {}).items()}
        self._tensors: dict[str, dict[str, Tensor]] = {}

    @property
    def extra(self) -> int:
        """Columns behind the features: indicators, and those of categories."""
        return len(self.missing) + sum(map(len, self.levels.values()))

    def width(self, n_features: int) -> int:
        """Columns that come out for so many features: the features, the indicators and the context behind them."""
        return n_features * (3 if self.context else 1) + self.extra

    def lists(self, x: Tensor, where: Tensor) -> Tensor:
        """Padded lists `[batch, list, feature]` to all columns, `[batch, list, column]`."""
        import torch

        out = self._apply(x)
        return torch.cat([out, list_context(out[..., : x.shape[-1]], where)], -1) if self.context else out

    def notes(self, names: Sequence[str]) -> list[str]:
        """What the indicators are, in a sentence for a summary; nothing where there are none.

        Args:
            names: of the features.
        """
        if len(self.missing) == 0:
            return []
        named = [names[k] if k < len(names) else f"column {k + 1}" for k in self.missing.tolist()]
        shown = ", ".join(named[:5]) + (f" and {len(named) - 5} more" if len(named) > 5 else "")
        verb = "feature misses" if len(named) == 1 else "features miss"
        return [f"{len(named)} {verb} values in train; the net has a column that says where: {shown}"]

    def same(self, other: Transform) -> bool:
        """Whether two transforms do the same."""
        return self is other or (
            (self.name, self.context) == (other.name, other.context)
            and np.array_equal(self.missing, other.missing)
            and self.levels.keys() == other.levels.keys()
            and all(np.array_equal(values, other.levels[c]) for c, values in self.levels.items())
            and self.arrays.keys() == other.arrays.keys()
            and all(np.array_equal(self.arrays[key], other.arrays[key]) for key in self.arrays)
        )

    def apply(self, x):
        """Documents `[..., feature]` to `[..., feature + indicator]`: a new float32 array, or tensor on x's device."""
        if not isinstance(x, np.ndarray):
            return self._apply(x)
        import torch

        self._check_width(x.shape)
        out = np.empty((*x.shape[:-1], x.shape[-1] + self.extra), dtype=np.float32)
        rows, flat = x.reshape(-1, x.shape[-1]), out.reshape(-1, out.shape[-1])
        for start in range(0, len(rows), _CHUNK):
            # Copied, because torch refuses read-only memory (a memory map is one) without a warning.
            chunk = torch.from_numpy(np.array(rows[start : start + _CHUNK], dtype=np.float32))
            flat[start : start + _CHUNK] = self._apply(chunk).numpy()
        return out

    __call__ = apply

    def to(self, device) -> Transform:
        """Puts the fitted arrays on a device ahead of the first `apply` there; returns itself."""
        self._on(device)
        return self

    def save(self, path: Path | str) -> None:
        """Writes one .npz without pickles, atomically."""
        with whole_file(path) as beside, open(beside, "wb") as file:
            kept: dict[str, Any] = {"transform": np.array(self.name), "missing": self.missing, **self.arrays}
            if self.context:  # files without it stay what they were
                kept["context"] = np.array(True)
            kept |= {f"levels {column}": values for column, values in self.levels.items()}
            np.savez(file, **kept)

    @classmethod
    def load(cls, path: Path | str) -> Transform:
        """Reads what `save` wrote.

        Raises:
            InputError: the file is not a saved transform.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {key: stored[key] for key in stored.files}
                context = bool(arrays.pop("context", False))
                levels = {int(key[7:]): arrays.pop(key) for key in stored.files if key.startswith("levels ")}
                return cls(str(arrays.pop("transform")), arrays, arrays.pop("missing", ()), context, levels)
        except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, EOFError, OSError) as error:
            raise InputError("not a saved transform", file=path, expected="the .npz of Transform.save") from error

    def __repr__(self) -> str:
        indicators = f", {len(self.missing)} indicators of missing values" if len(self.missing) else ""
        shapes = ", ".join(f"{k}: {list(a.shape)}" for k, a in self.arrays.items())
        return f"Transform({self.name!r}, {{{shapes}}}{indicators})"

    def __getstate__(self):
        return {**self.__dict__, "_tensors": {}}  # another process may have another device

    def _on(self, device) -> dict[str, Tensor]:
        import torch

        key = str(device)
        if key not in self._tensors:
            held = {**self.arrays, "missing": self.missing}
            if self.levels:
                held["coded"] = np.repeat([*self.levels], [*map(len, self.levels.values())])
                held["levels"] = np.concatenate([*self.levels.values()])
            self._tensors[key] = {k: torch.from_numpy(a).to(device) for k, a in held.items()}
        return self._tensors[key]

    def _check_width(self, shape) -> None:
        for array in self.arrays.values():
            if len(shape) == 0 or shape[-1] != len(array):
                what = f"the {self.name} transform was fitted on other features"
                raise InputError(what, expected=f"[..., {len(array)}]", came=tuple(shape))

    def _apply(self, x: Tensor) -> Tensor:
        import torch

        self._check_width(x.shape)
        fitted = self._on(x.device)
        raw = x = x.to(torch.float32)
        plain = not (x.requires_grad or self.levels or len(self.missing) or "knots" in fitted)
        if plain and x.device.type == "cpu" and not torch.compiler.is_compiling():  # a file asks no value
            if torch.isfinite(x.sum()):  # so all are, and a fifth of the passes over them is enough
                x = x.abs().log1p_().mul_(x.sign()) if self.name.startswith("log1p") else x.clone()
                if "scale" in fitted:
                    x.sub_(fitted["centre"]).sub_(fitted["centre_rest"]).mul_(fitted["scale"])
                return x
        if self.levels:
            x = x.index_fill(-1, torch.tensor([*self.levels], device=x.device), 0.0)
        known = ~torch.isnan(x) if "high" in fitted else torch.isfinite(x)
        given = torch.where(known, x, 0.0)
        x = given
        if self.name.startswith("log1p"):
            x = _log1p(x)
        if "high" in fitted:
            infinite = torch.isinf(given)
            x = torch.where(infinite, torch.where(given > 0, fitted["high"], fitted["low"]), x)
        if "scale" in fitted:
            # Two subtractions: near the mean the first is exact, the second restores the digits float32 cuts off it.
            x = ((x - fitted["centre"]) - fitted["centre_rest"]) * fitted["scale"]
        elif "knots" in fitted:
            x = _interpolate(x, fitted["knots"], fitted["values"])
        x = torch.where(known, x, 0.0)
        if len(self.missing):
            x = torch.cat([x, (~known).index_select(-1, fitted["missing"]).to(torch.float32)], -1)
        if self.levels:
            x = torch.cat([x, (raw.index_select(-1, fitted["coded"]) == fitted["levels"]).to(torch.float32)], -1)
        return x


def _log1p(x: Tensor) -> Tensor:
    return x.sign() * x.abs().log1p()


def _chunks(features: np.ndarray, log: bool) -> Iterator[np.ndarray]:
    """Chunks as float64. The logarithm is the float32 one of `apply`: no spread is counted that it cannot show."""
    import torch

    for start in range(0, len(features), _CHUNK):
        x = np.array(features[start : start + _CHUNK], dtype=np.float32)
        yield (_log1p(torch.from_numpy(x)).numpy() if log else x).astype(np.float64)


def _ends(features: np.ndarray, log: bool) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The ends of the finite values of each column, and which columns miss values."""
    columns = features.shape[1]
    low, high = np.full(columns, np.inf, np.float32), np.full(columns, -np.inf, np.float32)
    holes = np.zeros(columns, bool)
    for start in range(0, len(features), _CHUNK):
        x = np.asarray(features[start : start + _CHUNK], dtype=np.float32)
        least, most = x.min(0), x.max(0)  # both carry every NaN and infinity: they decide whether to look closer
        if not (np.isfinite(least).all() and np.isfinite(most).all()):
            finite = np.isfinite(x)
            holes |= np.isnan(x).any(0)
            least, most = x.min(0, where=finite, initial=np.inf), x.max(0, where=finite, initial=-np.inf)
        low, high = np.minimum(low, least), np.maximum(high, most)
    return _bounded(low, high, log), holes


def _bounded(low: np.ndarray, high: np.ndarray, log: bool = False) -> dict[str, np.ndarray]:
    """The ends as a transform keeps them; 0 where a column has no finite value."""
    import torch

    some = low <= high
    ends = {"low": np.where(some, low, 0).astype(np.float32), "high": np.where(some, high, 0).astype(np.float32)}
    return {name: _log1p(torch.from_numpy(end)).numpy() if log else end for name, end in ends.items()}


def _moments(features: np.ndarray, log: bool) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Mean, 1 / sd and ends of each column over its finite values, and which columns miss values.

    Chunks are merged by Chan, Golub and LeVeque (1979).
    """
    columns = features.shape[1]
    count, mean, squares = np.zeros(columns), np.zeros(columns), np.zeros(columns)
    low, high = np.full(columns, np.inf), np.full(columns, -np.inf)
    holes = np.zeros(columns, bool)
    for x in _chunks(features, log):
        finite = np.isfinite(x)
        whole = finite.all()
        low = np.minimum(low, x.min(0) if whole else x.min(0, where=finite, initial=np.inf))
        high = np.maximum(high, x.max(0) if whole else x.max(0, where=finite, initial=-np.inf))
        if not whole:
            holes |= np.isnan(x).any(0)
            x = np.where(finite, x, 0.0)
        n = finite.sum(0)
        total, seen = count + n, np.maximum(n, 1)
        chunk_mean = x.sum(0) / seen  # zeros stand for what is left out
        apart = np.square(x - chunk_mean) if whole else np.where(finite, np.square(x - chunk_mean), 0.0)
        step = np.where(n > 0, chunk_mean - mean, 0.0)
        share = n / np.maximum(total, 1)
        mean = mean + step * share
        squares = squares + apart.sum(0) + np.square(step) * count * share
        count = total
    varies = low < high  # also False for a column without a finite value
    deviation = np.sqrt(squares / np.maximum(count, 1))
    scale = np.divide(1.0, deviation, out=np.zeros(columns), where=varies & (deviation > 0))
    centre = mean.astype(np.float32)
    fitted = {"centre": centre, "centre_rest": (mean - centre).astype(np.float32), "scale": scale.astype(np.float32)}
    return {**_bounded(low, high), **fitted}, holes


def _quantile_knots(
    features: np.ndarray, n_quantiles: int, output: str, sample: int, seed: int
) -> dict[str, np.ndarray]:
    """Knots of the empirical distribution function of each column, and what they map to.

    Quantiles at the mid levels (i + 1/2) / n, so that the ends of a normal stay near +-3.3 at n = 1000 instead of at
    infinity. Equal quantiles (half of a column may be 0) collapse to one knot at the mean of their levels, the mid
    rank. Free places at the end repeat the last knot.
    """
    from scipy.special import ndtri

    if output not in ("normal", "uniform"):
        raise unknown_name("output of the quantile transform", output, ("normal", "uniform"))
    if n_quantiles < 2 or sample < 2:
        raise InputError("a quantile transform needs two quantiles and two rows at least", came=(n_quantiles, sample))
    rows = len(features)
    if rows > sample:
        chosen = np.random.default_rng(seed_of("quantile rows", seed)).choice(rows, sample, replace=False)
        features = features[np.sort(chosen)]  # sorted: a memory map is read front to back
    columns = features.shape[1]
    levels = (np.arange(n_quantiles) + 0.5) / n_quantiles
    knots, values = np.zeros((columns, n_quantiles), np.float32), np.zeros((columns, n_quantiles), np.float32)
    for f in range(columns):
        x = np.asarray(features[:, f], dtype=np.float32)
        x = x[np.isfinite(x)]
        if len(x) == 0 or x.min() == x.max():
            continue  # all knots 0 and all values 0: the column becomes 0
        x.sort()
        # Observed values only: a knot between two counts would tear their tie apart.
        at = np.quantile(x, levels, method="inverted_cdf")
        at, first, times = np.unique(at, return_index=True, return_counts=True)
        level = levels[first] + (times - 1) / (2 * n_quantiles)
        target = ndtri(level) if output == "normal" else level
        knots[f, : len(at)], knots[f, len(at) :] = at, at[-1]
        values[f, : len(at)], values[f, len(at) :] = target, target[-1]
    return {"knots": knots, "values": values}


def _interpolate(x: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """Piecewise linear map of each column, constant beyond its end knots."""
    import torch

    columns = x.reshape(-1, x.shape[-1]).T.contiguous()
    # First knot not below x; the knot before it starts the segment. Repeated last knots are never a segment's start
    # with a larger end, so their width of 0 is only met beyond the end, where the clamp holds.
    right = torch.searchsorted(knots, columns).clamp(1, knots.shape[1] - 1)
    x0, x1 = knots.gather(1, right - 1), knots.gather(1, right)
    y0, y1 = values.gather(1, right - 1), values.gather(1, right)
    width = x1 - x0
    share = torch.where(width > 0, (columns - x0) / torch.where(width > 0, width, 1.0), 1.0).clamp(0.0, 1.0)
    return torch.lerp(y0, y1, share).T.reshape(x.shape).contiguous()
