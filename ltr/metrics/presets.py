"""What other libraries mean by their names, as measures of ours.

    PRESETS["lightgbm"].measures                                 # ('nDCG(gain=exp2,empty=1,ties=order)@10',)
    evaluate(PRESETS["letor4"].measures, scores, labels, offsets)

Each preset says who vouches for it: "test" means that tests/test_metrics.py asks the library itself, value by value,
wherever it is installed; "measured" that its release was asked by hand on tied, blank and single-document lists, and
on random lists, where without ties it agreed to 3e-7 (float32); "derived" that nobody asked it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["PRESETS", "Preset", "spelled"]


@dataclass(frozen=True)
class Preset:
    """A library's measures under our names.

    Attributes:
        library: who computes it that way, and what it is called there.
        measures: our names; cut-offs are examples where the library takes any, see `Measure.at`.
        vouched: how we know.
        note: what the name cannot say.
    """

    library: str
    measures: tuple[str, ...]
    vouched: str
    note: str = ""


def _letor4() -> tuple[str, ...]:
    rules = "ties=order,discount=letor"
    ndcg = tuple(f"nDCG(gain=exp2,empty=0,{rules},short=0)@{k}" for k in (1, 3, 5, 10))
    return (
        *ndcg,
        f"MeanNDCG(gain=exp2,empty=0,{rules})",
        "AP(empty=0,ties=order)",
        *(f"P(empty=0,ties=order)@{k}" for k in (1, 3, 5, 10)),
    )


_NO_DEPENDENCY = "the library is no dependency of ours"

PRESETS: dict[str, Preset] = {
    "letor4": Preset(
        "Eval-Score script of LETOR 4.0 (MQ2007, MQ2008)",
        _letor4(),
        "test: a literal loop over the rule of the script; on MQ2008 half of the lists are shorter than 9, hence the "
        "collapse of every published row at @9 and @10",
        "labels 1 and 2 are both relevant; a list shorter than k scores 0 in NDCG@k",
    ),
    "letor3": Preset(
        "Eval-Score script of LETOR 3.0 (OHSUMED, .Gov)",
        tuple(m.replace(",short=0", "") for m in _letor4()),
        "derived: the rule of 4.0, tested above, without its short lists",
    ),
    "trec_eval": Preset(
        "trec_eval 9 and pytrec_eval: ndcg_cut, map, recip_rank, P, recall",
        (
            "nDCG(gain=linear,empty=0,ties=docid)@10",
            "nDCG(gain=linear,empty=0,ties=docid)",
            "AP(empty=0,ties=docid)",
            "AP(empty=0,ties=docid)@10",
            "RR(empty=0,ties=docid)",
            "P(empty=0,ties=docid)@10",
            "R(empty=0,ties=docid)@10",
        ),
        "test: pytrec_eval",
        "scores are float32 there: nearer ones tie; needs doc_ids",
    ),
    "ir_measures": Preset(
        "ir_measures: nDCG, AP, RR, P, R by its pytrec_eval provider",
        (
            "nDCG(gain=linear,empty=0,ties=docid)@10",
            "AP(empty=0,ties=docid)",
            "RR(empty=0,ties=docid)",
            "P(empty=0,ties=docid)@10",
            "R(empty=0,ties=docid)@10",
        ),
        "test: ir_measures",
    ),
    "sklearn": Preset(
        "sklearn.metrics.ndcg_score",
        ("nDCG(gain=linear,empty=0)@10", "DCG(gain=linear,empty=0)@10"),
        "test: scikit-learn",
        "refuses lists of one document",
    ),
    "torchmetrics": Preset(
        "torchmetrics.retrieval.RetrievalNormalizedDCG",
        ("nDCG(gain=linear,empty=0)@10",),
        "test: torchmetrics",
        "its empty_target_action chooses empty=0, 1 or skip",
    ),
    "lightgbm": Preset(
        "LightGBM metric ndcg", ("nDCG(gain=exp2,empty=1,ties=order)@10",), "test: LightGBM", "labels 0 to 30"
    ),
    "xgboost": Preset(
        "XGBoost eval_metric ndcg@10",
        ("nDCG(gain=exp2,empty=1,ties=order)@10",),
        "test: XGBoost",
        "ndcg@10- counts a blank list 0, ndcg_exp_gain=false takes gain=linear",
    ),
    "catboost": Preset(
        "CatBoost NDCG:top=10 (type=Base is its default)",
        ("nDCG(gain=linear,empty=1,ties=worst)@10",),
        "test: CatBoost",
        "type=Exp takes gain=exp2",
    ),
    "allrank": Preset(
        "allRank ndcg",
        ("nDCG(gain=exp2,empty=1,ties=order)@10",),
        f"measured: 1.4.3; {_NO_DEPENDENCY}",
        "its sort is not stable, so the order of ties is not defined",
    ),
    "pytorchltr": Preset(
        "pytorchltr.evaluation.ndcg",
        ("nDCG(gain=exp2,empty=0,ties=random(0))@10",),
        f"measured: last commit; {_NO_DEPENDENCY}",
        "draws another tie order at each call; ours is seeded",
    ),
    "rax": Preset(
        "rax.ndcg_metric",
        ("nDCG(gain=exp2,empty=0,ties=order)@10",),
        f"measured: 0.4.0; {_NO_DEPENDENCY}",
        "ties at random when it is given a key",
    ),
    "ranx": Preset(
        "ranx ndcg and ndcg_burges",
        ("nDCG(gain=linear,empty=0,ties=order)@10", "nDCG(gain=exp2,empty=0,ties=order)@10"),
        f"measured: 0.3.21; {_NO_DEPENDENCY}",
    ),
    "ptranking": Preset(
        "PTRanking ndcg",
        ("nDCG(gain=exp2,empty=skip,ties=order)@10",),
        f"measured: last commit; {_NO_DEPENDENCY}",
        "its loader drops lists of fewer than 10 documents",
    ),
}


def spelled(names: Iterable[str]) -> tuple[str, ...]:
    """Names of measures, a preset's name replaced by its measures.

    >>> spelled(["nDCG@5", "lightgbm"])
    ('nDCG@5', 'nDCG(gain=exp2,empty=1,ties=order)@10')
    """
    return tuple(each for name in names for each in (PRESETS[name].measures if name in PRESETS else (name,)))
