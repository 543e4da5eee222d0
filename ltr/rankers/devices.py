"""Where a training runs and what it took: the torch device of a name, threads of a booster, peak memory."""

from __future__ import annotations

import os
import sys
from typing import Any

from ltr.errors import InputError, unknown_name

__all__ = ["asked_device", "peak_memory", "pick_device", "thread_count"]


def asked_device(accelerator: str, device: Any = None) -> str:
    """What `accelerator=` or, in torch's words, `device=` asks for.

    >>> asked_device("auto", "cuda:1"), asked_device("cpu")
    ('cuda:1', 'cpu')
    """
    if device is None:
        return accelerator
    if accelerator not in ("auto", str(device)):
        raise InputError("accelerator and device say the same thing twice", came=(accelerator, str(device)))
    return str(device)


def pick_device(accelerator: str = "auto"):
    """The torch device of an accelerator's name: auto takes a GPU where there is one.

    Args:
        accelerator: auto, cpu, gpu (or cuda), mps; one of several GPUs as cuda:1.

    Raises:
        InputError: an unknown name, or one this machine has not.
    """
    import torch

    accelerator, _, number = accelerator.partition(":")
    there = {"gpu": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if accelerator == "cuda":
        accelerator = "gpu"
    if accelerator == "auto":
        accelerator = next(name for name, has in there.items() if has)
    if accelerator not in there:
        raise unknown_name("accelerator", accelerator, ("auto", "cuda", *there))
    if not there[accelerator]:
        raise InputError(f"this machine has no {accelerator} that torch can use", do="Leave accelerator at auto")
    if accelerator != "gpu":
        return torch.device(accelerator)
    if number and not (number.isdecimal() and int(number) < torch.cuda.device_count()):
        raise InputError("no such GPU", expected=f"cuda:0 to cuda:{torch.cuda.device_count() - 1}", came=number)
    return torch.device("cuda", int(number) if number else torch.cuda.current_device())


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
