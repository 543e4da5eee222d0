"""What to run: a suite file, its grids and the runs it stands for."""

from __future__ import annotations

from .reading import check, load_suite, suite_names
from .suite import Limits, Suite, System, Tuning, Variant, slug

__all__ = ["Limits", "Suite", "System", "Tuning", "Variant", "check", "load_suite", "slug", "suite_names"]
