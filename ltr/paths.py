"""Where things lie: the facts that travel with the package, and the user's data.

Facts (dataset cards, suites, expected numbers) have one home in the repository, `data/` and `benchmarks/`; a wheel
carries copies of them under `ltr/_facts`, put there by the build. A checkout reads the originals.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cards", "checkout", "data_root", "suites"]

_PACKAGE = Path(__file__).resolve().parent


def checkout() -> Path | None:
    """The repository's root when `ltr` runs from one, else None."""
    root = _PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() and (root / "data").is_dir() else None


def _facts(of_checkout: str, of_wheel: str) -> Path:
    root = checkout()
    return root / of_checkout if root else _PACKAGE / "_facts" / of_wheel


def cards() -> Path:
    """Folder of the dataset cards, one folder `NAME/card.toml` each."""
    return _facts("data", "data")


def suites() -> Path:
    """Folder of the suites and of expected.toml's neighbours."""
    return _facts("benchmarks", "benchmarks")


def data_root() -> Path:
    """Folder of the user's data: `NAME/raw` holds what was fetched, `NAME/store` what was converted.

    `$LTR_DATA` when it is set; the checkout's `data/`; else the platform's folder for user data.
    """
    if "LTR_DATA" in os.environ:
        return Path(os.environ["LTR_DATA"]).expanduser()
    root = checkout()
    if root:
        return root / "data"
    import platformdirs  # only pip users without $LTR_DATA get here

    return platformdirs.user_data_path("ltr")
