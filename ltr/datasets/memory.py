"""How much memory a process can have, so that what cannot fit is refused, or read in parts, before it is allocated."""

from __future__ import annotations

import os
import sys
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = ["all_memory", "free_memory"]

_MEMINFO, _GROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Bytes a process can still have, within its own limits and those of the control group it runs in."""
    free = _entry(_MEMINFO, "MemAvailable:") << 10 if _MEMINFO.is_file() else _physical() // 2
    try:
        if (allowed := _allowed_group()) is not None:
            # File pages the group has cached count as used but give way.
            taken = int((_GROUP / "memory.current").read_text()) - _entry(_GROUP / "memory.stat", "inactive_file")
            free = min(free, max(0, allowed - taken))
    except OSError:
        pass  # no control group of version 2
    return min(free, _own_limit())


def all_memory() -> int:
    """Bytes a process could have with the machine to itself; the same whenever one asks."""
    group = _allowed_group()
    return min(_physical(), _own_limit(), *(() if group is None else (group,)))


def _physical() -> int:
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 8 << 30  # where the system does not say


def _allowed_group() -> int | None:
    """The limit of the control group (version 2), None where there is none."""
    try:
        allowed = (_GROUP / "memory.max").read_text().strip()
    except OSError:
        return None
    return int(allowed) if allowed.isdigit() else None


def _own_limit() -> int:
    """What `ulimit -d` and `ulimit -v` leave to this process."""
    if resource is None:
        return sys.maxsize
    limits = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_DATA, resource.RLIMIT_AS)]
    return min([limit for limit in limits if limit != resource.RLIM_INFINITY], default=sys.maxsize)


def _entry(file: Path, name: str) -> int:
    """The number after `name` in a file of lines `name number`; 0 when it is not there."""
    return next((int(line.split()[1]) for line in file.read_text().splitlines() if line.split()[:1] == [name]), 0)
