"""The command line of the faults: see the package's docstring."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from . import damage, fuzz, kills, signals, table
from .outcomes import Tally

KINDS = {"kills": kills.run, "signals": signals.run, "damage": damage.run, "fuzz": fuzz.run}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=4.0, help="in all; a fourth for each kind")
    parser.add_argument("--only", choices=list(KINDS), nargs="+", default=list(KINDS))
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--cases", type=int, default=10**9, help="of each kind, at most")
    parser.add_argument("--kinds", nargs="+", help="subjects of kills, signals and damage, e.g. net; all by default")
    parser.add_argument("--keep", type=Path, help="folder for the subjects, instead of one that goes")
    parser.add_argument("--no-table", action="store_true", help="leave last.json and README.md as they are")
    options = parser.parse_args()
    tally, took, here = Tally(), {}, Path.cwd()
    with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
        for kind in options.only:
            print(f"{kind}: seed {options.seed}", flush=True)
            start = time.monotonic()
            root = (options.keep or Path(scratch)).absolute() / kind
            os.environ["LTR_DATA"] = str(root / "data")  # own stores and cards: nothing of the user's is touched
            until = start + 60 * options.minutes / len(options.only)
            chosen = {} if not options.kinds or kind == "fuzz" else {"kinds": tuple(options.kinds)}
            KINDS[kind](tally, options.seed, until=until, cases=options.cases, root=root, **chosen)
            took[kind] = time.monotonic() - start
            os.chdir(here)
    facts = table.facts(tally, options.seed, took)
    print(table.markdown(facts))
    if not options.no_table:
        table.write(facts, Path(__file__).parent)
    return 1 if tally.mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
