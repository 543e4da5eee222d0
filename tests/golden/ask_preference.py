"""States the official public formulas of preference losses in plain numpy and writes their values to preference.json.

    python tests/golden/ask_preference.py

Each function below is one formula as its public code has it, for one pair or one list, with log-probabilities replaced
by scores. Nothing is shared with the package. The certainty beside each says how the formula is known: "read" in the
official code, "recalled" from the paper and not checked against it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np


def logsigmoid(x):
    return -np.logaddexp(0.0, -x)


# ------------------------------------------------------------------------------------ one pair (w preferred to l)


def modpo(pi_w, pi_l, ref_w, ref_l, beta, w, reward_w, reward_l, loss_type):
    """ZHZisZZ/modpo, modpo_loss: w[0] weighs this objective, w[1:] those of the margin rewards."""
    chosen = (1 / w[0]) * (beta * (pi_w - ref_w) - reward_w @ w[1:])
    rejected = (1 / w[0]) * (beta * (pi_l - ref_l) - reward_l @ w[1:])
    logits = chosen - rejected
    return -logsigmoid(logits) if loss_type == "sigmoid" else max(1 - logits, 0.0)


def mallows_dpo(pi_w, pi_l, ref_w, ref_l, beta, entropy, constant=0.29):
    """haoxian-chen/MallowsPO, loss_type mallows_dpo."""
    logits = (pi_w - pi_l) - (ref_w - ref_l)
    return -logsigmoid(beta * logits * (-constant * np.log(entropy)))


def mallows_ipo(pi_w, pi_l, ref_w, ref_l, beta, entropy, constant=0.29):
    """haoxian-chen/MallowsPO, loss_type mallows_ipo."""
    logits = (pi_w - pi_l) - (ref_w - ref_l)
    return (-constant * np.log(entropy) * logits - 1 / (2 * beta)) ** 2


def mallows_theta(pi_w, pi_l, ref_w, ref_l, beta, phi):
    """2405.14953, Spearman distance [recalled]."""
    return -logsigmoid(-2 * np.log(phi) * beta * ((pi_w - pi_l) - (ref_w - ref_l)))


def ipo(pi_w, pi_l, ref_w, ref_l, beta):
    """The ipo branch of the same trainer."""
    return ((pi_w - pi_l) - (ref_w - ref_l) - 1 / (2 * beta)) ** 2


def focalpo(pi_w, pi_l, ref_w, ref_l, beta, gamma):
    """2501.06645 [recalled]."""
    p = 1 / (1 + np.exp(-beta * ((pi_w - pi_l) - (ref_w - ref_l))))
    return -(p**gamma) * np.log(p)


def minordpo(pi_w, pi_l, ref_w, ref_l, beta):
    """2408.09834 [recalled]."""
    return -logsigmoid(beta * (pi_w - ref_w) - max(0.0, beta * (pi_l - ref_l)))


def mrpo(pi_w, pi_l, ref_w, ref_l, ref2_w, ref2_l, beta, eta, adaptive, naive):
    """thaihungle/MRPO, get_batch_loss_metrics; `naive` is its Multi-DPO branch."""
    alpha = abs(ref_w - ref_l) / (abs(ref_w - ref_l) + abs(ref2_w - ref2_l) + 1e-6)
    eta1 = eta2 = eta
    if adaptive:
        b1, b2 = (ref2_w + ref_w) / 2, (ref2_l + ref_l) / 2
        scale = abs(b1) / (abs(b1) + abs(b2))
        eta1, eta2 = eta1 * scale, eta2 * (1 - scale)

    def clip(one, two, width):
        return min(max(one, two * (1 + width)), two * (1 - width))

    def both(one, two):
        return one + two - np.log(alpha * np.exp(one) + (1 - alpha) * np.exp(two))

    def dpo(r_w, r_l):
        return -logsigmoid(beta * ((pi_w - pi_l) - (r_w - r_l)))

    one_w, one_l = clip(ref_w, ref2_w, eta1), clip(ref_l, ref2_l, eta2)
    if naive:
        return dpo(one_w, one_l) * alpha + dpo(ref2_w, ref2_l) * (1 - alpha)
    return dpo(both(one_w, ref2_w), both(one_l, ref2_l))


# --------------------- one list, sorted by label, best first (zhaoyang02/ordinal-preference-optimization, read)


def opo_pairs(logratios, beta, pairwise_type):
    diffs = logratios[:, None] - logratios[None, :]
    if pairwise_type == "all_pairs":
        diffs = diffs[np.triu_indices(len(logratios), 1)]
    else:
        diffs = diffs[0, 1:] if pairwise_type == "best_with_others" else diffs[0, -1:]
    return -logsigmoid(beta * diffs)


def opo_hinge(logratios, beta):
    diffs = (logratios[:, None] - logratios[None, :])[np.triu_indices(len(logratios), 1)]
    return np.maximum(1 - beta * diffs, 0)


def opo_list_mle(logratios, beta):
    e, likelihood = np.exp(beta * logratios), 1.0
    for k in range(len(e)):
        likelihood *= e[k] / e[k:].sum()
    return -np.log(likelihood)


def opo_lipo(logratios, labels, beta):
    by_score = np.argsort(-logratios)
    u, y = beta * logratios[by_score], labels[by_score]
    discount = 1 / np.log2(2 + np.arange(len(u)))
    gain = (2**y - 1) / ((2 ** np.sort(y)[::-1] - 1) * discount).sum()
    weights = np.abs(discount[:, None] - discount[None]) * np.abs(gain[:, None] - gain[None])
    losses = weights * logsigmoid(u[:, None] - u[None])
    return -losses[(y[:, None] - y[None]) > 0].mean()


def opo_approx_ndcg(logratios, labels, beta, alpha=25.0):
    u = beta * logratios
    place = 0.5 + (1 / (1 + np.exp(alpha * (u[:, None] - u[None])))).sum(-1)
    gain = 2**labels - 1  # sorted by label: the ideal order is the given one
    return -(gain / np.log2(1 + place)).sum() / (gain / np.log2(2 + np.arange(len(u)))).sum()


# ---------------------------------------------------------------------------------------------------------- asking


def answers(case: dict) -> list[dict]:
    s, ref, ref2, y = (np.array(case[k]) for k in ("scores", "reference", "reference2", "labels"))
    rewards, w, beta, entropy = np.array(case["rewards"]), np.array(case["preference"]), case["beta"], case["entropy"]
    pairs = [(i, j) for i in range(len(s)) for j in range(len(s)) if y[i] > y[j]]
    log_p1, log_p2 = (r - np.logaddexp.reduce(r) for r in (ref, ref2))

    def mean(f, *options):
        return float(np.mean([f(s[i], s[j], ref[i], ref[j], beta, *options) for i, j in pairs]))

    def margin(loss_type):
        return float(
            np.mean(
                [
                    modpo(s[i], s[j], ref[i], ref[j], beta, w, rewards[i, 1:], rewards[j, 1:], loss_type)
                    for i, j in pairs
                ]
            )
        )

    def two(adaptive, naive):
        return float(
            np.mean(
                [
                    mrpo(s[i], s[j], log_p1[i], log_p1[j], log_p2[i], log_p2[j], beta, 0.3, adaptive, naive)
                    for i, j in pairs
                ]
            )
        )

    best_first = np.argsort(-y)
    ratios, sorted_labels = (s - ref)[best_first], y[best_first]
    dispersion = -0.29 * np.log(entropy)
    opo = [
        ("dpo", {"pairs": ours}, opo_pairs(ratios, beta, theirs).mean(), "read")
        for ours, theirs in (("all", "all_pairs"), ("best_with_others",) * 2, ("best_with_worst",) * 2)
    ]
    rows = [
        ("modpo", {}, margin("sigmoid"), "read"),
        ("modpo", {"curve": "hinge"}, margin("hinge"), "read"),
        ("mallowspo", {"dispersion": dispersion}, mean(mallows_dpo, entropy), "read"),
        ("mallowspo", {"dispersion": dispersion, "form": "ipo"}, mean(mallows_ipo, entropy), "read"),
        ("mallowspo", {"dispersion": -2 * np.log(0.7)}, mean(mallows_theta, 0.7), "recalled"),
        ("ipo", {}, mean(ipo), "read"),
        ("focalpo", {"gamma": 0.05}, mean(focalpo, 0.05), "recalled"),
        ("minordpo", {}, mean(minordpo), "recalled"),
        *(
            ("mrpo", {"eta": 0.3, "clipping": clip, "form": form}, two(clip == "adaptive", form == "multi"), "read")
            for clip in ("fixed", "adaptive")
            for form in ("mixed", "multi")
        ),
        *opo,
        ("hinge-dpo", {}, opo_hinge(ratios, beta).mean(), "read"),
        ("listmle-dpo", {"normalise": "none"}, opo_list_mle(ratios, beta), "read"),
        ("lipo", {}, opo_lipo(ratios, sorted_labels, beta), "read"),
        # Public code descends minus the measure, the catalogue 1 minus it.
        ("approxndcg-dpo", {"temperature": 1 / 25}, 1 + opo_approx_ndcg(ratios, sorted_labels, beta), "read"),
    ]
    return [
        {
            "loss": name,
            "params": {k: v if isinstance(v, str) else float(v) for k, v in params.items()},
            "value": round(float(value), 10),
            "certainty": certainty,
        }
        for name, params, value, certainty in rows
    ]


def cases() -> list[dict]:
    rng = np.random.default_rng(11)
    worked = {
        "scores": [1.2, 0.4, 1.9, -0.3],
        "labels": [1.0, 3.0, 0.0, 2.0],
        "reference": [0.5, 0.5, 1.0, 0.0],
        "beta": 2.0,
        "reference2": [0.1, 0.9, -0.4, 0.3],
    }
    lists = [worked]
    for n, beta in ((2, 0.1), (5, 0.7), (7, 1.3)):
        lists.append(
            {
                "scores": rng.normal(0, 1.5, n).round(3).tolist(),
                "labels": rng.permutation(n).astype(float).tolist(),
                "reference": rng.normal(0, 1, n).round(3).tolist(),
                "reference2": rng.normal(0, 1, n).round(3).tolist(),
                "beta": beta,
            }
        )
    for case in lists:
        case["preference"] = rng.dirichlet(np.ones(3)).round(3).tolist()
        case["rewards"] = rng.normal(size=(len(case["scores"]), 3)).round(3).tolist()
        case["entropy"] = round(float(rng.uniform(0.1, 0.9)), 3)
        case["answers"] = answers(case)
    return lists


def main() -> None:
    record = {
        "witness": "the formulas of ZHZisZZ/modpo, haoxian-chen/MallowsPO, thaihungle/MRPO and "
        "zhaoyang02/ordinal-preference-optimization as ask_preference.py states them; means over the ordered pairs",
        "command": "python tests/golden/ask_preference.py",
        "cases": cases(),
    }
    Path(__file__).with_name("preference.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
