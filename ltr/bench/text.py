"""Facts in the words of a page: numbers, counts, durations, settings, and Markdown that says them as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "Markdown",
    "bold",
    "count",
    "duration",
    "latex_table",
    "machine",
    "markdown_table",
    "number",
    "plain",
    "settings",
    "short_measure",
    "terminal_table",
    "thousands",
    "told",
    "unmath",
]


class Markdown(str):
    """Text that is Markdown already; everything else on a page is escaped."""


def plain(text: Any) -> Markdown:
    """Text on one line of a Markdown page, shown as it is: no tag, link, emphasis, heading or cell of a table begins.

    >>> plain("a|b <i>*c*</i> [d](e)")
    'a\\\\|b &lt;i&gt;\\\\*c\\\\*&lt;/i&gt; \\\\[d\\\\](e)'
    >>> plain("approx_ndcg, 3 < 4")
    'approx_ndcg, 3 &lt; 4'
    """
    return text if isinstance(text, Markdown) else Markdown(_BEGINS.sub(r"\1\\\2", _inline(text)))


_BEGINS = re.compile(r"^(\d*)([#+-]|(?<=\d)[.)])(?=[\s#-]|$)")  # a heading or a list


# Numbers and words in brackets stay as they are where they are no link; all else that means something is escaped.
_MEANS = re.compile(r"(\[[A-Za-z0-9., +-]+\](?![(\[:]))|[\\`*|\[\]~]|(?<![^\W_])_|_(?![^\W_])")


def _inline(text: Any) -> str:
    """Without what means something anywhere in a line; names keep the underscores inside them."""
    line = " ".join(str(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MEANS.sub(lambda found: found[0] if found[1] else "\\" + found[0], line)


def bold(text: str) -> Markdown:
    """
    >>> bold("0.5")
    '**0.5**'
    """
    return Markdown(f"**{_inline(text)}**")


def told(text: str, verdict: str) -> str:
    """A number with what is known of it: bold where it is the best, above what it is compared with or equal to it.

    >>> told("0.5", "above"), told("0.4", "equal within the margin"), told("0.3", "below"), told("0.4", "cannot tell")
    ('**0.5** above', '**0.4** equal', '0.3 below', '0.4')
    """
    word = verdict.split()[0] if text and verdict in ("above", "below", "equal within the margin") else ""
    shown = bold(text) if text and verdict == "best" or word in ("above", "equal") else text
    return Markdown(f"{shown} {word}") if word else shown


def markdown_table(rows: Sequence[Mapping[str, Any]], left: Sequence[str]) -> Markdown:
    """Rows as a Markdown table; columns that are empty everywhere are left away.

    Args:
        left: columns that are set to the left; numbers stand at the right.
    """
    if not rows:
        return Markdown("(no systems)")
    columns = [c for c in rows[0] if any(r[c] for r in rows)]
    lines = ["| " + " | ".join(map(_cell, columns)) + " |"]
    lines += ["|" + "|".join(":--" if c in left else "--:" for c in columns) + "|"]
    lines += ["| " + " | ".join(_cell(r[c]) for c in columns) + " |" for r in rows]
    return Markdown("\n".join(lines))


def latex_table(rows: Sequence[Mapping[str, Any]], left: Sequence[str]) -> str:
    """Rows as a LaTeX table with the rules of booktabs; arguments as `markdown_table`.

    >>> print(latex_table([{"system": "a_b", "mean": "0.5"}], left=("system",)).splitlines()[4])
    a\\_b & 0.5 \\\\
    """
    import pandas as pd

    columns = [c for c in (rows[0] if rows else ()) if any(r[c] for r in rows)]
    frame = pd.DataFrame([[str(r[c]) for c in columns] for r in rows], columns=columns)
    spec = "".join("l" if c in left else "r" for c in columns)
    return frame.to_latex(index=False, escape=True, column_format=spec).replace("–", "--").rstrip()


_LONG = 30  # characters: text that is longer goes on in the next line of its cell


def terminal_table(
    title: str,
    rows: Sequence[Mapping[str, str]],
    order: Sequence[str],
    needed: Sequence[str],
    width: int,
    *,
    left: Sequence[str],
    faint: Sequence[bool] = (),
) -> Table:
    """Rows as a table for a terminal; columns that are empty are left away, and what there is no room for is named.

    Args:
        order: columns by how much they are wanted; a note stands last.
        needed: columns that are there whatever the width.
        width: of the terminal.
        left: columns that are set to the left: text, which may go on in the next line where it is long.
        faint: rows that are shown so.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    taken, columns = 2, []
    longest = {column: max((len(row.get(column, "")) for row in rows), default=0) for column in order}
    for column, length in longest.items():
        room = max(min(length, _LONG), len(column)) + 3
        if length and (column in needed or taken + room <= width):
            taken += room
            columns.append(column)
    left_out = [c for c in (rows[0] if rows else ()) if c not in columns and any(row[c] for row in rows)]
    columns.sort(key=lambda column: column == "note")
    table = Table(
        title=escape(title),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption=f"no room for {', '.join(left_out)}: see the report, or ltr bench table" if left_out else None,
        caption_justify="left",
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    wrapped = {"note", *(column for column in left if longest.get(column, 0) > _LONG)}
    for column in columns:
        justify: Any = "left" if column in left else "right"
        table.add_column(column, justify=justify, no_wrap=column not in wrapped, overflow="fold")
    for i, row in enumerate(rows):  # "ltr-suite[trees]" in a note is no style
        style = "dim" if i < len(faint) and faint[i] else None
        table.add_row(*(escape(row[c]) for c in columns), style=style)
    return table


def _cell(text: Any) -> str:
    """In a table nothing begins a heading or a list, and a number may be negative."""
    return text if isinstance(text, Markdown) else _inline(text)


def number(value: float | None, digits: int) -> str:
    """A number for a table; nothing where there is none.

    >>> number(0.12345, 3), number(float("nan"), 3)
    ('0.123', '')
    """
    return f"{value:.{digits}f}" if value is not None and np.isfinite(value) else ""


def thousands(value: float | None) -> str:
    """
    >>> thousands(12345.6)
    '12,346'
    """
    return f"{value:,.0f}" if value is not None and np.isfinite(value) else ""


def count(n: int, what: str) -> str:
    """
    >>> count(1, "fold"), count(3, "seed")
    ('1 fold', '3 seeds')
    """
    return f"{n} {what}{'s' * (n != 1)}"


def duration(seconds: float) -> str:
    """Words a person would use.

    >>> duration(95), duration(4000)
    ('1 min 35 s', '1 h 6 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s" if seconds < 10 else f"{rest} s"


def unmath(text: str) -> str:
    """For matplotlib, which sets what stands between dollars as mathematics.

    >>> unmath("5 $ a query")
    '5 \\\\$ a query'
    """
    return text.replace("$", r"\$")


def short_measure(measure: str) -> str:
    """`nDCG@10` of `nDCG(gain=exp2,empty=skip)@10`; the caption has the whole name."""
    return re.sub(r"\(.*\)", "", measure)


# Keys of settings as results that were made earlier have them -> what they are called now.
_RENAMED = {"lists": "batch_size"}


def settings(table: Mapping[str, Any]) -> str:
    """Without the section of a dotted key.

    >>> settings({"epochs": 20, "training.learning_rate": [0.1, 0.2], "conditioning": {"kind": "film"}})
    'epochs = 20, learning_rate = [0.1, 0.2], kind = film'
    """
    named = ((key.rsplit(".", 1)[-1], value) for key, value in _flat(table))
    return ", ".join(f"{_RENAMED.get(key, key)} = {_plain(value)}" for key, value in named)


def _flat(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        yield from _flat(value) if isinstance(value, dict) else [(key, value)]


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return f"({settings(value)})"
    return f"[{', '.join(map(_plain, value))}]" if isinstance(value, (list, tuple)) else str(value)


def machine(environment: Mapping[str, Any]) -> str:
    """Platform, device, versions and date of `environment.json`, as far as it knows them."""
    libraries = environment.get("libraries", {})
    parts = [
        environment.get("platform", ""),
        environment.get("device", ""),
        f"Python {environment['python']}" if "python" in environment else "",
    ]
    parts += [f"{name} {libraries[name]}" for name in ("torch", "numpy") if name in libraries]
    parts += [environment.get("date", "")]
    return ", ".join(filter(None, parts))
