"""Asks allRank for loss values and writes them to losses_allrank.json.

    PYTHONPATH=<a checkout of allegro/allRank> python tests/golden/ask_allrank.py

Values are written in our conventions; `converted` says how.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from pathlib import Path

import torch

# Only its losses are asked, and they import its data loading, which imports these; none of it is used here.
for name in ("torchvision", "torchvision.transforms", "gcsfs", "pkg_resources"):
    module = types.ModuleType(name)
    module.__getattr__ = lambda attribute: None
    sys.modules.setdefault(name, module)

from allrank.models import losses as allrank  # noqa: E402

LISTS = [
    {"scores": [1.2, 0.4, 1.9, -0.3], "labels": [1, 3, 0, 2]},
    {"scores": [0.35, -1.2, 2.1, 0.8, 1.45, -0.6, 0.1, 1.0], "labels": [2, 0, 1, 0, 4, 0, 1, 3]},
]
generator = torch.Generator().manual_seed(0)
LONG = {
    "scores": torch.randn(60, generator=generator).mul(100).round().div(100).tolist(),
    "labels": torch.randint(0, 5, (60,), generator=generator).tolist(),
}
STOPS = "allRank stops Sinkhorn after 50 rounds; long lists and small temperatures take hundreds"
BOUNDARIES = [0.5, 1.5, 2.5, 3.5]


def rows(each: dict):
    s, y = torch.tensor([each["scores"]], dtype=torch.float64), torch.tensor([each["labels"]], dtype=torch.float64)
    n = s.shape[1]
    ordered = len(set(each["labels"])) == n
    yield "ranknet", {}, allrank.rankNet(s, y), ""
    for scheme, name in (
        ("lambdaRank_scheme", "lambdarank"),
        ("ndcgLoss2_scheme", "ndcgloss2"),
        ("ndcgLoss2PP_scheme", "ndcgloss2pp"),
    ):
        for k in (None, 3):
            how = {} if k is None else {"k": k, "truncation": "both"}
            yield name, how, allrank.lambdaLoss(s, y, weighing_scheme=scheme, k=k), ""
    pairs = {"weighing_scheme": "rankNetWeightedByGTDiff_scheme", "reduction_log": "natural"}
    yield "ranknet", {"normalise": "none", "weighting": "labeldiff"}, allrank.lambdaLoss(s, y, **pairs), ""
    pairs["weighing_scheme"] = "rankNetWeightedByGTDiffPowed_scheme"
    yield "ranknet", {"normalise": "none", "weighting": "squarediff"}, allrank.lambdaLoss(s, y, **pairs), ""
    yield "arploss2", {}, allrank.lambdaLoss(s, y, weighing_scheme="rankNetWeightedByGTDiff_scheme"), ""
    yield "listnet", {"target": "soft"}, allrank.listNet(s, y), ""
    yield "listnet", {"target": "lin"}, allrank.binary_listNet(s, y), ""
    if ordered:
        yield "listmle", {"normalise": "none"}, allrank.listMLE(s, y), ""
    for t in (1.0, 0.1):
        value = 1 + allrank.approxNDCGLoss(s, y, alpha=1 / t)
        yield "approxndcg", {"temperature": t}, value, "1 plus: allRank returns minus the measure"
        for k in (None, 2):
            how = {"temperature": t} | ({} if k is None else {"k": k})
            both = [
                1 + f(s.float(), y.float(), temperature=t, k=k)
                for f in (allrank.neuralNDCG, allrank.neuralNDCG_transposed)
            ]
            yield "neuralndcg", how, both[0], "1 plus: allRank returns minus the measure; float32"
            yield "neuralndcg", how, both[1], "the transposed form; 1 plus: allRank returns minus the measure; float32"
    share = allrank.bce(torch.sigmoid(s), y / 4)
    yield "bce", {}, share / n, "divided by the length of the list, which allRank sums over"
    answers = torch.sigmoid(s.float().unsqueeze(-1) - torch.tensor(BOUNDARIES))
    yield "ordinal", {}, allrank.ordinal(answers, y.float(), 4), "its four outputs set to sg(s - boundary); float32"


def main() -> None:
    answers, disagrees = [], []
    for number, each in enumerate(LISTS):
        for name, params, value, converted in rows(each):
            row = {"loss": name, "params": params, "value": round(float(value), 9), "converted": converted}
            if name == "neuralndcg" and params["temperature"] < 1 and len(each["scores"]) > 4:
                disagrees.append(row | {"list": each, "why": STOPS})
            else:
                answers.append(row | {"list": number})
    scores, labels = torch.tensor([LONG["scores"]]), torch.tensor([LONG["labels"]], dtype=torch.float32)
    value = round(1 + float(allrank.neuralNDCG(scores, labels)), 9)
    disagrees.append({"loss": "neuralndcg", "params": {}, "value": value, "list": LONG, "why": STOPS})
    source = Path(allrank.__file__).parents[3]
    commit = (
        os.environ.get("ALLRANK_COMMIT")
        or subprocess.run(
            ["git", "-C", str(source), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
    )
    record = {
        "witness": f"allRank, commit {commit[:12]}, torch {torch.__version__}",
        "command": "PYTHONPATH=<a checkout of allegro/allRank> python tests/golden/ask_allrank.py",
        "lists": LISTS,
        "answers": answers,
        "disagrees": disagrees,
    }
    Path(__file__).with_name("losses_allrank.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
