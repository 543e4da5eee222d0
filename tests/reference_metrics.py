"""The witness of the measures: one list at a time, one rank at a time, in plain Python.

Nothing here is shared with `ltr.metrics` but the names of measures and which lists they call empty. Slow and obvious on
purpose.
"""

from __future__ import annotations

import itertools
import math
import random

from ltr.metrics import MEASURES


def reference(measure, scores, labels, doc_ids=None) -> float:
    """The value of one list under the measure's own tie rule; NaN where empty=skip leaves the list out."""
    labels, scores = [float(y) for y in labels], [float(s) for s in scores]
    if is_blank(measure, labels):
        return {"skip": math.nan, "0": 0.0, "1": 1.0}[measure.empty]
    if measure.short == "0" and len(labels) < measure.cutoff:
        return 0.0
    if MEASURES[measure.name].claims.get("scale"):
        return WITNESSES[measure.name](measure, scores, labels)
    groups = tie_groups(scores)
    if measure.name == "ExposureParity":  # of what each document is exposed to in expectation
        return exposure_parity(measure, exposures(measure, groups, labels, doc_ids), labels)
    if measure.ties == "order":
        return along(measure, [labels[i] for group in groups for i in group])
    if measure.ties == "worst":
        return along(measure, [y for group in groups for y in sorted(labels[i] for i in group)])
    if measure.ties == "docid":
        by_name = [sorted(group, key=lambda i: doc_ids[i], reverse=True) for group in groups]
        return along(measure, [labels[i] for group in by_name for i in group])
    # The expectation: every order of every tie group, all equally likely.
    orders = itertools.product(*(itertools.permutations(group) for group in groups))
    values = [along(measure, [labels[i] for group in order for i in group]) for order in orders]
    return math.fsum(values) / len(values)


def tie_groups(scores) -> list[list[int]]:
    groups: dict[float, list[int]] = {}
    for i, s in enumerate(scores):
        groups.setdefault(s, []).append(i)
    return [groups[s] for s in sorted(groups, reverse=True)]


WITNESSES = {}  # name of a measure -> the function below that says its value along one order


def witness(name):
    def keep(function):
        WITNESSES[name] = function
        return function

    return keep


def is_blank(measure, labels) -> bool:
    """Whether a list is one that `empty` is about; by what the measure claims of itself."""
    match MEASURES[measure.name].claims["blank"]:
        case "pair":
            return len(set(labels)) < 2
        case "relevant":
            return not any(y >= measure.rel for y in labels)
        case "gain":
            return not any(y > 0 for y in labels)
        case "contrast":
            return len({y >= measure.rel for y in labels}) < 2
        case "document":
            return not labels


def along(measure, ys) -> float:
    """The value of labels that stand in this order."""
    return WITNESSES[measure.name](measure, ys)


def first(measure, ys):
    return ys if measure.cutoff is None else ys[: measure.cutoff]


def gain(measure, y):
    return 2**y - 1 if measure.gain == "exp2" else y


def discount(measure, rank):
    if measure.discount == "letor":
        return 1.0 if rank <= 2 else 1 / math.log2(rank)
    return 1 / math.log2(1 + rank)


@witness("DCG")
def dcg(measure, ys):
    total = 0.0
    for rank, y in enumerate(first(measure, ys), start=1):
        total += gain(measure, y) * discount(measure, rank)
    return total


@witness("nDCG")
def ndcg(measure, ys):
    return dcg(measure, ys) / dcg(measure, sorted(ys, reverse=True))


@witness("MeanNDCG")
def mean_ndcg(measure, ys):
    best = sorted(ys, reverse=True)
    total = got = ideal = 0.0
    for rank, (y, z) in enumerate(zip(ys, best, strict=True), start=1):
        got += gain(measure, y) * discount(measure, rank)
        ideal += gain(measure, z) * discount(measure, rank)
        total += got / ideal
    return total / len(ys)


@witness("ERR")
def err(measure, ys):
    total, reading = 0.0, 1.0
    for rank, y in enumerate(first(measure, ys), start=1):
        stop = (2**y - 1) / 2**measure.max_grade
        total += reading * stop / rank
        reading *= 1 - stop
    return total


@witness("AP")
def ap(measure, ys):
    total = seen = 0
    for rank, y in enumerate(first(measure, ys), start=1):
        if y >= measure.rel:
            seen += 1
            total += seen / rank
    return total / sum(y >= measure.rel for y in ys)


@witness("RR")
def rr(measure, ys):
    for rank, y in enumerate(first(measure, ys), start=1):
        if y >= measure.rel:
            return 1 / rank
    return 0.0


@witness("P")
def precision(measure, ys):
    return sum(y >= measure.rel for y in first(measure, ys)) / measure.cutoff


@witness("R")
def recall(measure, ys):
    return sum(y >= measure.rel for y in first(measure, ys)) / sum(y >= measure.rel for y in ys)


@witness("RBP")
def rbp(measure, ys):
    total = 0.0
    for rank, y in enumerate(first(measure, ys), start=1):
        if y >= measure.rel:
            total += (1 - measure.p) * measure.p ** (rank - 1)
    return total


@witness("OPA")
def opa(measure, ys):
    pairs = right = 0
    for above, below in itertools.combinations(ys, 2):
        if above != below:
            pairs += 1
            right += above > below
    return right / pairs


@witness("Success")
def success(measure, ys):
    return float(any(y >= measure.rel for y in first(measure, ys)))


def letor4_script(labels_in_order, k: int) -> tuple[float, float, float]:
    """(NDCG@k, MeanNDCG, AP) of one list by the rule of LETOR 4.0's evaluation script, read as a recipe.

    Running DCG: the first document counts whole, the document at rank r >= 2 its gain over log2(r). A list without a
    positive ideal is 0; NDCG at a depth the list does not reach is 0; MeanNDCG divides by the list's length.
    """

    def running(ys):
        out = []
        for rank, y in enumerate(ys, start=1):
            if rank == 1:
                out.append(2**y - 1)
            else:
                out.append(out[-1] + (2**y - 1) * math.log(2) / math.log(rank))
        return out

    got, best = running(labels_in_order), running(sorted(labels_in_order, reverse=True))
    ndcgs = [g / b if b > 0 else 0.0 for g, b in zip(got, best, strict=True)]
    at_k = ndcgs[k - 1] if len(ndcgs) >= k else 0.0
    hits, precisions = 0, []
    for rank, y in enumerate(labels_in_order, start=1):
        if y in (1, 2):
            hits += 1
            precisions.append(hits / rank)
    return at_k, sum(ndcgs) / len(ndcgs), sum(precisions) / len(precisions) if precisions else 0.0


def sign_flip_p(a, b) -> float:
    """Exact two-sided p of a paired randomisation test: all 2^n relabellings."""
    d = [x - y for x, y in zip(a, b, strict=True)]
    observed = abs(math.fsum(d))
    patterns = list(itertools.product((1, -1), repeat=len(d)))
    return sum(abs(math.fsum(s * x for s, x in zip(p, d, strict=True))) >= observed - 1e-9 for p in patterns) / len(
        patterns
    )


def holm_steps(p) -> list[float]:
    """Holm, 1979, one step at a time."""
    adjusted, worst = [0.0] * len(p), 0.0
    for step, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        worst = max(worst, min(1.0, (len(p) - step) * p[i]))
        adjusted[i] = worst
    return adjusted


def random_lists(seed: int, n: int, longest: int, grades: int = 5, levels: int = 4):
    """n lists of up to `longest` documents with many ties; some blank, some of one document, some empty."""
    rng = random.Random(seed)
    lists = []
    for i in range(n):
        length = 0 if i == 3 else 1 if i == 5 else rng.randint(1, longest)
        top = 0 if i % 7 == 2 else grades - 1
        lists.append(
            (
                [rng.randint(0, levels - 1) / 4 - 0.5 for _ in range(length)],
                [rng.randint(0, top) for _ in range(length)],
            )
        )
    return lists


@witness("Exposure")
def exposure(measure, ys):
    seen = [discount(measure, rank) for rank, _ in enumerate(first(measure, ys), start=1)]
    group = [d for d, y in zip(seen, ys, strict=False) if y >= measure.rel]
    return sum(group) / sum(seen)


@witness("alphaNDCG")
def alpha_ndcg(measure, ys):
    def next_gain(shown, y):
        return (1 - measure.alpha) ** shown.count(y) if y > 0 else 0.0

    def total(order):
        return sum(next_gain(order[:r], y) * discount(measure, r + 1) for r, y in enumerate(first(measure, order)))

    # The best order, greedily: always what gains most now. One category a document: nothing better is given away.
    best, rest = [], list(ys)
    while rest:
        best.append(rest.pop(max(range(len(rest)), key=lambda i: next_gain(best, rest[i]))))
    return total(list(ys)) / total(best)


def exposures(measure, groups, labels, doc_ids):
    """The discount at which each document is seen, the mean over the orders that the rule for ties allows."""
    sort = {"order": list, "worst": lambda g: sorted(g, key=lambda i: labels[i])}
    sort["docid"] = lambda g: sorted(g, key=lambda i: doc_ids[i], reverse=True)
    ways = [list(itertools.permutations(g)) if measure.ties == "mean" else [sort[measure.ties](g)] for g in groups]
    seen, above = [0.0] * len(labels), 0
    for group, orders in zip(groups, ways, strict=True):
        for order in orders:
            for rank, i in enumerate(order, start=above + 1):
                seen[i] += (discount(measure, rank) if rank <= (measure.cutoff or rank) else 0.0) / len(orders)
        above += len(group)
    return seen


@witness("ExposureParity")
def exposure_parity(measure, seen, ys):
    group, others = ([e for e, y in zip(seen, ys, strict=True) if (y >= measure.rel) == g] for g in (True, False))
    low, high = sorted((sum(group) / len(group), sum(others) / len(others)))
    return low / high


@witness("ERR-IA")
def err_ia(measure, ys):
    def one_intent(c):
        total, reading = 0.0, 1.0
        for rank, y in enumerate(first(measure, ys), start=1):
            if y == c:
                total, reading = total + reading * measure.alpha / rank, reading * (1 - measure.alpha)
        return total

    intents = {y for y in ys if y > 0}
    return sum(map(one_intent, intents)) / len(intents)


@witness("nDCG-IA")
def ndcg_ia(measure, ys):
    def dcg_of(c, order):
        return sum(discount(measure, r) for r, y in enumerate(first(measure, order), start=1) if y == c)

    intents = {y for y in ys if y > 0}
    return sum(dcg_of(c, ys) / dcg_of(c, sorted(ys, key=lambda y: y != c)) for c in intents) / len(intents)


def shares(measure, scores, ys):
    predicted = [1 / (1 + math.exp(-s)) if measure.link == "sigmoid" else s / measure.max_grade for s in scores]
    return [(p, y / measure.max_grade) for p, y in zip(predicted, ys, strict=True)]


@witness("NegBrier")
def neg_brier(measure, scores, ys):
    return -sum((p - t) ** 2 for p, t in shares(measure, scores, ys)) / len(ys)


@witness("NegLogLoss")
def neg_log_loss(measure, scores, ys):
    total = 0.0
    for p, t in shares(measure, scores, ys):
        p = min(max(p, 1e-7), 1 - 1e-7)
        total += t * math.log(p) + (1 - t) * math.log(1 - p)
    return total / len(ys)


@witness("NegECE")
def neg_ece(measure, scores, ys):
    bins = {}
    for p, t in shares(measure, scores, ys):
        bins.setdefault(min(max(math.floor(p * measure.bins), 0), measure.bins - 1), []).append((p, t))
    return -sum(abs(sum(p for p, _ in b) - sum(t for _, t in b)) for b in bins.values()) / len(ys)
