"""What every test file shares: the real data (or a skip with its reason), the device, and which tests run on it."""

from __future__ import annotations

import gc
import importlib
import os
import signal
from pathlib import Path

# Processes of pytest-xdist share the cores: one thread each, said before torch is imported. Their terminal is nobody's.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.pop("COLUMNS", None)

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Pure arithmetic and small files: `python -m pytest -m fast`, a tenth of the tests in under a minute.
FAST = {
    "test_aggregators",
    "test_gains",
    "test_measure_names",
    "test_ops",
    "test_scalarisations",
    "test_significance",
    "test_schema",
}


# A runner in the background of a script hands on an ignored SIGINT, and the tests of Ctrl-C would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real sets beside the checkout; `LTR_REAL_DATA` names another."""
    folder = Path(os.environ.get("LTR_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the real data sets are not on this machine (set LTR_REAL_DATA to their folder)")
    return folder


@pytest.fixture
def own_entries(monkeypatch):
    """What a test registers in a catalogue is forgotten after it."""
    from ltr.losses import LOSSES
    from ltr.metrics import MEASURES
    from ltr.rankers import RANKERS

    for catalogue in (LOSSES, RANKERS, MEASURES):
        monkeypatch.setattr(catalogue, "_entries", {entry.name: entry for entry in catalogue})


def _no_pictures():
    """Reports without pictures, which take three quarters of a small suite's time and have tests of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("ltr.bench.pages.report"), "_draw", lambda *_: [])
        patch.setattr(importlib.import_module("ltr.bench.pages.report_fronts"), "_pictures", lambda *_: [])
        yield


no_pictures = pytest.fixture(_no_pictures, scope="module", name="no_pictures")
without_pictures = pytest.fixture(_no_pictures, name="without_pictures")  # of one test


@pytest.fixture(scope="session")
def device() -> str:
    """The device tensors of the tests live on; `LTR_TEST_DEVICE=cuda` runs them on a GPU."""
    return os.environ.get("LTR_TEST_DEVICE", "cpu")


def pytest_collection_finish() -> None:
    """What stays for the whole run, the libraries above all, is not walked again by every collection of garbage."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items) -> None:
    """Marks the tests of `FAST` files, and those that LTR_TEST_DEVICE moves to another device (`-m device`)."""
    for item in items:
        if item.path.stem in FAST:
            item.add_marker("fast")
        if {"device", "on_the_test_device"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("device")
