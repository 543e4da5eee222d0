"""What rankers reach with few labels: a table of systems by share, and what pretraining adds to the same net."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ltr.bench.analysis.leaderboard import leaderboard
from ltr.bench.analysis.results import Results
from ltr.bench.suite.suite import with_labels
from ltr.bench.text import markdown_table

from .facts import dataset_title

__all__ = ["few_labels"]


def few_labels(results: Results, dataset: str) -> dict[str, Any]:
    """Title, table and answers of one dataset of a suite of shares."""
    shares, board = results.suite.labelled or (), leaderboard(results, dataset)
    found = {text["system"]: text for text in board.rows()}
    systems = replace(results.suite, labelled=None).variants()
    rows: list[dict[str, str]] = [{"ranker": system.label} for system in systems]
    answers: dict[str, list[str]] = {}
    for share in shares:
        texts = [found.get(with_labels(system.label, share), {}) for system in systems]
        lists = next((text["labelled"] for text in texts if text.get("labelled")), "no")
        for row, text in zip(rows, texts, strict=True):
            row[f"{100 * share:g} %, {lists} lists"] = f"{text['mean']} ({text['interval']})" if text else ""
        for system in systems:
            of, net = system.params.get("base", "mlp"), system.params.get("base_params", {})
            for other in systems if system.ranker == "pretrained" else []:
                if (other.ranker, other.params, other.loss) != (of, net, system.loss):
                    continue
                gap = board.difference(with_labels(system.label, share), with_labels(other.label, share))
                if gap is not None:
                    more = f"{gap.value:+.4f} ({gap.low:+.4f} to {gap.high:+.4f}) with {100 * share:g} %"
                    answers.setdefault(system.label, []).append(more)
    said = [f"{label}: {', '.join(texts)}" for label, texts in answers.items()]
    return {"title": dataset_title(dataset), "answers": said, "table": markdown_table(rows, left=("ranker",))}
