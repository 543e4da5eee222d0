"""Slow, obvious numpy: the formulas as loops over the documents of one unpadded list, for comparison.

Nothing here is shared with the package, so that a mistake would have to be made twice.
"""

from __future__ import annotations

import math

import numpy as np


def gains(y, gain="exp2"):
    return [2.0**v - 1.0 if gain == "exp2" else float(v) for v in y]


def ranks(s):
    """1-based, by descending score; ties in the order of the list."""
    return [1 + sum(s[j] > s[i] or (s[j] == s[i] and j < i) for j in range(len(s))) for i in range(len(s))]


def ideal_dcg(y, gain="exp2", k=None):
    best = sorted(gains(y, gain), reverse=True)[:k]
    return sum(g / math.log2(1 + r) for r, g in enumerate(best, 1))


def ndcg(s, y, gain="exp2", k=None):
    ideal = ideal_dcg(y, gain, k)
    k = len(s) if k is None else k
    return sum(g / math.log2(1 + r) for g, r in zip(gains(y, gain), ranks(s), strict=True) if r <= k) / ideal


def softmax(x):
    e = [math.exp(v - max(x)) for v in x]
    return [v / sum(e) for v in e]


def pairs(y):
    return [(i, j) for i in range(len(y)) for j in range(len(y)) if y[i] > y[j]]


def counts(y, needs):
    return {"document": len(y) > 0, "gain": any(v > 0 for v in y), "pair": len(set(y)) > 1}[needs]


# ------------------------------------------------------------------------------------------------------------ losses


def mse(s, y, w):
    return sum(w[i] * (s[i] - y[i]) ** 2 for i in range(len(s))) / len(s)


def ranknet(s, y, w, weighting="none", normalise="pairs", sigma=1.0):
    v = {"none": lambda a, b: 1.0, "labeldiff": lambda a, b: a - b, "squarediff": lambda a, b: a * a - b * b}[weighting]
    total = sum(w[i] * v(y[i], y[j]) * np.logaddexp(0.0, -sigma * (s[i] - s[j])) for i, j in pairs(y))
    return total / len(pairs(y)) if normalise == "pairs" else total


def lambdarank(s, y, w, gain="exp2", k=None, truncation="discount", sigma=1.0, base=2.0):
    g, r, ideal, top = gains(y, gain), ranks(s), ideal_dcg(y, gain, k), math.inf if k is None else k
    total = 0.0
    for i, j in pairs(y):
        near, far = min(r[i], r[j]), max(r[i], r[j])
        rho = 1 / math.log2(1 + near) - 1 / math.log2(1 + far)
        if truncation == "discount":
            rho = (1 / math.log2(1 + near) if near <= top else 0) - (1 / math.log2(1 + far) if far <= top else 0)
        elif truncation == "either":
            rho *= near <= top
        elif truncation == "both":
            rho *= far <= top
        total += w[i] * (g[i] - g[j]) / ideal * rho * np.logaddexp(0.0, -sigma * (s[i] - s[j])) / math.log(base)
    return total


def listnet(s, y, w, target="gain", eps=0.0, temperature=1.0):
    if target == "soft":
        z = softmax([v / temperature for v in y])
    else:
        z = [v + eps for v in gains(y, "exp2" if target == "gain" else "linear")]
        z = [v / sum(z) for v in z]
    return sum(w[i] * z[i] * (np.logaddexp.reduce(s) - s[i]) for i in range(len(s)))


def listmle(s, y, w, normalise="documents"):
    drawn = sorted(range(len(s)), key=lambda i: -y[i])  # stable: ties in the order of the list
    total = 0.0
    for t, i in enumerate(drawn):
        total += w[i] * (np.logaddexp.reduce([s[j] for j in drawn[t:]]) - s[i])
    return total / len(s) if normalise == "documents" else total


LOSSES = {"mse": mse, "ranknet": ranknet, "lambdarank": lambdarank, "listnet": listnet, "listmle": listmle}
