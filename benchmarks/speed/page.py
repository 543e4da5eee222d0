"""SPEED.md: what the files under results/ say, and nothing else."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

from benchmarks.speed.measure import RESULTS, check, read

PAGE = Path(__file__).resolve().parents[1] / "SPEED.md"
NAMES = (
    "ingest",
    "metrics",
    "losses",
    "train",
    "aggregators",
    "stacked",
    "fronts",
    "chain",
    "front_cost",
    "scale",
    "past_memory",
    "resume",
    "serve",
    "workers",
    "start",
)
DEVICE = "device"  # benchmarks/device.sh: a file of sections, with a section of the page to itself

HEAD = """# Speed, beside peers

Written by `python -m benchmarks.speed`, which runs every measurement, or `python -m benchmarks.speed --page`, which
reads the files under speed/results only. Every number comes from one run in which ours and the peers took turns; values
are medians. A ratio above 1 is in our favour, whether more or less of the unit is better. "missed" stays here until it
is met; the reasons stand in [speed/NOTES.md](speed/NOTES.md).
"""


def page(results: Path = RESULTS) -> str:
    """The page, from the results files of a folder."""
    found = {name: read(path) for name in names(results) if (path := results / f"{name}.json").is_file()}
    parts = [HEAD, "## Targets\n\n" + targets(found)]
    parts += [section(name, rows, results) for name, rows in found.items()]
    missing = [name for name in NAMES if name not in found]
    if missing:
        parts.append(f"Not measured yet: {', '.join(missing)}.\n")
    parts.append(gpu(results / f"{DEVICE}.json"))
    return "\n".join(parts)


def names(results: Path) -> list[str]:
    """Measurements in the order of the page; those of accelerators (NAME-cuda) after their like."""
    there = {path.stem for path in results.glob("*.json")} - {DEVICE}
    ordered = [x for name in NAMES for x in (name, *sorted(n for n in there if n.startswith(f"{name}-")))]
    return [*ordered, *sorted(there - set(ordered))]


def targets(found: dict[str, list[dict[str, Any]]]) -> str:
    lines = ["| measurement | case | target | measured | verdict |", "|:--|:--|:--|--:|:--|"]
    for name, rows in found.items():
        for each in rows:
            if each["target"] is None:
                continue
            measured = f"{number(each['ours'])} {each['unit']}"
            if each["target"][0].isdigit():  # times a peer, not a value
                measured = against(each)
            cells = (f"[{name}](#{name})", each["case"], each["target"], measured, verdict(each))
            lines.append("| " + " | ".join(map(cell, cells)) + " |")
    return "\n".join(lines) + "\n"


def against(each: dict[str, Any]) -> str:
    """How many times the peer that the target names, or the best one."""
    peer = each["target"].split(" x ", 1)[1]
    theirs = each["peers"].get(peer)
    if theirs is None:
        return "-" if each["ratio_to_best_peer"] is None else f"{number(each['ratio_to_best_peer'])} x"
    if isinstance(theirs, str) or not each["ours"]:
        return str(theirs)
    # The ratio to the best peer says which way is better: it is (least of the peers) / ours where less is.
    least = min(v for v in each["peers"].values() if not isinstance(v, str))
    lower = abs(each["ratio_to_best_peer"] * each["ours"] / least - 1) < 0.01
    return f"{number(theirs / each['ours'] if lower else each['ours'] / theirs)} x"


def verdict(each: dict[str, Any]) -> str:
    return {True: "met", False: "**missed**", None: "not measured"}[each["met"]]


def section(name: str, rows: list[dict[str, Any]], results: Path) -> str:
    script = Path(__file__).with_name(f"{name.split('-')[0]}.py")
    title = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))).split("\n")[0] if script.is_file() else ""
    versions: dict[str, str] = {}
    for each in rows:
        versions |= each["versions"]
    commands, devices = ("`, `".join(sorted({each[key] for each in rows})) for key in ("command", "device"))
    facts = f"`{commands}` on `{devices}`; {', '.join(f'{k} {v}' for k, v in versions.items())}."
    lines = ["| case | unit | ours | peers | ratio | threads | note |", "|:--|:--|--:|:--|--:|--:|:--|"]
    for each in rows:
        peers = "; ".join(f"{k} {v if isinstance(v, str) else number(v)}" for k, v in each["peers"].items())
        ratio = "" if each["ratio_to_best_peer"] is None else number(each["ratio_to_best_peer"])
        cells = (each["case"], each["unit"], number(each["ours"]), peers, ratio, str(each["threads"]), each["note"])
        lines.append("| " + " | ".join(map(cell, cells)) + " |")
    picture = f"\n![{title}](speed/results/{name}.png)\n" if (results / f"{name}.png").is_file() else ""
    return f"## {name}\n\n{title}\n\n{facts}\n{picture}\n" + "\n".join(lines) + "\n"


def gpu(path: Path) -> str:
    """The section of what benchmarks/device.sh found, and what to run where it has not."""
    if not path.is_file():
        said = "No GPU has been at hand yet: `bash benchmarks/device.sh` measures one, with the CPU beside it."
        return f"## GPU\n\n{said}\n"
    found = json.loads(path.read_text(encoding="utf-8"))
    where = f"`{found['device']}`, beside it `{found['cpu']}`" if found["device"] else f"no GPU, `{found['cpu']}`"
    facts = (
        f"`{found['command']}` on {where} (threads: {found['threads']}), {found['date']}, commit {found['commit']}, "
        f"{found['seconds']:.0f} s; {', '.join(f'{k} {v}' for k, v in found['versions'].items())}. Wall time, medians."
    )
    parts = [f"## GPU\n\n{facts}\n"]
    for name, each in found["sections"].items():
        lines = [f"### {each['title']}", ""]
        if each["status"] != "done":
            lines += [f"{name}: **{each['status']}**, {each['reason']}.", ""]
        if each["rows"]:
            check(each["rows"], path)
            lines += ["| case | unit | on | ours | beside | ratio | note |", "|:--|:--|:--|--:|:--|--:|:--|"]
            lines += [device_line(row, found["cpu"]) for row in _cpu_after_gpu(each["rows"])] + [""]
        parts.append("\n".join(lines))
    return "\n".join(parts)


def device_line(each: dict[str, Any], cpu: str) -> str:
    """A row of the section GPU."""
    peers = "; ".join(f"{k} {v if isinstance(v, str) else number(v)}" for k, v in each["peers"].items())
    ratio = "" if each["ratio_to_best_peer"] is None else number(each["ratio_to_best_peer"])
    note = "; ".join(filter(None, (each["note"], each["target"] and f"target {each['target']}: {verdict(each)}")))
    on = "CPU" if each["device"] == cpu else "GPU"
    cells = (each["case"], each["unit"], on, number(each["ours"]), peers, ratio, note)
    return "| " + " | ".join(map(cell, cells)) + " |"


def _cpu_after_gpu(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of one case and unit side by side, in the order in which the first of them came."""
    first: dict[tuple[str, str], int] = {}
    for each in rows:
        first.setdefault((each["case"], each["unit"]), len(first))
    return sorted(rows, key=lambda each: first[each["case"], each["unit"]])


def number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def cell(text: str) -> str:
    return text.replace("|", "\\|")
