"""What a number also depends on: the code, the data, the libraries, the machine, and the memory it took."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ltr import __version__, paths
from ltr.rankers.neural import pick_device

if TYPE_CHECKING:
    from ltr.types import Split, Task

__all__ = ["code", "data_hashes", "environment", "peak_memory", "reset_peak_memory"]

_PACKAGE = Path(__file__).resolve().parent.parent
_LIBRARIES = (
    "torch",
    "lightning",
    "numpy",
    "scikit-learn",
    "pyarrow",
    "lightgbm",
    "xgboost",
    "xgboost-cpu",
    "catboost",
)


@functools.cache
def code() -> dict:
    """`sources`: sha256 over the Python sources of the package; `commit` and `dirty` where git knows them."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    found: dict[str, Any] = {"version": __version__, "sources": digest.hexdigest()}
    root = paths.checkout()
    if root and (root / ".git").exists() and shutil.which("git"):
        commit = _git(root, "rev-parse", "HEAD")
        if commit:
            found |= {"commit": commit, "dirty": bool(_git(root, "status", "--porcelain", "--", "ltr"))}
    return found


def _git(root: Path, *words: str) -> str:
    asked = ["git", "--no-optional-locks", "-C", str(root), *words]  # a run that is killed leaves no index.lock
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def data_hashes(task: Task) -> dict[str, Any]:
    """`card`: sha256 of the card's file, None without one. `store`: of what the store's manifest says about content
    (files, folds, columns), the same wherever it was converted; of the arrays for a task without a store."""
    manifest = task.facts.get("manifest")
    if manifest is None:
        return {"card": None, "store": _hash_of([task.train, task.vali, task.test])}
    parts = {key: {"raw": part["sha256"], "files": part["files"]} for key, part in manifest["parts"].items()}
    facts = [manifest["objectives"], manifest["features"], manifest["folds"], parts]
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return {"card": (manifest.get("card") or {}).get("sha256"), "store": hashlib.sha256(text.encode()).hexdigest()}


def _hash_of(splits: list[Split]) -> str:
    digest = hashlib.sha256()
    for split in splits:
        for array in (split.features, split.labels, split.offsets):
            if array is not None:
                digest.update(np.ascontiguousarray(array).data)
        digest.update("\x1f".join(split.query_ids.astype(str)).encode())
    return digest.hexdigest()


def environment(device: str = "auto") -> dict:
    """Python, libraries, platform, device asked for and used, cpu count, threads."""
    import torch

    versions = {}
    for library in _LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "libraries": versions,
        "device_asked": device,
        "device": _device(device),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def _device(asked: str) -> str:
    import torch

    device = pick_device(asked)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def reset_peak_memory() -> None:
    """Starts a new high-water mark where the platform lets us (Linux; the GPU's allocator), so that a run in a process
    that did other work before is charged for its own."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass  # then the mark is that of the whole process, as documented in Record.cost
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def peak_memory() -> dict[str, int]:
    """`peak_memory_bytes`: resident high-water mark of this process; `peak_gpu_memory_bytes` where a GPU was used."""
    found = {"peak_memory_bytes": _high_water()}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        found["peak_gpu_memory_bytes"] = int(torch.cuda.max_memory_allocated())
    return found


def _high_water() -> int:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows has no getrusage
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes there, kilobytes elsewhere
