"""The table of the last run of each kind: last.json, and README.md made of it."""

from __future__ import annotations

import datetime
import json
import platform
from collections import Counter
from pathlib import Path
from typing import Any

from .outcomes import MISTAKES, OUTCOMES, Tally

_PAGE = """\
# Faults

```bash
python -m tests.faults --minutes 10                           # writes last.json and this page again
python -m tests.faults --minutes 10 --rounds 6 --add          # adds six rounds to them
```

Inputs of "fuzz" are made by hypothesis and harmed at random; those of "guided" are found by the coverage they reach
(`pip install atheris`, Apache 2.0). The counts of each kind:

{table}

- **refused**: one message, exit code 2, nothing measured. **said**: another result, and a message that names what is
  damaged. **right**: the numbers of an undisturbed run, because the damage was mended or because nobody read it.
- **silent wrong**: exit code 0, another number, no word. **traceback**: an exception that is not ours. **hang**: a
  minute of the processor without an end. These three are mistakes.
- Cases are kills, signals, commands that read a damaged file, and inputs. {files} files were damaged.

{kinds}

{mistakes}
"""
_HEAD = f"cases | {' | '.join(OUTCOMES)}"


def facts(tally: Tally, seed: int, took: dict[str, float]) -> dict[str, Any]:
    """What last.json holds of the kinds that ran: kind -> date, seed, seconds, cases by group and outcome."""
    found: dict[str, Any] = {}
    for kind, seconds in took.items():
        counts: dict[str, dict[str, int]] = {}
        for (of, group, outcome), n in sorted(tally.counts.items()):
            if of == kind and outcome in OUTCOMES:
                counts.setdefault(group, {})[outcome] = n
        found[kind] = {
            "date": datetime.date.today().isoformat(),
            "python": platform.python_version(),
            "seed": seed,
            "rounds": 1,
            "seconds": round(seconds, 1),
            "files": tally.counts.get((kind, "files", "harmed"), 0),
            "counts": counts,
            "mistakes": [vars(case) for case in tally.mistakes if case.kind == kind][:200],
        }
    return found


def _row(name: str, counts: Counter, *more: str) -> str:
    cells = [f"**{counts[o]:,}**" if o in MISTAKES and counts[o] else f"{counts[o]:,}" for o in OUTCOMES]
    return "| " + " | ".join([name, f"{sum(counts.values()):,}", *cells, *more]) + " |"


def markdown(facts: dict[str, Any]) -> str:
    """A row a kind."""
    lines = [f"| | {_HEAD} | seconds | rounds | last seed | date |", "|:--|" + "--:|" * (len(OUTCOMES) + 5)]
    for kind, its in facts.items():
        total = sum((Counter(c) for c in its["counts"].values()), Counter())
        lines.append(
            _row(kind, total, f"{its['seconds']:,.0f}", str(its.get("rounds", 1)), str(its["seed"]), its["date"])
        )
    return "\n".join(lines)


def added(before: dict[str, Any], its: dict[str, Any]) -> dict[str, Any]:
    """What is known of a kind, and a further round of it."""
    counts = {
        group: dict(Counter(before["counts"].get(group, {})) + Counter(its["counts"].get(group, {})))
        for group in sorted({*before["counts"], *its["counts"]})
    }
    sums = {key: round(before.get(key, 1) + its[key], 1) for key in ("rounds", "seconds", "files")}
    return {**its, **sums, "counts": counts, "mistakes": [*before["mistakes"], *its["mistakes"]][:200]}


def write(facts: dict[str, Any], folder: Path, add: bool = False) -> None:
    """Writes last.json and README.md; a kind that did not run keeps its row, one that did is replaced or `add`ed to."""
    last = folder / "last.json"
    known = json.loads(last.read_text()) if last.is_file() else {}
    merged = {**known, **{k: added(known[k], its) if add and k in known else its for k, its in facts.items()}}
    merged = {kind: merged[kind] for kind in sorted(merged)}
    last.write_text(json.dumps(merged, indent=1) + "\n")
    (folder / "README.md").write_text(page(merged))


def page(facts: dict[str, Any]) -> str:
    """README.md of what last.json holds."""
    inner = [f"| | {_HEAD} |", "|:--|" + "--:|" * (len(OUTCOMES) + 1)]
    for kind, its in facts.items():
        inner += [_row(f"{kind}: {group}", Counter(counts)) for group, counts in its["counts"].items()]
    cases = [case for its in facts.values() for case in its["mistakes"]]
    found = Counter((c["kind"], c["group"], c["outcome"], " ".join(c["told"].split())[:160]) for c in cases)
    told = [f"- {n} x {o}, {k}, {g}: {t}".replace("|", "\\|") for (k, g, o, t), n in found.most_common(30)]
    return _PAGE.format(
        table=markdown(facts),
        files=f"{sum(its['files'] for its in facts.values()):,}",
        kinds="\n".join(inner),
        mistakes="\n".join(
            ["Mistakes that were found (at most 30):", "", *told]
            if told
            else ["No mistakes: what was found is repaired, and its seed was tried again."]
        ),
    )
