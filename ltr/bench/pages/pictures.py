"""Pictures of a suite of rankers: means, cost, who differs from whom, the best system's lead, learning curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ltr.bench.analysis.leaderboard import per_query_values
from ltr.bench.analysis.results_io import rows_of
from ltr.bench.text import short_measure, unmath
from ltr.plot_style import LINE, MARKERS, PALETTE, SOFT, canvas, logarithmic

from .facts import dataset_title
from .pairs_picture import pairs_picture
from .picture import Picture

if TYPE_CHECKING:
    from ltr.bench.analysis.leaderboard import Leaderboard
    from ltr.bench.analysis.results import Results

__all__ = [
    "PALETTE",
    "Picture",
    "canvas",
    "cheapest",
    "cost_picture",
    "curves_picture",
    "differences_picture",
    "leaderboard_picture",
    "pictures",
]


def colours(results: Results) -> dict[str, int]:
    """System -> number of its colour and marker, one a ranker, in the order of the suite."""
    rankers = list(dict.fromkeys(v.ranker for v in results.suite.variants()))
    found = {v.label: rankers.index(v.ranker) % len(PALETTE) for v in results.suite.variants()}
    return {s: found.get(s, len(PALETTE) - 1) for s in results.systems}


def _mark(ax, x: float, y: float, number: int, hollow: bool, **options) -> None:
    """The marker of a ranker; hollow where it does not compete."""
    filled = "none" if hollow else PALETTE[number]
    ax.plot(x, y, MARKERS[number], color=PALETTE[number], markerfacecolor=filled, **options)


def leaderboard_picture(results: Results, board: Leaderboard, name: str) -> Picture:
    """Mean and interval of every system, best on top, with its group letters."""
    table = board.table[np.isfinite(board.table["mean"])]
    numbers = colours(results)
    with canvas(7.2, 1.1 + 0.27 * max(len(table), 2)) as (figure, axes):
        ax = axes[0, 0]
        for y, row in enumerate(table.itertuples()):
            n, faint = numbers[row.system], row.baseline or row.best_possible
            if np.isfinite(row.low):
                shade = 0.45 if faint else 0.9
                ax.plot([row.low, row.high], [y, y], color=PALETTE[n], linewidth=2, alpha=shade, solid_capstyle="butt")
            _mark(ax, row.mean, y, n, faint, markersize=6)
            right, said = row.high if np.isfinite(row.high) else row.mean, f"{row.mean:.4f}  {row.letters}"
            beside: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 8, "color": SOFT}
            ax.annotate(said, (right, y), (6, 0), **beside)
        ax.set_yticks(range(len(table)), [unmath(s) for s in table.system])
        ax.set_ylim(len(table) - 0.4, -0.6)
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="x")
        ax.margins(x=0.02)
        low, high = ax.get_xlim()
        ax.set_xlim(low, high + 0.16 * (high - low))  # room for the numbers beside the marks
        if high <= 1.1:
            ax.set_xticks([x for x in ax.get_xticks() if low <= x <= 1.0])
        ax.set_xlabel(f"{board.measure}, mean and {board.level:.0%} interval over queries")
        ax.set_title(f"{unmath(dataset_title(board.dataset))}: test queries of all folds")
    ranked = [f"{row.system} {row.mean:.4f}" for row in table.itertuples() if not row.best_possible]
    text = f"{len(ranked)} systems, best first: {', '.join(ranked[:3])}." if ranked else "No finished runs."
    return Picture(name, "Leaderboard", text, figure)


def cheapest(cost: np.ndarray, quality: np.ndarray) -> list[int]:
    """Which systems nothing that costs as little beats, from the cheapest to the best.

    >>> cheapest(np.array([1.0, 2.0, 3.0, 1.0]), np.array([0.5, 0.4, 0.9, 0.6]))
    [3, 2]
    """
    front: list[int] = []
    for i in np.lexsort((-quality, cost)):
        if not front or quality[i] > quality[front[-1]]:
            front.append(int(i))
    return front


def cost_picture(results: Results, board: Leaderboard, name: str) -> Picture:
    """Quality against seconds of training; the staircase joins the systems that nothing cheaper beats."""
    table = board.table[
        np.isfinite(board.table["mean"]) & np.isfinite(board.table.fit_seconds) & ~board.table.best_possible
    ]
    numbers = colours(results)
    rankers = {s: "" for s in results.systems} | {v.label: v.ranker for v in results.suite.variants()}
    with canvas(7.2, 4.4) as (figure, axes):
        ax = axes[0, 0]
        seconds = np.maximum(table.fit_seconds.to_numpy(float), 0.01)  # a baseline fits in no time, a log axis has no 0
        named = set()
        for x, row in zip(seconds, table.itertuples(), strict=True):
            n, ranker = numbers[row.system], rankers.get(row.system, row.system)
            called = None if ranker in named else ranker
            _mark(ax, x, row.mean, n, row.baseline, markersize=7, linestyle="none", label=called)
            named.add(ranker)
        front = cheapest(seconds, table["mean"].to_numpy())
        if front:
            xs = [*seconds[front], seconds.max()]
            ys = [*table["mean"].iloc[front], table["mean"].iloc[front[-1]]]
            ax.step(xs, ys, where="post", color=SOFT, linewidth=1, zorder=0)
            # Up and left of a step nothing can stand; names that would touch the one above are left to the table.
            last, room = np.inf, 0.04 * np.ptp(table["mean"])
            for i in reversed(front):
                x, y = seconds[i], table["mean"].iloc[i]
                if last - y > room:
                    label = {"textcoords": "offset points", "ha": "right", "fontsize": 8}
                    ax.annotate(unmath(table.system.iloc[i]), (x, y), (-6, 3), **label)
                    last = y
            ax.legend(loc="lower right", fontsize=8)
        logarithmic(ax)
        ax.margins(x=0.1, y=0.12)
        ax.grid(True)
        ax.set_xlabel("seconds of training, mean over runs (log scale)")
        ax.set_ylabel(board.measure)
        ax.set_title(f"{unmath(dataset_title(board.dataset))}: quality and cost")
    cheap = ", ".join(table.system.iloc[i] for i in front) if len(table) else "none"
    return Picture(name, "Quality and cost", f"Quality against training time. Nothing cheaper beats: {cheap}.", figure)


def differences_picture(results: Results, board: Leaderboard, name: str) -> Picture | None:
    """How the best system's lead is made up: its difference to others, query by query."""
    values = per_query_values(results, board.dataset, board.measure)
    ranked = [r for r in rows_of(board.table) if r.system in values and not r.best_possible]
    if len(ranked) < 2:
        return None
    best = ranked[0]
    ranker = {s: "" for s in results.systems} | {v.label: v.ranker for v in results.suite.variants()}
    others = [r for r in ranked[1:] if ranker[r.system] != ranker[best.system]]
    against = {"runner-up": ranked[1]}
    if others:
        against["best of another ranker"] = others[0]
    baselines = [r for r in ranked[1:] if r.baseline]
    if baselines:
        against["best baseline"] = baselines[0]
    panels = {r.system: what for what, r in reversed(against.items())}  # one panel a system
    reach = max(0.05, *((values[best.system] - values[other]).abs().max() for other in panels))
    with canvas(7.2, 2.7, 1, len(panels), sharey=True) as (figure, axes):
        lines = []
        for ax, (other, what) in zip(axes[0], reversed(panels.items()), strict=True):
            mine, theirs = values[best.system].align(values[other], join="inner")
            d = (mine - theirs).to_numpy()
            wins, ties, losses = int((d > 1e-9).sum()), int((np.abs(d) <= 1e-9).sum()), int((d < -1e-9).sum())
            bins = np.linspace(-reach, reach, 41)
            _, _, bars = ax.hist(d[np.abs(d) > 1e-9], bins=bins)
            for bar in bars:
                bar.set_facecolor(PALETTE[0] if bar.get_x() + bar.get_width() / 2 > 0 else PALETTE[1])
            ax.axvline(0, color=SOFT, linewidth=0.8)
            ax.set_title(f"difference to {unmath(other)}\n\n", fontsize=9)
            counts = f"{what}:\n{wins} better, {ties} equal, {losses} worse"
            ax.text(0, 1.02, counts, transform=ax.transAxes, fontsize=7.5, color=SOFT)
            ax.grid(axis="y")
            ax.yaxis.get_major_locator().set_params(integer=True)
            lines.append(f"{wins} queries better, {ties} equal and {losses} worse than {other}")
        axes[0, 0].set_ylabel("queries")
        figure.supxlabel(f"difference in {board.measure}; equal ones are not drawn", fontsize=9)
        title = unmath(f"{dataset_title(board.dataset)}: {best.system}, query by query")
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    return Picture(name, "Query by query", f"{best.system}: " + "; ".join(lines) + ".", figure)


def curves_picture(results: Results, board: Leaderboard, name: str) -> Picture | None:
    """The select measure on validation while training, on the first fold: mean over its seeds, and a band from the
    lowest to the highest of them; a panel a ranker.

    Of more losses than there are colours a panel names the best; the others are thin lines behind them.
    """
    curves = results.curves[results.curves.dataset == board.dataset]
    if not len(curves):
        return None
    fold = curves.fold.iloc[0]
    curves = curves[curves.fold == fold]
    variants = [v for v in results.suite.variants() if v.label in set(curves.system)]
    rankers = list(dict.fromkeys(v.ranker for v in variants))
    losses = list(dict.fromkeys(v.loss for v in variants))  # a loss looks alike in every panel
    few = len(losses) <= len(PALETTE)
    ranked = list(board.table.system)
    columns = 2 if len(rankers) in (2, 4) else min(3, len(rankers))
    rows = -(-len(rankers) // columns)
    with canvas(7.2, 0.5 + 2.3 * rows, rows, columns, sharey=True) as (figure, axes):
        for ax in axes.flat[len(rankers) :]:
            ax.set_visible(False)
        for ax, ranker in zip(axes.flat, rankers, strict=False):
            mine = [v for v in variants if v.ranker == ranker]
            named = mine if few else sorted(mine, key=lambda v: ranked.index(v.label))[: len(PALETTE)]
            for variant in (*(v for v in mine if v not in named), *named):
                # Seeds stop at different epochs: the mean goes as far as all of them do.
                runs = [
                    part.set_index("step").value for _, part in curves[curves.system == variant.label].groupby("seed")
                ]
                steps = sorted(set.intersection(*(set(r.index) for r in runs)))
                values = np.array([r.loc[steps] for r in runs])
                mean = values.mean(0)
                if variant not in named:
                    ax.plot(steps, mean, color=LINE, linewidth=0.8, zorder=1)
                    continue
                n = losses.index(variant.loss) if few else named.index(variant)
                if len(runs) > 1:
                    ax.fill_between(steps, values.min(0), values.max(0), color=PALETTE[n], alpha=0.18, linewidth=0)
                marks: dict[str, Any] = {"marker": MARKERS[n], "markevery": 0.2, "markersize": 4}
                label = unmath(variant.loss or variant.label)
                ax.plot(steps, mean, color=PALETTE[n], linewidth=1.4, label=label, **marks)
            ax.set_title(ranker)
            ax.grid(True)
            ax.xaxis.get_major_locator().set_params(integer=True)
            ax.legend(fontsize=7, loc="lower right")
        for ax in axes[:, 0]:
            ax.set_ylabel(f"{short_measure(results.suite.select)}, validation", fontsize=8)
        several = "; line: mean over seeds, band: from the lowest to the highest" * (curves.seed.nunique() > 1)
        figure.supxlabel(f"epoch or iteration{several}", fontsize=9)
    text = f"Validation measure while training on {fold}, a panel for each of {', '.join(rankers)}."
    return Picture(name, "Learning curves", text, figure)


def pictures(results: Results, board: Leaderboard, suffix: str) -> list[Picture]:
    """All pictures of one dataset that its results allow."""
    ranked = [s for s in board.table.system if s in board.p.index]
    drawn = [
        leaderboard_picture(results, board, f"leaderboard-{suffix}"),
        cost_picture(results, board, f"cost-{suffix}"),
        pairs_picture(board.p.loc[ranked, ranked], board.measure, dataset_title(board.dataset), f"pairs-{suffix}"),
        differences_picture(results, board, f"differences-{suffix}"),
        curves_picture(results, board, f"curves-{suffix}"),
    ]
    return [p for p in drawn if p is not None]
