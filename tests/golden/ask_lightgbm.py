"""Asks LightGBM for the gradients of its lambdarank objective and writes them to losses_lightgbm.json.

    python tests/golden/ask_lightgbm.py

LightGBM does not show gradients, but a tree does: with learning rate 1 and L2 penalty c, the value of a leaf is
-G / (H + c), G and H the sums of gradients and Hessians of its documents. A feature that says "in this half of the
documents" makes two leaves; two penalties give G of each; many random halves give the gradient of every document by
least squares. (Leaves of one document are not to be had: LightGBM estimates the count of a leaf from its Hessian.)
Start scores come in as `init_score`, so the gradients are those at chosen scores.
"""

from __future__ import annotations

import json
from pathlib import Path

import lightgbm
import numpy as np

SETTINGS = (
    {"lambdarank_truncation_level": 1000, "sigmoid": 1.0, "lambdarank_norm": False},
    {"lambdarank_truncation_level": 1000, "sigmoid": 2.0, "lambdarank_norm": False},
    {"lambdarank_truncation_level": 3, "sigmoid": 1.0, "lambdarank_norm": False},
    {"lambdarank_truncation_level": 1000, "sigmoid": 1.0, "lambdarank_norm": True},
    {"lambdarank_truncation_level": 3, "sigmoid": 2.0, "lambdarank_norm": True},
)


def leaves(scores: np.ndarray, labels: np.ndarray, groups: list[int], setting: dict, half: np.ndarray, penalty: float):
    """Leaf values of the documents inside and outside of `half`, or None where the tree did not split."""
    x = half[:, None].astype(float)
    binning = {"min_data_in_bin": 1, "feature_pre_filter": False, "verbose": -1}
    data = lightgbm.Dataset(x, labels, group=groups, init_score=scores, params=binning)
    options = {
        "objective": "lambdarank",
        "learning_rate": 1.0,
        "num_leaves": 2,
        "min_data_in_leaf": 1,
        "min_sum_hessian_in_leaf": 0.0,
        "lambda_l2": penalty,
        "boost_from_average": False,
        "verbose": -1,
        "num_threads": 1,
        "deterministic": True,
        "seed": 0,
    } | setting
    value = lightgbm.train(options, data, num_boost_round=1).predict(x, raw_score=True)
    inside, outside = value[half][0], value[~half][0]
    return None if inside == outside else (inside, outside)


def gradients(scores: np.ndarray, labels: np.ndarray, groups: list[int], setting: dict) -> np.ndarray:
    rng, rows, sums = np.random.default_rng(0), [], []
    for _ in range(6 * len(scores)):
        half = rng.permutation(len(scores)) < len(scores) // 2
        one, two = (leaves(scores, labels, groups, setting, half, c) for c in (1.0, 2.0))
        if one and two:
            for side, a, b in ((half, one[0], two[0]), (~half, one[1], two[1])):
                hessian = (2 * b - a) / (a - b)  # a (H + 1) = b (H + 2)
                rows.append(side.astype(float))
                sums.append(-a * (hessian + 1))
    answer, _, rank, _ = np.linalg.lstsq(np.array(rows), np.array(sums), rcond=None)
    assert rank == len(scores), "too few halves were split to tell the documents apart"
    assert np.abs(np.array(rows) @ answer - sums).max() < 1e-5, "the sums do not agree with each other"
    return answer


def main() -> None:
    rng = np.random.default_rng(7)
    groups = [4, 6, 9, 2]
    scores = np.concatenate([[1.2, 0.4, 1.9, -0.3], rng.normal(0, 1.5, sum(groups) - 4).round(2)])
    labels = np.concatenate([[1, 3, 0, 2], rng.permutation(6) % 4, rng.permutation(9) % 5, [0, 1]]).astype(float)
    answers = [
        setting | {"gradients": gradients(scores, labels, groups, setting).round(6).tolist()} for setting in SETTINGS
    ]
    record = {
        "witness": f"lightgbm {lightgbm.__version__}, objective lambdarank",
        "command": "python tests/golden/ask_lightgbm.py",
        "groups": groups,
        "scores": scores.tolist(),
        "labels": labels.tolist(),
        "answers": answers,
    }
    Path(__file__).with_name("losses_lightgbm.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
