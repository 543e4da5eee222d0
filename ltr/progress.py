"""A bar for whoever calls `fit` by hand: in a notebook and on a terminal, nowhere else, one at a time."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["listener"]

_taken = ContextVar("taken", default=False)  # somebody listens already: what trains inside says nothing of its own


@contextmanager
def listener(progress: Callable[..., Any] | bool | None, what: str) -> Iterator[Callable[..., Any] | None]:
    """Who hears a training, for as long as it lasts.

    Args:
        progress: a function of the caller's; False for nobody; None (or True) for a bar, which is shown in a notebook
            and on a terminal unless an outer training has one. TQDM_DISABLE=1 in the environment hides it.
        what: trains.
    """
    token = _taken.set(True)
    try:
        if callable(progress):
            yield progress
        elif progress is False or token.old_value is True or not (_notebook() or sys.stderr.isatty()):
            yield None
        else:
            with _bar(what) as bar:
                yield _Bar(bar, what)
    finally:
        _taken.reset(token)


class _Bar:
    """Turns events of trainings, one after another, into one bar."""

    def __init__(self, bar: Any, what: str):
        self.bar, self.what, self.training = bar, what, 1

    def __call__(self, event: Any) -> None:
        """Hears an event with epoch, epochs, loss and vali."""
        bar = self.bar
        if event.epoch <= bar.n:
            self.training += 1
            bar.set_description(f"{self.what}, training {self.training}", refresh=False)
            bar.reset(event.epochs)
        bar.total = event.epochs
        said = {"loss": event.loss, "vali": event.vali}
        bar.set_postfix({k: f"{v:.4f}" for k, v in said.items() if v is not None}, refresh=False)
        bar.update(event.epoch - bar.n)


def _notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def _bar(what: str) -> Any:
    if not _notebook() or importlib.util.find_spec("ipywidgets"):
        from tqdm.auto import tqdm
    else:  # a notebook without widgets: text, which needs none
        from tqdm.std import tqdm  # type: ignore[assignment]
    return tqdm(desc=what, unit="epoch", leave=False)
