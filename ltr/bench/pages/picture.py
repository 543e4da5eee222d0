"""A picture of a page: drawn once, written twice, as PNG and as SVG that takes the colours of the page around it.

Colours, markers and the canvas are the house's (`ltr.plot_style`).
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ltr.atomic import whole_file
from ltr.plot_style import FAINT, INK, LINE, PALETTE, PAPER, SOFT, STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Picture", "get_ready"]


def get_ready() -> None:
    """Imports what tables and pictures need: two seconds for who would only wait otherwise."""
    import matplotlib.backends.backend_agg  # noqa: F401
    import pandas  # noqa: F401


_DPI = 150


class Picture:
    """A figure with a name for its file and a sentence for those who cannot see it."""

    def __init__(self, name: str, title: str, text: str, figure: Figure):
        self.name, self.title, self.text, self.figure = name, title, text, figure
        layout = figure.get_layout_engine()
        if layout is not None:  # once for what is then drawn twice, with letters as wide as in the PNG
            figure.set_dpi(_DPI)
            layout.execute(figure)
        figure.set_layout_engine("none")

    def save_png(self, folder: Path) -> Path:
        with whole_file(Path(folder) / f"{self.name}.png", durable=False) as path:
            self.figure.savefig(path, format="png", dpi=_DPI, metadata={"Software": None})
        return Path(folder) / f"{self.name}.png"

    def svg(self) -> str:
        """An SVG element without addresses, metadata or fixed colours, for the HTML page."""
        import matplotlib

        text = io.StringIO()
        with matplotlib.rc_context({**STYLE, "svg.hashsalt": self.name}):
            self.figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        svg = text.getvalue()
        svg = svg[svg.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S).replace("xlink:href", "href")
        svg = _without_head(svg)
        used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
        svg = re.sub(r'\sid="([^"]+)"', lambda m: m[0] if m[1] in used else "", svg)
        named = {INK: "ink", SOFT: "soft", LINE: "line", FAINT: "faint", PAPER: "paper"}
        for colour, variable in (named | {c: f"c{i}" for i, c in enumerate(PALETTE)}).items():
            svg = svg.replace(colour, f"var(--{variable})")
        svg = re.sub(r"(font(?:-family)?: [^;\"]*)'DejaVu Sans'[^;\"]*", r"\1inherit", svg)
        # A hundredth of a point is enough; numbers that are read stay as they are.
        svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\.\d\d)\d+", r"\1", tag[0]), _styled_once(svg))
        return svg.replace("<svg ", f'<svg role="img" aria-label="{_attribute(self.text)}" ', 1).strip()


def _without_head(svg: str) -> str:
    """The first tag keeps its view box only: the page decides the size, and needs no namespaces."""
    head, rest = svg.split(">", 1)
    box = re.findall(r'viewBox="[^"]*"', head)[0]
    return f"<svg {box}>{rest}"


def _styled_once(svg: str) -> str:
    """Marks of one group that look alike: their style stands on the group. Thousands of points are a third as long."""

    def once(group: re.Match) -> str:
        styles = set(re.findall(r' style="([^"]*)"', group[2]))
        if len(styles) != 1:
            return group[0]
        (style,) = styles
        marks = re.sub(r"\s*\n\s*", "", group[2].replace(f' style="{style}"', ""))
        return f'<g{group[1]} style="{style}">{marks}</g>'

    return re.sub(r'<g( clip-path="[^"]*")>((?:\s*<use [^>]*/>)+\s*)</g>', once, svg)


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
