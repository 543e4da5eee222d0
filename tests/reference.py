"""Slow, obvious numpy: the formulas as loops over the documents of one unpadded list, for comparison.

Nothing here is shared with the package, so that a mistake would have to be made twice.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.integrate import quad


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
    contrast = any(v > 0 for v in y) and not all(v > 0 for v in y)
    return {"document": len(y) > 0, "pair": len(set(y)) > 1, "contrast": contrast}[needs]


# ------------------------------------------------------------------------------------------------------------ losses


def mse(s, y, w):
    return sum(w[i] * (s[i] - y[i]) ** 2 for i in range(len(s))) / len(s)


def mae(s, y, w):
    return sum(w[i] * abs(s[i] - y[i]) for i in range(len(s))) / len(s)


def huber(s, y, w, delta=1.0):
    def h(e):
        return e * e / 2 if e <= delta else delta * (e - delta / 2)

    return sum(w[i] * h(abs(s[i] - y[i])) for i in range(len(s))) / len(s)


def bce(s, y, w, top=4.0):
    total = 0.0
    for i in range(len(s)):
        t = min(y[i] / top, 1)  # cross entropy of the share t against sg(s)
        total += w[i] * (t * np.logaddexp(0, -s[i]) + (1 - t) * np.logaddexp(0, s[i]))
    return total / len(s)


def ordinal(s, y, w, boundaries=(0.5, 1.5, 2.5, 3.5)):
    total = 0.0
    for i in range(len(s)):
        for k, b in enumerate(boundaries, 1):
            total += w[i] * np.logaddexp(0, -(s[i] - b) if y[i] >= k else s[i] - b)
    return total / len(s)


def gradedce(s, y, w, boundaries=(0.5, 1.5, 2.5, 3.5)):
    total = 0.0
    for i in range(len(s)):
        logits = [k * s[i] - sum(boundaries[:k]) for k in range(len(boundaries) + 1)]
        grade = min(max(y[i], 0), len(boundaries))
        low, share = int(grade), grade - int(grade)
        ends = [(low, 1 - share)] + ([(low + 1, share)] if share else [])
        total += w[i] * sum(part * (np.logaddexp.reduce(logits) - logits[g]) for g, part in ends)
    return total / len(s)


def _pair_loss(s, y, w, phi, weighting="none", normalise="pairs", k=None):
    v = {"none": lambda a, b: 1.0, "labeldiff": lambda a, b: a - b, "squarediff": lambda a, b: a * a - b * b}[weighting]
    r = ranks(s)
    kept = [(i, j) for i, j in pairs(y) if k is None or min(r[i], r[j]) <= k]
    total = sum(w[i] * v(y[i], y[j]) * phi(s[i] - s[j], y[i] - y[j]) for i, j in kept)
    return total / max(len(kept), 1) if normalise == "pairs" else total


def ranknet(s, y, w, sigma=1.0, **options):
    return _pair_loss(s, y, w, lambda x, gap: np.logaddexp(0.0, -sigma * x), **options)


def hinge(s, y, w, margin=1.0, per="pair", power=1, **options):
    def phi(x, gap):
        return max(0.0, margin * (gap if per == "grade" else 1) - x) ** power

    return _pair_loss(s, y, w, phi, **options)


def exponential(s, y, w, **options):
    def phi(x, gap):  # beyond -30 the tangent there
        return math.exp(-x) if x >= -30 else math.exp(30) * (1 - (x + 30))

    return _pair_loss(s, y, w, phi, **options)


def softzeroone(s, y, w, sigma=1.0, **options):
    return _pair_loss(s, y, w, lambda x, gap: 0.5 - 0.5 * math.tanh(sigma * x / 2), **options)


def pairwisemse(s, y, w, normalise="pairs"):
    n = len(s)
    total = sum(w[i] * ((y[i] - y[j]) - (s[i] - s[j])) ** 2 for i in range(n) for j in range(n))
    return total / n**2 if normalise == "pairs" else total


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


def lost(s, i, j, sigma=1.0, base=2.0):
    return np.logaddexp(0.0, -sigma * (s[i] - s[j])) / math.log(base)


def lambdarank_lightgbm(s, y, w, k=30, sigma=1.0):
    value, _ = _lightgbm(s, y, w, k, sigma)
    return value


def _lightgbm(s, y, w, k=30, sigma=1.0):
    """Value and gradient, as LightGBM's loop has it."""
    g, r, ideal = gains(y), ranks(s), ideal_dcg(y, "exp2", k)
    pull, value, gradient = 0.0, 0.0, [0.0] * len(s)
    for i, j in pairs(y):
        if k is not None and min(r[i], r[j]) > k:
            continue
        omega = (g[i] - g[j]) / ideal * abs(1 / math.log2(1 + r[i]) - 1 / math.log2(1 + r[j]))
        if max(s) != min(s):
            omega /= 0.01 + abs(s[i] - s[j])
        slope = sigma * omega * (0.5 - 0.5 * math.tanh(sigma * (s[i] - s[j]) / 2))
        pull += 2 * slope
        value += w[i] * omega * lost(s, i, j, sigma, math.e)
        gradient[i] -= w[i] * slope
        gradient[j] += w[i] * slope
    norm = math.log2(1 + pull) / pull if pull > 0 else 1.0
    return norm * value, [norm * v for v in gradient]


def ndcgloss1(s, y, w, gain="exp2", sigma=1.0, base=2.0):
    g, r, ideal = gains(y, gain), ranks(s), ideal_dcg(y, gain)
    total = 0.0
    for i in range(len(s)):
        for j in range(len(s)):
            if i != j:
                total += w[i] * g[i] / ideal / math.log2(1 + r[i]) * lost(s, i, j, sigma, base)
    return total


def ndcgloss2(s, y, w, gain="exp2", k=None, truncation="either", sigma=1.0, base=2.0, mu=None):
    g, r, ideal, top = gains(y, gain), ranks(s), ideal_dcg(y, gain, k), math.inf if k is None else k
    total = 0.0
    for i, j in pairs(y):
        near, far = min(r[i], r[j]), max(r[i], r[j])
        if (truncation == "either" and near > top) or (truncation == "both" and far > top):
            continue
        delta = 1 / math.log2(1 + far - near) - 1 / math.log2(2 + far - near)
        if truncation == "rescale" and far > top:
            delta /= 1 - 1 / math.log2(1 + far)
        rho = 1 / math.log2(1 + near) - 1 / math.log2(1 + far)
        omega = delta if mu is None else rho + mu * delta
        total += w[i] * (g[i] - g[j]) / ideal * omega * lost(s, i, j, sigma, base)
    return total


def ndcgloss2pp(s, y, w, mu=10.0, **options):
    return ndcgloss2(s, y, w, mu=mu, **options)


def arploss1(s, y, w, sigma=1.0, base=2.0):
    n = len(s)
    return sum(w[i] * y[i] * lost(s, i, j, sigma, base) for i in range(n) for j in range(n) if i != j)


def arploss2(s, y, w, sigma=1.0, base=2.0):
    return sum(w[i] * (y[i] - y[j]) * lost(s, i, j, sigma, base) for i, j in pairs(y))


def precision(r, y, k):
    return sum(v > 0 and rank <= k for v, rank in zip(y, r, strict=True)) / k


def reciprocal_rank(r, y, k=None):
    first = min((rank for v, rank in zip(y, r, strict=True) if v > 0), default=math.inf)
    return 1 / first if first <= (math.inf if k is None else k) else 0.0


def average_precision(r, y):
    found = sorted(rank for v, rank in zip(y, r, strict=True) if v > 0)
    return sum(m / rank for m, rank in enumerate(found, 1)) / max(len(found), 1)


def _change(measure, s, y, w, sigma, base):
    """Pairs of a relevant and another document, weighted by what the measure says after an actual swap."""
    total, r = 0.0, ranks(s)
    before = measure(r, y)
    for i, j in pairs([v > 0 for v in y]):
        swapped = list(r)
        swapped[i], swapped[j] = r[j], r[i]
        total += w[i] * abs(measure(swapped, y) - before) * lost(s, i, j, sigma, base)
    return total


def lambdaprecision(s, y, w, k=5, sigma=1.0, base=2.0):
    return _change(lambda a, b: k * precision(a, b, k), s, y, w, sigma, base)


def lambdamrr(s, y, w, k=None, sigma=1.0, base=2.0):
    return _change(lambda a, b: reciprocal_rank(a, b, k), s, y, w, sigma, base)


def lambdamap(s, y, w, sigma=1.0, base=2.0):
    return _change(average_precision, s, y, w, sigma, base)


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


def polysoftmax(s, y, w, target="gain", eps=1.0):
    z = softmax(y) if target == "soft" else gains(y, "exp2" if target == "gain" else "linear")
    p = softmax(s)
    return listnet(s, y, w, target) + eps * sum(w[i] * z[i] / sum(z) * (1 - p[i]) for i in range(len(s)))


def uniquesoftmax(s, y, w, gain="exp2", normalise="gains"):
    total, g = 0.0, gains(y, gain)
    for i in range(len(s)):
        total += w[i] * g[i] * (np.logaddexp.reduce([s[i]] + [s[j] for j in range(len(s)) if y[j] < y[i]]) - s[i])
    return total / sum(g) if normalise == "gains" else total


def xendcg(s, y, w):
    phi = [2.0**v - 0.5 for v in y]
    return sum(w[i] * phi[i] / sum(phi) * (np.logaddexp.reduce(s) - s[i]) for i in range(len(s)))


def plistmle(s, y, w, normalise="stages"):
    drawn, n = sorted(range(len(s)), key=lambda i: -y[i]), len(s)
    total, weights = 0.0, [2 ** (n - t) - 1 for t in range(1, n + 1)]
    for t, i in enumerate(drawn):
        total += w[i] * weights[t] * (np.logaddexp.reduce([s[j] for j in drawn[t:]]) - s[i])
    return total / sum(weights) if normalise == "stages" else total


def plackettluce(s, y, w, normalise="documents"):
    total = 0.0
    for grade in sorted(set(y))[1:]:
        here, below = [i for i in range(len(s)) if y[i] == grade], [s[j] for j in range(len(s)) if y[j] < grade]
        rest = np.logaddexp.reduce(below)
        if len(here) == 1:
            log_chance = -np.logaddexp(0, rest - s[here[0]])
        else:  # u the chance that none of the rest has rung yet
            powers = [math.exp(s[i] - rest) for i in here]
            area = quad(lambda u, p=powers: math.prod(1 - u**a for a in p), 0, 1, epsabs=0, epsrel=1e-11, limit=500)[0]
            log_chance = math.log(area)
        total -= sum(w[i] for i in here) / len(here) * log_chance
    return total / len(s) if normalise == "documents" else total


def plrank(s, y, w, samples=8, gain="exp2", k=10):
    return _plrank(s, y, w, gain, k)[0]


def _plrank(s, y, w, gain="exp2", k=10):
    """Without samples: one ranking, the sorted one. The formula of the estimator, a term at a time."""
    n, r, g, ideal = len(s), ranks(s), gains(y, gain), ideal_dcg(y, gain, k)
    order = sorted(range(n), key=lambda i: r[i])
    top = n if k is None else min(k, n)
    d = [1 / math.log2(2 + t) if t < top else 0.0 for t in range(n)]
    reward = [w[order[t]] * g[order[t]] / ideal * d[t] for t in range(n)]
    gradient = [0.0] * n
    for i in range(n):
        slope = sum(reward[r[i] :])
        for t in range(min(r[i], top)):
            chance = math.exp(s[i] - np.logaddexp.reduce([s[j] for j in order[t:]]))
            slope += chance * (w[i] * g[i] / ideal * d[t] - sum(reward[t:]))
        gradient[i] = -slope
    value = sum(w[i] * g[i] for i in range(n)) / sum(g) - sum(reward)
    return value, gradient


def soft_rank(s, i, among, f):
    return 1 + sum(f(s[i] - s[j]) for j in among if j != i)


def _sigmoid(temperature):
    return lambda x: 0.5 - 0.5 * math.tanh(x / temperature / 2)


def _normal(deviation):
    return lambda x: 0.5 + 0.5 * math.erf(-x / (2 * deviation))


def _surely(kind, scale):
    if kind == "hinge":
        return lambda x: max(0.0, 1 - x / scale)
    return lambda x: np.logaddexp(0, -x / scale) / math.log(2)


def _soft_inside(r, k, cut):
    return 1.0 if k is None else 0.5 + 0.5 * math.tanh((k + 0.5 - r) / cut / 2)


def _smooth_ndcg(s, y, w, gain, k, f, inside):
    g, ideal, everyone = gains(y, gain), ideal_dcg(y, gain, k), range(len(s))
    r = [soft_rank(s, i, everyone, f) for i in everyone]
    return sum(w[i] * (g[i] / sum(g) - g[i] / ideal / math.log2(1 + r[i]) * inside(r[i])) for i in everyone)


def _smooth_mrr(s, y, w, f):
    r = [soft_rank(s, i, range(len(s)), f) for i in range(len(s))]
    return sum(w[i] * y[i] / sum(y) * (1 - 1 / r[i]) for i in range(len(s)))


def approxndcg(s, y, w, gain="exp2", k=None, temperature=0.1, cut=0.5):
    return _smooth_ndcg(s, y, w, gain, k, _sigmoid(temperature), lambda r: _soft_inside(r, k, cut))


def softrank(s, y, w, gain="exp2", k=None, deviation=0.1, cut=0.5):
    return _smooth_ndcg(s, y, w, gain, k, _normal(deviation), lambda r: _soft_inside(r, k, cut))


def approxmrr(s, y, w, temperature=0.1):
    return _smooth_mrr(s, y, w, _sigmoid(temperature))


def approxap(s, y, w, temperature=0.1):
    found, f = [i for i in range(len(s)) if y[i] > 0], _sigmoid(temperature)
    precisions = [soft_rank(s, i, found, f) / soft_rank(s, i, range(len(s)), f) for i in found]
    return sum(w[i] * (1 - p) for i, p in zip(found, precisions, strict=True)) / len(found)


def adrmse(s, y, w, temperature=1.0):
    total, everyone = 0.0, range(len(s))
    for i in everyone:
        r = 1 + sum(1.0 if y[j] > y[i] else 0.5 if y[j] == y[i] else 0.0 for j in everyone if j != i)
        total += w[i] * (r - soft_rank(s, i, everyone, _sigmoid(temperature))) ** 2 / math.log2(1 + r)
    return total / len(s)


def boundndcg(s, y, w, gain="exp2", kind="hinge", scale=1.0):
    return _smooth_ndcg(s, y, w, gain, None, _surely(kind, scale), lambda r: 1.0)


def boundmrr(s, y, w, kind="hinge", scale=1.0):
    return _smooth_mrr(s, y, w, _surely(kind, scale))


def gumbel(s, y, w, samples=8, scale=1.0):
    return approxndcg(s, y, w)  # without noise


def neural_sort(s, temperature=1.0):
    """Log of NeuralSort's matrix."""
    s, n = np.array(s), len(s)
    rows = [((n + 1 - 2 * i) * s - np.abs(s[:, None] - s[None, :]).sum(1)) / temperature for i in range(1, n + 1)]
    return np.array([row - np.logaddexp.reduce(row) for row in rows])


def sinkhorn(log_p):
    """The doubly stochastic matrix diag(u) P diag(v), by turns, until nothing moves."""
    for _ in range(20000):
        log_p = log_p - np.logaddexp.reduce(log_p, axis=0, keepdims=True)
        log_p = log_p - np.logaddexp.reduce(log_p, axis=1, keepdims=True)
        if np.abs(np.exp(log_p).sum(0) - 1).max() < 1e-12:
            break
    return np.exp(log_p)


def _sorted_ndcg(matrix, y, w, gain, k):
    g = np.array(gains(y, gain))
    d = [1 / math.log2(1 + r) if k is None or r <= k else 0.0 for r in range(1, len(y) + 1)]
    return (g * w).sum() / g.sum() - d @ matrix @ (g * w) / ideal_dcg(y, gain, k)


def neuralndcg(s, y, w, gain="exp2", k=None, temperature=1.0):
    return _sorted_ndcg(sinkhorn(neural_sort(s, temperature)), y, w, gain, k)


def pirank(s, y, w, gain="exp2", k=None, temperature=1.0):
    return _sorted_ndcg(np.exp(neural_sort(s, temperature)), y, w, gain, k)


def sortnetndcg(s, y, w, gain="exp2", k=None, steepness=10.0, swap="cauchy"):
    """The soft permutation matrix, one compare-and-swap after the other, on a list that enters worst label first."""
    n = len(s)
    enter = sorted(range(n), key=lambda i: (y[i], s[i]))
    x, matrix, width = [s[i] for i in enter], np.eye(n), 1
    while width < n:
        width *= 2
        comparisons = [[(a, a ^ (width - 1)) for a in range(n)]]
        half = width // 4
        while half:
            comparisons.append([(a, a ^ half) for a in range(n)])
            half //= 2
        for layer in comparisons:
            for a, b in layer:
                if a < b < n:
                    f = math.atan(steepness * (x[a] - x[b])) / math.pi + 0.5
                    if swap == "logistic":
                        f = 0.5 + 0.5 * math.tanh(steepness * (x[a] - x[b]) / 2)
                    x[a], x[b] = f * x[a] + (1 - f) * x[b], f * x[b] + (1 - f) * x[a]
                    matrix[[a, b]] = np.array([[f, 1 - f], [1 - f, f]]) @ matrix[[a, b]]
    return _sorted_ndcg(matrix, [y[i] for i in enter], [w[i] for i in enter], gain, k)


def calibratedsoftmax(s, y, w, anchor=1.0):
    normaliser = float(np.logaddexp.reduce([*s, 0.0]))
    return sum(w[i] * y[i] * (normaliser - s[i]) for i in range(len(s))) + anchor * sum(w) / len(w) * normaliser


def rcr(s, y, w, share=0.5, top=4.0):
    t = [min(v / top, 1.0) for v in y]
    log_sigmoid = [-float(np.logaddexp(0, -v)) for v in s]
    normaliser = float(np.logaddexp.reduce(log_sigmoid))
    by_list = -sum(w[i] * t[i] / sum(t) * (log_sigmoid[i] - normaliser) for i in range(len(s)) if t[i] > 0)
    return (1 - share) * bce(s, y, w, top) + share * by_list


def exposureparity(s, y, w, temperature=0.1):
    everyone = range(len(s))
    seen = [1 / math.log2(1 + soft_rank(s, i, everyone, _sigmoid(temperature))) for i in everyone]
    group, others = ([i for i in everyone if (y[i] > 0) == g] for g in (True, False))

    def gap(v):
        return sum(v[i] * seen[i] for i in others) / len(others) - sum(v[i] * seen[i] for i in group) / len(group)

    return gap([1.0] * len(s)) * gap(w) / (sum(seen) / len(s)) ** 2


def alphandcg(s, y, w, alpha=0.5, k=None, temperature=0.1, cut=0.5):
    f, everyone = _sigmoid(temperature), range(len(s))
    seen, alone = {}, []
    for v in y:
        alone.append((1 - alpha) ** seen.get(v, 0) if v > 0 else 0.0)
        seen[v] = seen.get(v, 0) + 1
    ideal = sum(g / math.log2(1 + r) for r, g in enumerate(sorted(alone, reverse=True)[:k], 1))
    total = 0.0
    for i in everyone:
        if y[i] > 0:
            r, own = (
                soft_rank(s, i, [j for j in everyone if same is None or y[j] == same], f) for same in (None, y[i])
            )
            added = (1 - alpha) ** (own - 1) / math.log2(1 + r) * _soft_inside(r, k, cut) / ideal
            total += w[i] * (1 / sum(v > 0 for v in y) - added)
    return total


LOSSES = {
    f.__name__: f
    for f in (
        mse,
        mae,
        huber,
        bce,
        ordinal,
        gradedce,
        ranknet,
        hinge,
        exponential,
        softzeroone,
        pairwisemse,
        lambdarank,
        lambdarank_lightgbm,
        ndcgloss1,
        ndcgloss2,
        ndcgloss2pp,
        arploss1,
        arploss2,
        lambdaprecision,
        lambdamrr,
        lambdamap,
        listnet,
        polysoftmax,
        uniquesoftmax,
        xendcg,
        listmle,
        plistmle,
        plackettluce,
        plrank,
        approxndcg,
        softrank,
        approxmrr,
        approxap,
        adrmse,
        boundndcg,
        boundmrr,
        gumbel,
        neuralndcg,
        pirank,
        sortnetndcg,
        calibratedsoftmax,
        rcr,
        exposureparity,
        alphandcg,
    )
}

# Gradients that are defined and are not those of the value.
GRADIENTS = {
    "lambdarank_lightgbm": lambda *args, **params: _lightgbm(*args, **params)[1],
    "plrank": lambda *args, **params: _plrank(*args, **params)[1],
}
