"""How much memory this machine can still give, so that what cannot fit is refused before anything is allocated."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["free_memory"]


def free_memory() -> int:
    """Bytes a process can still have, within the limits of the control group it runs in."""
    meminfo, group = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
    if meminfo.is_file():
        free = _entry(meminfo, "MemAvailable:") << 10
    elif hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    else:
        free = 4 << 30  # where the system does not say
    try:
        allowed = (group / "memory.max").read_text().strip()
        if allowed.isdigit():
            # File pages the group has cached count as used but give way.
            taken = int((group / "memory.current").read_text()) - _entry(group / "memory.stat", "inactive_file")
            free = min(free, max(0, int(allowed) - taken))
    except OSError:
        pass  # no control group of version 2
    return free


def _entry(file: Path, name: str) -> int:
    """The number after `name` in a file of lines `name number`; 0 when it is not there."""
    return next((int(line.split()[1]) for line in file.read_text().splitlines() if line.split()[:1] == [name]), 0)
