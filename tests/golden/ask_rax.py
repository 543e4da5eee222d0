"""Asks rax for loss values and writes them to losses_rax.json.

    python tests/golden/ask_rax.py          (with an interpreter that has jax and rax; nothing of ltr is needed)

Values are written in our conventions; `converted` says how. Where rax means something else, the row says so instead of
being left out.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import types
from pathlib import Path

import jax
import jax.numpy as jnp

if not hasattr(jax, "util"):  # rax 0.4.0 decorates with jax.util.wraps, which later versions of jax no longer have
    jax.util = types.SimpleNamespace(wraps=lambda f, **names: lambda g: g)

import rax  # noqa: E402

jax.config.update("jax_enable_x64", True)

LISTS = [
    {"scores": [1.2, 0.4, 1.9, -0.3], "labels": [1, 3, 0, 2]},
    {"scores": [0.35, -1.2, 2.1, 0.8, 1.45, -0.6, 0.1, 1.0], "labels": [2, 0, 1, 0, 4, 0, 1, 3]},
]


def rows(scores, labels):
    s, y = jnp.asarray(scores), jnp.asarray(labels, dtype=scores.dtype)
    n, total = len(scores), float(y.sum())
    by_sum = {"reduce_fn": jnp.sum}
    yield "listnet", {"target": "lin"}, rax.softmax_loss(s, y) / total, "divided by sum y: rax takes raw labels"
    eps = 1 / total
    yield (
        "polysoftmax",
        {"target": "lin", "eps": eps},
        rax.poly1_softmax_loss(s, y) / total,
        (
            "divided by sum y; rax weighs its first term by sum y, not its second, "
            "so that its epsilon 1 is 1 / sum y here"
        ),
    )
    yield "uniquesoftmax", {"normalise": "none"}, rax.unique_softmax_loss(s, y), ""
    yield "listmle", {"normalise": "none"}, rax.listmle_loss(s, y), ""
    yield "ranknet", {"normalise": "none"}, rax.pairwise_logistic_loss(s, y, **by_sum), ""
    yield "hinge", {"normalise": "none"}, rax.pairwise_hinge_loss(s, y, **by_sum), ""
    yield "softzeroone", {"normalise": "none"}, rax.pairwise_soft_zero_one_loss(s, y, **by_sum), ""
    yield "pairwisemse", {"normalise": "none"}, rax.pairwise_mse_loss(s, y, **by_sum), ""
    yield "mse", {}, rax.pointwise_mse_loss(s, y), ""
    top = float(y.max())
    yield "bce", {"top": top}, rax.pointwise_sigmoid_loss(s, y / top), "labels divided by the largest"
    weighted = {"normalize": True}
    unit = "divided by n ln 2: rax multiplies by the length of the list and takes the natural logarithm"
    for k in (None, 2):
        how = {} if k is None else {"k": k}

        def lam(weight, k=k):
            def weigh(*a, **b):
                return weight(*a, **b, topn=k, **weighted)

            return rax.pairwise_logistic_loss(s, y, lambdaweight_fn=weigh, **by_sum) / (n * math.log(2))

        yield "lambdarank", how, lam(rax.dcg_lambdaweight), unit
        yield "ndcgloss2", how | ({} if k is None else {"truncation": "rescale"}), lam(rax.dcg2_lambdaweight), unit
    diff = rax.pairwise_logistic_loss(s, y, lambdaweight_fn=rax.labeldiff_lambdaweight, **by_sum)
    yield "ranknet", {"normalise": "none", "weighting": "labeldiff"}, diff, ""
    for t in (1.0, 0.1):
        value = 1 + rax.approx_t12n(rax.ndcg_metric, temperature=t)(s, y)
        yield "approxndcg", {"temperature": t}, value, "1 plus: rax returns minus the metric"
    yield "boundndcg", {}, 1 + rax.bound_t12n(rax.ndcg_metric)(s, y), "1 plus: rax returns minus the metric"


def main() -> None:
    answers: list[dict] = []
    for each in LISTS:
        for name, params, value, converted in rows(jnp.asarray(each["scores"]), each["labels"]):
            answers.append(
                {"loss": name, "params": params, "value": round(float(value), 9), "converted": converted}
                | {"list": LISTS.index(each)}
            )
    version = importlib.metadata.version
    record = {
        "witness": f"rax {version('rax')}, jax {version('jax')}, float64",
        "command": "python tests/golden/ask_rax.py",
        "lists": LISTS,
        "answers": answers,
    }
    Path(__file__).with_name("losses_rax.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
