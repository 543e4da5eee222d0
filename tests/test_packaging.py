"""What a pip user gets: the wheel carries the facts, and never anybody's data."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"


def test_wheel_carries_facts_and_no_data(tmp_path):
    # A clone of the tracked files, so that the test can leave a stranger's file where fetched data would lie.
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, tracked.split("\0")):
        if (
            name.startswith(("ltr/", "data/", "benchmarks/suites/"))
            or "/" not in name
            or name.endswith(("expected.toml", "questions.toml"))
        ):
            target = tmp_path / "clone" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    raw = tmp_path / "clone" / "data" / "mq2008" / "raw"
    raw.mkdir()
    (raw / "train.txt").write_text("0 qid:1 1:0.5\n")
    subprocess.run(
        [sys.executable, "-c", BUILD, str(tmp_path)], cwd=tmp_path / "clone", check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert not [n for n in names if "/raw/" in n or n.startswith(("tests/", "notebooks/"))]

    # The unpacked wheel finds its cards and suites without the checkout.
    code = "from ltr.datasets.cards.card import cards; from ltr.bench.suite import suite_names"
    code += "; print(*cards(), *suite_names())"
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    assert {"mq2008", "mslr-web30k", "quickstart"} <= set(out.stdout.split())
