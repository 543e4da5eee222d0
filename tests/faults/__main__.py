"""The command line of the faults: see the package's docstring."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from . import damage, fuzz, guided, kills, signals, table
from .outcomes import Tally

KINDS = {"kills": kills.run, "signals": signals.run, "damage": damage.run, "fuzz": fuzz.run, "guided": guided.run}
_SUBJECTS = ("kills", "signals", "damage")  # those that take --kinds


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=4.0, help="of a round, shared by the kinds")
    parser.add_argument("--rounds", type=int, default=1, help="each with a seed of its own")
    parser.add_argument("--add", action="store_true", help="to what last.json holds; rounds after the first always do")
    parser.add_argument("--only", choices=list(KINDS), nargs="+", help="all by default; guided where atheris is there")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--cases", type=int, default=10**9, help="of each kind, at most")
    parser.add_argument("--kinds", nargs="+", help="subjects of kills, signals and damage, e.g. net; all by default")
    parser.add_argument("--keep", type=Path, help="folder for the subjects, instead of one that goes")
    parser.add_argument("--no-table", action="store_true", help="leave last.json and README.md as they are")
    options = parser.parse_args()
    kinds = options.only or [kind for kind in KINDS if kind != "guided" or guided.is_there()]
    mistakes = 0
    with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
        for k in range(options.rounds):
            facts, found = _round(
                options, kinds, options.seed + 1_000_000 * k, (options.keep or Path(scratch)).absolute()
            )
            mistakes += found
            print(table.markdown(facts), flush=True)
            if not options.no_table:
                table.write(facts, Path(__file__).parent, add=options.add or k > 0)
    return 1 if mistakes else 0


def _round(options, kinds: list[str], seed: int, folder: Path) -> tuple[dict, int]:
    """The facts of each kind, and how many mistakes there were."""
    tally, took, here = Tally(), {}, Path.cwd()
    for kind in kinds:
        print(f"{kind}: seed {seed}", flush=True)
        start = time.monotonic()
        root = folder / kind
        os.environ["LTR_DATA"] = str(root / "data")  # own stores and cards: nothing of the user's is touched
        until = start + 60 * options.minutes / len(kinds)
        chosen = {"kinds": tuple(options.kinds)} if options.kinds and kind in _SUBJECTS else {}
        KINDS[kind](tally, seed, until=until, cases=options.cases, root=root, **chosen)
        took[kind] = time.monotonic() - start
        os.chdir(here)
    return table.facts(tally, seed, took), len(tally.mistakes)


if __name__ == "__main__":
    sys.exit(main())
