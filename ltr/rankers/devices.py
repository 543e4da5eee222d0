"""Where a training runs and what it took: the torch device of a name, threads of a booster, peak memory."""

from __future__ import annotations

import os
import sys

from ltr.errors import InputError, unknown_name

__all__ = ["peak_memory", "pick_device", "thread_count"]


def pick_device(accelerator: str = "auto"):
    """The torch device of an accelerator's name: auto takes a GPU where there is one.

    Raises:
        InputError: an unknown name, or one this machine has not.
    """
    import torch

    there = {"gpu": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if accelerator == "cuda":
        accelerator = "gpu"
    if accelerator == "auto":
        accelerator = next(name for name, has in there.items() if has)
    if accelerator not in there:
        raise unknown_name("accelerator", accelerator, ("auto", "cuda", *there))
    if not there[accelerator]:
        raise InputError(f"this machine has no {accelerator} that torch can use", do="Leave accelerator at auto")
    return torch.device("cuda", torch.cuda.current_device()) if accelerator == "gpu" else torch.device(accelerator)


def peak_memory() -> int:
    """High-water mark of the process's resident memory in bytes; 0 where the platform does not say."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def thread_count() -> int:
    """Threads of a booster: torch's setting where torch is loaded, else $OMP_NUM_THREADS, else the cores we may use."""
    if "torch" in sys.modules:
        return sys.modules["torch"].get_num_threads()
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
