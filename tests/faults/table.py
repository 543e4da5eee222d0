"""The table of a run: last.json, and README.md made of it."""

from __future__ import annotations

import json
import platform
from collections import Counter
from pathlib import Path

from .outcomes import MISTAKES, OUTCOMES, Tally

_PAGE = """# Faults

```bash
python -m tests.faults --minutes 10        # writes last.json and this page again
```

Of the last run, {date}, seed {seed}, Python {python}:

{table}

{words}

{kinds}

{mistakes}
"""
_WORDS = """\
- **refused**: one message, exit code 2, nothing measured. **said**: another result, and a message that names what is
  damaged. **right**: the numbers of an undisturbed run, because the damage was mended or because nobody read it.
- **silent wrong**: exit code 0, another number, no word. **traceback**: an exception that is not ours. **hang**: a
  minute without an end. These three are mistakes.
- Damage is counted by commands that read a damaged file; {files} files were harmed. Fuzz is counted by inputs."""


def facts(tally: Tally, seed: int, took: dict[str, float]) -> dict:
    """What last.json holds."""
    import datetime

    kinds: dict[str, dict] = {}
    files = tally.counts.get(("damage", "files", "harmed"), 0)
    for (kind, group, outcome), n in sorted(tally.counts.items()):
        if outcome in OUTCOMES:
            kinds.setdefault(kind, {}).setdefault(group, {})[outcome] = n
    return {
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "seed": seed,
        "seconds": {kind: round(seconds, 1) for kind, seconds in took.items()},
        "files_harmed": files,
        "counts": kinds,
        "mistakes": [vars(case) for case in tally.mistakes[:200]],
    }


def _row(name: str, counts: Counter, extra: str = "") -> str:
    cells = [f"{counts[o]:,}" if o not in MISTAKES or not counts[o] else f"**{counts[o]:,}**" for o in OUTCOMES]
    return f"| {name} | {sum(counts.values()):,} | {' | '.join(cells)} |{extra}"


def markdown(facts: dict) -> str:
    """A row a kind."""
    lines = [f"| | cases | {' | '.join(OUTCOMES)} | seconds |", "|:--|" + "--:|" * (len(OUTCOMES) + 2)]
    for kind, groups in facts["counts"].items():
        total = sum((Counter(c) for c in groups.values()), Counter())
        lines.append(_row(kind, total, f" {facts['seconds'].get(kind, 0):.0f} |"))
    return "\n".join(lines)


def write(facts: dict, folder: Path) -> None:
    """Writes last.json and README.md."""
    (folder / "last.json").write_text(json.dumps(facts, indent=1) + "\n")
    (folder / "README.md").write_text(page(facts))


def page(facts: dict) -> str:
    """README.md of what last.json holds."""
    inner = [f"| | cases | {' | '.join(OUTCOMES)} |", "|:--|" + "--:|" * (len(OUTCOMES) + 1)]
    for kind, groups in facts["counts"].items():
        inner += [_row(f"{kind}: {group}", Counter(counts)) for group, counts in groups.items()]
    found = Counter((c["kind"], c["group"], c["outcome"], c["told"][:120]) for c in facts["mistakes"])
    mistakes = [f"- {n} x {o}, {k}, {g}: {t}".replace("|", "\\|") for (k, g, o, t), n in found.most_common(30)]
    return _PAGE.format(
        date=facts["date"],
        seed=facts["seed"],
        python=facts["python"],
        table=markdown(facts),
        words=_WORDS.format(files=f"{facts['files_harmed']:,}"),
        kinds="\n".join(inner),
        mistakes="\n".join(
            ["Mistakes that were found (at most 30 kinds):", "", *mistakes] if mistakes else ["No mistakes."]
        ),
    )
