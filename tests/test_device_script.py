"""benchmarks/device.sh, without a GPU: it runs in small, it keeps its budget, what fails is said and stops nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.speed import device, device_sections, device_tests, measure, page  # noqa: E402
from benchmarks.speed.device_sections import EAGER, Budget, Home  # noqa: E402
from ltr.rankers import RANKERS  # noqa: E402

NAMES = list(device.SECTIONS)


# ------------------------------------------------------------------------------------------------------- the whole run


@pytest.mark.timeout(900)  # half a minute, on a machine that is not shared
def test_a_quick_run_leaves_every_section_and_a_table(tmp_path):
    environment = os.environ | {
        "OUT": str(tmp_path),
        "PYTHON": sys.executable,
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        ["bash", "benchmarks/device.sh", "--quick", "--minutes", "60"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "device.json").read_text())
    assert list(found["sections"]) == NAMES and found["device"] is None and found["quick"]
    for name, each in found["sections"].items():
        assert (each["status"], each["reason"]) == ("done", ""), (name, each["reason"], done.stderr)
        measure.check(each["rows"], tmp_path / "device.json")
        assert f"### {device.SECTIONS[name].title}\n" in done.stdout
    assert "| tests that fail | tests | CPU | 0 |" in done.stdout
    assert "| ranknet, 4 x 32 | ms | CPU |" in done.stdout
    assert "no GPU" in done.stdout and found["commit"] in done.stdout


def test_without_a_gpu_it_says_so_and_leaves_nothing(tmp_path):
    environment = os.environ | {"OUT": str(tmp_path), "PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        ["bash", "benchmarks/device.sh"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2 and "no GPU that torch can use" in done.stderr
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------------------- the budget


def test_a_section_takes_its_share_and_what_others_left():
    total = 470.0
    first, why = device.limits(NAMES, 0, total, total)
    assert 0.25 * total < first < 0.35 * total and not why
    last, why = device.limits(NAMES, len(NAMES) - 1, total, 200.0)
    assert last == 200.0 and not why  # nobody comes after it
    later = sum(section.needs for section in list(device.SECTIONS.values())[2:])
    tight, why = device.limits(NAMES, 1, total, later + 8)
    assert tight == 8 and not why  # what those after it need is kept for them


def test_a_section_that_does_not_fit_is_skipped_with_the_reason():
    seconds, why = device.limits(NAMES, NAMES.index("chain"), 470.0, 12.0)
    assert seconds == 0 and why == "needs 25 s, and 12 s of the budget are left"
    assert device.limits(NAMES, NAMES.index("ceilings"), 470.0, 12.0)[0] == device.SECTIONS["ceilings"].needs


def test_cases_that_do_not_fit_are_remembered():
    budget = Budget(5)
    assert budget.allows("short", 1) and not budget.allows("long", 60)
    assert budget.left_out == ["long"]


# ----------------------------------------------------------------------------------------- failures stay in their place

STRANGE = """
    import json, os, sys, time
    say = lambda **message: print(json.dumps(message), flush=True)
    say(device=None, threads=1)
    for line in sys.stdin:
        name = json.loads(line)["section"]
        say(row={"case": name, "unit": "ms", "device": "it", "ours": os.getpid()})
        if name == "losses":
            say(failed="RuntimeError: a kernel")
        if name == "training":
            time.sleep(60)
        if name == "scoring":
            os._exit(3)
        say(done=True, left_out=["a case"] if name == "stacked" else [])
"""


@pytest.fixture
def strange(tmp_path, monkeypatch):
    """A worker that fails in every way there is, and a report."""
    (tmp_path / "strange_worker.py").write_text(textwrap.dedent(STRANGE))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    worker = device.Worker(False, "strange_worker")
    yield worker, device.Report.begin(tmp_path / "device.json", False, 8, NAMES)
    worker.stop()


def test_whatever_a_section_does_the_next_one_runs(strange):
    worker, report = strange
    ends, began = {}, time.monotonic()
    for name in ("losses", "training", "scoring", "stacked", "chain"):
        ends[name] = device.run_section(report, worker, name, 3 if name == "training" else 30)
        report.close(name, *ends[name])
    assert ends == {
        "losses": ("failed", "RuntimeError: a kernel"),
        "training": ("stopped", "stopped after 3 s, its share of the budget"),
        "scoring": ("failed", "its process ended with code 3"),
        "stacked": ("stopped", "no time was left for a case"),
        "chain": ("done", ""),
    }
    assert time.monotonic() - began < 55
    kept = json.loads(report.path.read_text())["sections"]
    processes = {name: kept[name]["rows"][0]["ours"] for name in ends}  # rows that came before the failure stay
    assert len(set(processes.values())) == 4 and processes["stacked"] == processes["chain"]
    assert kept["ceilings"]["status"] == "waiting" and kept["chain"]["status"] == "done"


def test_a_row_of_the_same_case_takes_the_place_of_the_first(tmp_path):
    report = device.Report.begin(tmp_path / "device.json", True, 8, NAMES)
    for ours in (1, 2):
        report.add("losses", {"case": "a", "unit": "ms", "device": "it", "ours": ours})
    report.add("losses", {"case": "a", "unit": "ms", "device": "another", "ours": 3})
    assert [each["ours"] for each in json.loads(report.path.read_text())["sections"]["losses"]["rows"]] == [2, 3]


def test_outcomes_of_a_run_that_was_cut_off(tmp_path):
    log = tmp_path / "outcomes.jsonl"
    lines = [["a", "passed"], ["b", "failed"], ["b", "passed"], ["c", "skipped"], ["d", "passed"]]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines) + '["e", "pas')
    assert device_tests.read(log, 2, 1.0, False) == (2, 1, ["b"], 2, 1.0, False)


def test_files_with_device_tests_are_found():
    names = {path.name for path in device_tests.device_files()}
    assert {"test_losses.py", "test_rankers.py", "test_front_pipeline.py"} <= names and Path(__file__).name not in names
    assert len(device_tests.device_files(quick=True)) == 1


# -------------------------------------------------------------------------------------------------------- measurements


@pytest.mark.parametrize("name", EAGER)
def test_eager_forms_are_the_same_functions(name):
    device_sections.agree(name, "cpu")


@pytest.mark.parametrize(("width", "blocks", "heads"), [(16, 1, 2), (24, 2, 3)])
def test_model_flops_are_those_torch_counts(width, blocks, heads):
    from benchmarks.speed.train import FEATURES, Ours

    config = RANKERS["transformer"].claims["config"](width=width, blocks=blocks, heads=heads, d_ff=40, dropout=0.0)
    it = Ours(config, "listnet", lists=6)
    with FlopCounterMode(display=False) as counter:
        it.bare()
    lengths = np.minimum(it.job.train.lengths, 240)
    assert counter.get_total_flops() == pytest.approx(device_sections.flops(config, FEATURES, lengths), rel=1e-3)


@pytest.fixture(autouse=True)
def threads(monkeypatch):
    """Scripts of measurements set these when they are imported; afterwards they are as they were."""
    for library in ("OMP", "MKL", "OPENBLAS", "NUMBA"):
        monkeypatch.setenv(f"{library}_NUM_THREADS", os.environ.get(f"{library}_NUM_THREADS", "1"))


class Event:
    """What the sections ask of torch.cuda.Event."""

    def __init__(self, enable_timing: bool):
        assert enable_timing

    def record(self) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, other: Event) -> float:
        return 1e3 * (other.at - self.at)


@pytest.fixture
def pretended(monkeypatch) -> Home:
    """The branches of a GPU, on the CPU."""
    for name in ("synchronize", "empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    for name, value in (("memory_allocated", 0), ("max_memory_allocated", 2**21)):
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(device_sections.gc, "collect", lambda: 0)  # a second each among all that tests have loaded
    home = Home("cpu", quick=True, threads=1)
    home.gpu = True
    return home


@pytest.mark.parametrize("name", device_sections.SECTIONS)
def test_a_gpu_gets_memory_and_utilisation_beside_time(name, pretended):
    budget = Budget(600)
    rows = list(device_sections.SECTIONS[name](pretended, budget))
    measure.check(rows, Path(name))
    assert not budget.left_out and all(each["ours"] is not None for each in rows)
    units = {each["unit"] for each in rows}
    if name in ("losses", "training", "scoring", "stacked", "compiled"):
        assert "MB" in units
    if name == "training":
        assert any("MFU" in unit for unit in units)


def test_a_contestant_that_cannot_is_a_sentence(pretended):
    def full():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 TiB")

    found = pretended.turns({"ltr": lambda: None, "eager": full})
    assert found["ltr"] > 0 and found["eager"] == "out of memory" and pretended.peak(full) == "out of memory"
    row = device_sections.compared(pretended, "a loss", "ms", {"ltr": "out of memory", "eager": 1.0})
    assert row["ours"] is None and row["note"] == "out of memory"


# ------------------------------------------------------------------------------------------------------------ the page


def test_the_page_says_what_to_run_before_there_is_a_file(tmp_path):
    assert "`bash benchmarks/device.sh`" in page.gpu(tmp_path / "device.json")


def test_the_page_shows_rows_and_why_sections_are_not_whole(tmp_path):
    report = device.Report.begin(tmp_path / "device.json", False, 8, NAMES)
    report.facts |= {"device": "a GPU", "threads": 16}
    cpu = report.facts["cpu"]
    for case, on in (("one", "a GPU"), ("two", "a GPU"), ("one", cpu)):
        report.add("losses", measure.row(case, "ms", 2.0, {"eager": 6.0}, lower=True, name="device") | {"device": on})
    report.close("losses", "stopped", "no time was left for a case", 100)
    text = page.gpu(report.path)
    assert "on `a GPU`, beside it" in text and "losses: **stopped**, no time was left for a case." in text
    assert text.index("| one | ms | GPU |") < text.index("| one | ms | CPU |") < text.index("| two | ms | GPU |")
    assert "chain: **waiting**, not reached." in text
