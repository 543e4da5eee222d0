"""Runs every measurement, each in a process of its own, then writes benchmarks/SPEED.md from their files.

python -m benchmarks.speed [NAME ...] [--quick] [--page]
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from benchmarks.speed.measure import RESULTS, ROOT
from benchmarks.speed.page import NAMES, PAGE, page
from ltr.atomic import whole_file


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these of: {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="small forms; files and page go to speed/results/quick")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page")
    args = parser.parse_args()
    for name in args.names:
        if name not in NAMES:
            parser.error(f"no measurement {name!r}; there are {', '.join(NAMES)}")
    failed = []
    for name in () if args.page else args.names or NAMES:
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.speed.{name}", *(["--quick"] if args.quick else [])]
        if subprocess.run(command, cwd=ROOT).returncode:
            failed.append(name)
    results, target = (RESULTS / "quick", RESULTS / "quick" / "SPEED.md") if args.quick else (RESULTS, PAGE)
    with whole_file(target) as beside:
        beside.write_text(page(results), encoding="utf-8", newline="\n")
    print(f"wrote {target.relative_to(ROOT)}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
