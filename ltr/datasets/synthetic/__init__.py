"""The synthetic task: MSLR-shaped lists with conflicting objectives whose best ranker is known."""

from __future__ import annotations

from .task import *  # noqa: F403
