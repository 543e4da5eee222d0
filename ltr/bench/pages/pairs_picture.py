"""Who differs from whom: corrected p values of all pairs of systems, as a triangle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ltr.bench.text import count, unmath
from ltr.plot_style import FAINT, INK, PALETTE, PAPER, canvas

from .picture import Picture

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["pairs_picture"]

MOST = 40  # systems; of more, the best
_WRITTEN = 14  # systems up to which p stands in its place
_LEVELS = ((0.001, 0.95), (0.01, 0.6), (0.05, 0.28))  # p below -> how dark


def pairs_picture(p: pd.DataFrame, what: str, title: str, name: str) -> Picture | None:
    """A place a pair, the darker the surer that the two differ; None where no two do.

    Args:
        p: Holm-corrected p values, systems by systems, best first.
        what: is compared, for the sentence below the picture.
        title: of the picture.
        name: of the file.
    """
    systems, values = list(p.index[:MOST]), p.to_numpy()[:MOST, :MOST]
    n, pairs = len(systems), np.triu_indices(len(systems), 1)
    differ = int((values[pairs] < _LEVELS[-1][0]).sum())
    if not differ:
        return None
    from matplotlib.patches import Patch, PathPatch
    from matplotlib.path import Path

    surest = np.digitize(values, [bound for bound, _ in _LEVELS])  # 0 for the smallest p
    with canvas(7.2, 1.3 + (0.27 if n <= _WRITTEN else 0.19) * n) as (figure, axes):
        ax = axes[0, 0]
        for level, (_, alpha) in enumerate(_LEVELS):
            places = [(x, y) for y, x in zip(*pairs, strict=True) if surest[y, x] == level]
            if places:  # one path a level: hundreds of rectangles are a page's weight
                square = np.asarray(Path.unit_rectangle().vertices) - 0.5
                whole = Path.make_compound_path(
                    *(Path(square + place, Path.unit_rectangle().codes) for place in places)
                )
                ax.add_patch(PathPatch(whole, facecolor=PALETTE[0], alpha=alpha, edgecolor=PAPER, linewidth=0.6))
        for y, x in zip(*pairs, strict=True) if n <= _WRITTEN else ():
            text = "<.001" if values[y, x] < 0.001 else f"{values[y, x]:.3f}".lstrip("0")
            colour = PAPER if surest[y, x] == 0 else INK
            ax.text(x, y, text, ha="center", va="center", fontsize=6.5, color=colour)
        ax.plot([-0.5, n - 0.5], [-0.5, n - 0.5], color=FAINT, linewidth=0.8)
        size = 8 if n <= _WRITTEN else 6.5
        ax.set_yticks(range(n), [f"{unmath(s)}  {i}" for i, s in enumerate(systems, 1)], fontsize=size)
        numbered = range(n) if n <= 24 else [0, *range(4, n, 5)]
        ax.set_xticks(numbered, [str(i + 1) for i in numbered], fontsize=size)
        ax.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5))
        ax.tick_params(length=0, labelbottom=False, labeltop=True)
        for side in ("left", "bottom"):
            ax.spines[side].set_visible(False)
        marks = [Patch(facecolor=PALETTE[0], alpha=alpha, label=f"p < {bound:g}") for bound, alpha in _LEVELS]
        ax.legend(handles=marks, loc="lower left", fontsize=8)
        best = f", the best {MOST} of {len(p)} systems" if len(p) > MOST else ""
        ax.set_title(f"{unmath(title)}: who differs from whom\n")
        figure.supxlabel(f"p of the difference in {what}, Holm over all pairs{best}", fontsize=9)
    verb = "differs" if differ == 1 else "differ"
    text = f"{count(differ, 'pair')} of {len(pairs[0])} {verb} at p < {_LEVELS[-1][0]:g}, corrected for all of them."
    return Picture(name, "Who differs from whom", text, figure)
