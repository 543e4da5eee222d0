"""Transforms against slow obvious float64 numpy, and the rules for what has no value."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from scipy.special import ndtri

from ltr.datasets import transforms
from ltr.datasets.transforms import Transform, fit
from ltr.errors import InputError


def columns(rows: int = 5_000, seed: int = 0) -> np.ndarray:
    """Counts, heavy tails, negatives, flags, a large offset, mostly zeros, a constant."""
    r = np.random.default_rng(seed)
    return np.stack(
        [
            r.poisson(3, rows),
            np.exp(r.normal(8, 3, rows)),
            -np.abs(r.normal(14, 4, rows)),
            r.integers(0, 2, rows),
            1e7 + r.integers(0, 5, rows),
            np.where(r.random(rows) < 0.9, 0, r.exponential(3, rows)),
            np.full(rows, 7.25),
        ],
        axis=1,
    ).astype(np.float32)


def obvious(name: str, train: np.ndarray, x: np.ndarray) -> np.ndarray:
    train, x = train.astype(np.float64), x.astype(np.float64)
    if name.startswith("log1p"):
        train, x = (np.sign(a) * np.log1p(np.abs(a)) for a in (train, x))
    if name.endswith("standardise"):
        sd = train.std(0)
        constant = train.min(0) == train.max(0)
        x = np.where(constant, 0.0, (x - train.mean(0)) / np.where(constant, 1.0, sd))
    return x


@pytest.mark.parametrize("name", ["none", "log1p", "standardise", "log1p-standardise"])
def test_equals_float64_numpy(name, monkeypatch):
    monkeypatch.setattr(transforms, "_CHUNK", 777)  # several chunks, the last one short
    train, other = columns(), columns(1_000, seed=1)
    got, expected = fit(name, train).apply(other), obvious(name, train, other)
    if name == "log1p-standardise":
        # Column 4 is 1e7 + 0..4, whose logarithms float32 cannot tell apart: no spread, or that of the last place.
        assert np.abs(got[:, 4]).max() < 10
        got, expected = np.delete(got, 4, axis=1), np.delete(expected, 4, axis=1)
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", transforms.NAMES)
def test_tensor_equals_array(name, device):
    train, other = columns(), columns(60, seed=1)
    fitted = fit(name, train, n_quantiles=50).to(device)
    array = fitted.apply(other)
    tensor = fitted.apply(torch.from_numpy(other).to(device))
    assert tensor.device.type == torch.device(device).type and tensor.dtype == torch.float32
    if device == "cpu":
        assert np.array_equal(tensor.numpy(), array)
    np.testing.assert_allclose(tensor.cpu().numpy(), array, rtol=2e-6, atol=2e-6)
    batch = fitted.apply(torch.from_numpy(other).to(device).view(3, 20, -1))
    assert torch.equal(batch.view(60, -1), tensor)
    assert np.array_equal(fitted.apply(other.reshape(3, 20, -1)).reshape(60, -1), array)


@pytest.mark.parametrize("name", transforms.NAMES)
def test_sees_train_only(name):
    """Two fits on the same rows agree bit for bit however different the rows they are applied to."""
    train = columns()
    fitted, again = fit(name, train), fit(name, train.copy())
    shifted = columns(seed=2) * 3 + 5
    fitted.apply(shifted)
    for key in fitted.arrays:
        assert np.array_equal(fitted.arrays[key], again.arrays[key])
    assert np.array_equal(fitted.apply(train), again.apply(train))


def test_standardised_train_has_unit_moments_at_a_large_offset():
    out = fit("standardise", columns()).apply(columns()).astype(np.float64)
    assert np.abs(out[:, :6].mean(0)).max() < 1e-4  # column 4 is 1e7 + 0..4: float32 sums would be off by whole sds
    assert np.abs(out[:, :6].std(0) - 1).max() < 1e-4


@pytest.mark.parametrize("name", transforms.NAMES)
def test_what_is_missing_is_left_out_and_told_beside(name, monkeypatch):
    """NaN becomes 0 and a 1 behind the features; an infinity becomes the end of its column in train."""
    monkeypatch.setattr(transforms, "_CHUNK", 500)
    clean = columns(3_000)
    spoilt = np.concatenate([clean, clean[:4]])
    spoilt[-4:, :3] = np.array([[np.nan], [np.inf], [-np.inf], [np.nan]])
    spoilt[-1, 5] = np.nan
    fitted, expected = fit(name, spoilt), fit(name, clean[:, :])
    for key in expected.arrays:  # the columns with non-finite values, as if those rows were not there
        np.testing.assert_allclose(fitted.arrays[key][:3], expected.arrays[key][:3], rtol=1e-6)
    assert fitted.missing.tolist() == [0, 1, 2, 5] and fitted.width(7) == 11
    out = fitted.apply(spoilt)
    assert out.shape == (3_004, 11) and np.isfinite(out).all()
    assert (out[[-4, -1], :3] == 0).all() and out[-1, 5] == 0
    np.testing.assert_array_equal(out[:, 7:], np.isnan(spoilt[:, [0, 1, 2, 5]]))
    assert out[-4:, 7:].tolist() == [[1, 1, 1, 0], [0] * 4, [0] * 4, [1] * 4]
    ends = np.stack([clean.max(0), clean.min(0)])
    np.testing.assert_array_equal(out[[-3, -2], :3], fitted.apply(ends)[:, :3])


@pytest.mark.parametrize("name", transforms.NAMES)
def test_without_missing_values_nothing_is_added(name):
    x = columns(200)
    x[0, 1] = np.inf  # not missing
    for missing in (None, "indicator", "mean"):
        fitted = fit(name, x, missing=missing)
        assert fitted.missing.tolist() == [] and fitted.width(7) == 7
        np.testing.assert_array_equal(fitted.apply(x), fit(name, x).apply(x))
    x[5, 3] = np.nan
    both, mean = fit(name, x), fit(name, x, missing="mean")
    assert both.missing.tolist() == [3] and mean.missing.tolist() == []
    np.testing.assert_array_equal(both.apply(x)[:, :7], mean.apply(x))
    late = columns(50)
    late[:, 2] = np.nan  # missing nowhere in train: no column was fitted for it
    assert both.apply(late).shape == (50, 8) and (both.apply(late)[:, [2, 7]] == 0).all()
    assert both.same(both) and both.same(fit(name, x)) and not both.same(mean)


@pytest.mark.parametrize("name", transforms.NAMES)
def test_transforms_of_before_still_load_and_mean_what_they_meant(name, tmp_path):
    """Saved without ends and indicators: what is not finite becomes 0."""
    x = columns(300)
    now = fit(name, x)
    old = {key: array for key, array in now.arrays.items() if key not in ("low", "high")}
    np.savez(tmp_path / "old.npz", transform=np.array(name), **old)
    loaded = Transform.load(tmp_path / "old.npz")
    np.testing.assert_array_equal(loaded.apply(x), now.apply(x))
    x[0, :3] = [np.nan, np.inf, -np.inf]
    out = loaded.apply(x)
    assert (out[0, :3] == 0).all() and out.shape == x.shape
    loaded.save(tmp_path / "again.npz")
    assert Transform.load(tmp_path / "again.npz").same(loaded)


def test_the_nets_see_what_is_missing(tmp_path):
    """Relevance is whether a value is there: told of it, a linear net ranks perfectly; on the mean alone it cannot."""
    from ltr.losses import loss
    from ltr.methods.export import fixed
    from ltr.rankers import load_ranker, make_ranker
    from ltr.types import Split

    r = np.random.default_rng(0)
    x = r.normal(size=(400, 3)).astype(np.float32)
    y = (r.random(400) < 0.3).astype(np.float32)
    x[y > 0, 1] = np.nan
    split = Split.from_arrays(x, y, [10] * 40)
    scores = {}
    for missing in ("indicator", "mean"):
        training = {"epochs": 15, "learning_rate": 0.05, "missing": missing}
        ranker = make_ranker("linear", loss=loss("listnet"), training=training).fit(split)
        ranker.save(tmp_path / missing)
        scores[missing] = ranker.score(split)
        said = "1 feature misses values in train; the net has a column that says where: f2"
        assert (said in ranker.notes) is (missing == "indicator")
        np.testing.assert_array_equal(load_ranker(tmp_path / missing).score(split), scores[missing])
        lists = torch.from_numpy(x).view(40, 10, 3)
        alone = fixed(ranker)(lists, torch.ones(40, 10, dtype=torch.bool))  # as a file that runs without us
        np.testing.assert_allclose(alone.detach().numpy().ravel(), scores[missing], rtol=1e-5, atol=1e-6)
    first = {k: np.mean([y[10 * q + s[10 * q : 10 * q + 10].argmax()] for q in range(40)]) for k, s in scores.items()}
    assert first["indicator"] == pytest.approx(y.reshape(40, 10).any(1).mean()) and first["mean"] < 0.7


@pytest.mark.parametrize("name", ["standardise", "log1p-standardise", "quantile"])
@pytest.mark.parametrize("output", ["normal", "uniform"])
def test_constant_columns_become_zero_whatever_comes_later(name, output):
    train = np.stack([np.full(50, 3.0), np.full(50, np.nan), np.arange(50.0)], 1).astype(np.float32)
    out = fit(name, train, output=output).apply(np.array([[3, 1, 2], [9, np.nan, 4]], np.float32))
    assert (out[:, :2] == 0).all() and (out[:, 2] != 0).all()


@pytest.mark.parametrize("output", ["normal", "uniform"])
def test_quantile_gives_the_distribution_and_keeps_order(output):
    train = columns(20_000)[:, [1, 2]]
    out = fit("quantile", train, output=output).apply(train)
    u = (np.arange(len(train)) + 0.5) / len(train)
    target = ndtri(np.clip(u, 0.0005, 0.9995)) if output == "normal" else u
    for f in range(2):
        apart = np.abs(np.sort(out[:, f]) - target)
        assert apart[100:-100].max() < (0.02 if output == "normal" else 0.002)
        assert apart.max() < (0.2 if output == "normal" else 0.002)  # a straight line through the last thousandth
        assert (np.diff(out[np.argsort(train[:, f], kind="stable"), f]) >= 0).all()
    beyond = fit("quantile", train, output=output).apply(np.array([[-1e30, 1e30], [1e30, -1e30]], np.float32))
    assert np.isfinite(beyond).all() and beyond[0, 0] == out[:, 0].min() and beyond[1, 0] == out[:, 0].max()


def test_quantile_gives_ties_their_mid_rank():
    train = np.array([0] * 60 + [1] * 30 + [2] * 10, np.float32)[:, None]
    out = fit("quantile", train, n_quantiles=100, output="uniform").apply(np.array([[0], [1], [2]], np.float32))
    np.testing.assert_allclose(out[:, 0], [0.30, 0.75, 0.95], atol=1e-6)


def test_quantile_rows_are_a_seeded_sample():
    x = columns(4_000)
    a, b, c = (fit("quantile", x, sample=500, n_quantiles=20, seed=s).arrays["knots"] for s in (0, 0, 1))
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_memory_mapped_read_only(tmp_path):
    x = columns()
    np.save(tmp_path / "features.npy", x)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    for name in transforms.NAMES:
        assert np.array_equal(fit(name, mapped).apply(mapped), fit(name, x).apply(x))


@pytest.mark.parametrize("name", transforms.NAMES)
def test_saved_and_loaded(name, tmp_path):
    x = columns()
    fitted = fit(name, x, n_quantiles=50)
    fitted.save(tmp_path / "transform.npz")
    loaded = Transform.load(tmp_path / "transform.npz")
    assert loaded.name == name and np.array_equal(loaded.apply(x), fitted.apply(x))
    assert [p.name for p in tmp_path.iterdir()] == ["transform.npz"]
    assert np.array_equal(pickle.loads(pickle.dumps(fitted)).apply(x), fitted.apply(x))


def test_errors_name_the_near_miss_and_the_width(tmp_path):
    with pytest.raises(InputError, match="Did you mean 'log1p-standardise'"):
        fit("log1p_standardize", columns())
    with pytest.raises(InputError, match="came .7, 6"):
        fit("standardise", columns()).apply(columns(7)[:, :6])
    with pytest.raises(InputError, match="unknown output"):
        fit("quantile", columns(), output="gauss")
    with pytest.raises(InputError, match="must be a matrix"):
        fit("none", np.zeros(3))
    (tmp_path / "broken.npz").write_bytes(b"not a zip")
    with pytest.raises(InputError, match="not a saved transform"):
        Transform.load(tmp_path / "broken.npz")
