"""Nets behind the two verbs: transform, training loop, whole-list scoring, a folder of plain weights."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, make_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

import ltr.rankers.devices as devices
from ltr.datasets.transforms import Transform
from ltr.errors import InputError
from ltr.schema import to_dict
from ltr.types import Split

from .base import FittedRanker, register
from .config import DASALCConfig, LinearConfig, MLPConfig, OwnNetConfig, TabMConfig, TrainingConfig, TransformerConfig
from .devices import pick_device as pick_device
from .training.job import ObjectiveJob

__all__ = ["NeuralRanker", "pick_device", "register_net"]


@dataclass(eq=False, repr=False)
class NeuralRanker(FittedRanker):
    """A net trained with a list loss.

    Attributes:
        net: the module, in evaluation mode after `fit`; None before.
        transform: the feature transform, fitted on train.
        start: a ranker of the same net whose transform and weights the next `fit` begins with; None: fresh ones.
        device: where the last `fit` or `load` put the net.
    """

    training: TrainingConfig = field(default_factory=TrainingConfig)
    net: Any = field(default=None, init=False)
    transform: Any = field(default=None, init=False)
    start: NeuralRanker | None = field(default=None, init=False)

    @property
    def n_parameters(self) -> int:
        """Weights of the net; 0 before it is built."""
        return 0 if self.net is None else sum(p.numel() for p in self.net.parameters())

    @property
    def device(self):
        return next(self.net.parameters()).device

    @property
    def inner(self):
        """The net, as stacked training takes it."""
        return self.net

    def to(self, device) -> NeuralRanker:
        """Moves the net; returns itself."""
        self.net.to(device)
        return self

    def _ready(self) -> None:
        from .training import ranking  # noqa: F401  (seconds, the first time)

    def build(self, inputs: int, seed: int) -> None:
        """A net with fresh weights."""
        from .nets import build, check_net
        from .training.prepare import seeded

        with seeded(seed):
            self.net = build(self.config, inputs)
            if isinstance(self.config, OwnNetConfig):
                check_net(self.net, inputs, self.name)

    def _fit(self, job: ObjectiveJob) -> int:
        from .training.loop import train
        from .training.prepare import Prepared, loss_name
        from .training.ranking import RankingModule

        settings = self.training
        if job.trainer is not None and (job.trainer.max_epochs or 0) > 0:
            settings = replace(settings, epochs=job.trainer.max_epochs)
        data = Prepared(job, settings, self.start and self.start.transform)
        self.transform = data.transform
        self.build(data.width, job.seed)
        if self.start is None:
            data.prepare([self.net])
        else:
            self.net.load_state_dict(self.start.net.state_dict())
        facts = {
            "ranker": self.name,
            "config": to_dict(self.config),
            "training": to_dict(settings),
            "loss": loss_name(job.loss),
            "objective": job.objective,
            "select": job.measure,
            "seed": job.seed,
        }
        own: tuple[Any, ...] = ()
        if isinstance(self.config, OwnNetConfig) or self.start:  # its name does not say what it is
            facts["net"], own = repr(self.net), tuple(self.net.state_dict().values())
        module = RankingModule(self.net, job.loss, measures=(job.measure,), seed=job.seed)
        module.job, module.settings = job, settings
        before, notes = train(module, data, data.identity(facts, own))
        self.net.to(data.device)
        state = module.state
        self.history, self.notes = state.history, self.notes + notes
        self.best = {k: v for k, v in (state.best or state.history[-1]).items() if k in ("epoch", "vali")}
        documents = data.batches.n_documents * len(state.history)
        self.cost = data.cost(state, before, documents)
        self.cost["operations"] = data.operations(self.net, self.config, documents)
        return documents

    def _score(self, split: Split) -> np.ndarray:
        return self._gathered(split).cpu().numpy()

    def score_tensor(self, split: Split):
        """As `score`, a tensor on the net's device."""
        self._check_input(split)
        scores = self._gathered(split)
        if not scores.isfinite().all():
            raise self._not_finite()
        return scores

    def _gathered(self, split: Split):
        import torch

        from ltr.datasets.batching.batches import Batches

        from .nets import score_batch

        batches = Batches(split, device=self.device, transform=self.transform)
        scores = batches.gather(lambda batch: score_batch(self.net, batch))
        return torch.zeros(0, device=self.device) if scores is None else scores

    def _write(self, folder: Path) -> Mapping[str, Any]:
        import torch

        torch.save({k: v.cpu() for k, v in self.net.state_dict().items()}, folder / "weights.pt")
        self.transform.save(folder / "transform.npz")
        return {"n_parameters": self.n_parameters}

    def _read(self, folder: Path, facts: Mapping[str, Any]) -> None:
        from .training.checkpoint import load_weights

        self.transform = Transform.load(folder / "transform.npz")
        self.build(self.transform.width(facts["n_features"]), 0)
        load_weights(self.net, folder / "weights.pt")
        self.net.to(devices.pick_device()).eval()


def register_net(name: str, *, formula: str = "", source: str = "", independent: bool = False) -> Callable:
    """Decorator: a module of your own as a ranker, trained, selected, saved and resumed as all nets are.

        @register_net("deepsets")
        class DeepSets(nn.Module):
            def __init__(self, n_features: int, hidden: int = 32): ...
            def forward(self, features, where): ...     # [batch, list, feature], [batch, list] -> scores [batch, list]

        make_ranker("deepsets", hidden=64, loss=ltr.loss("listnet"), epochs=20).fit(train, vali)

    The first argument is the number of inputs; the others, with their annotations and defaults, are the parameters of
    the ranker. A function that returns a module will do as well. `where` is False for padding, which must not reach the
    scores of documents; scores of padding are not looked at. The file has to be imported before the name is used, also
    before a saved ranker is loaded.

    Args:
        name: of the ranker.
        formula, source: for the page of methods.
        independent: the score of a document does not depend on the rest of its list.

    >>> @register_net("first-of-all")
    ... class First(torch.nn.Module):
    ...     def __init__(self, n_features: int, slope: float = 1.0):
    ...         super().__init__()
    ...         self.w = torch.nn.Parameter(torch.tensor(slope))
    ...     def forward(self, features, where):
    ...         return self.w * features[..., 0]
    >>> import ltr
    >>> ltr.make_ranker("first-of-all", slope=2.0)
    first-of-all(slope=2.0), not fitted
    """

    def keep(factory: Callable[..., Any]) -> Callable[..., Any]:
        own = {} if factory.__module__.startswith("ltr.") else {"own": True}  # a cell may be run again
        _register(name, _config_of(name, factory), formula, source, independent, **own)
        return factory

    return keep


def _config_of(name: str, factory: Callable[..., Any]) -> type[OwnNetConfig]:
    """The parameters of a net as a dataclass, from the signature of what builds it."""
    hints = get_type_hints(getattr(factory, "__init__") if isinstance(factory, type) else factory)  # noqa: B009
    first, *others = inspect.signature(factory).parameters.values()
    table = []
    for each in others:
        if each.name not in hints or each.default is each.empty or each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            what = f"parameter {each.name!r} of net {name!r} needs an annotation and a default"
            raise InputError(what, came=str(each), expected=f"{each.name}: int = 32")
        mutable = isinstance(each.default, list | dict)
        how = {"default_factory": partial(copy.copy, each.default)} if mutable else {"default": each.default}
        table.append((each.name, hints[each.name], field(**how)))
    own = {"factory": staticmethod(factory), "__doc__": inspect.getdoc(factory), "__module__": factory.__module__}
    config = make_dataclass(f"{factory.__name__}Config", table, bases=(OwnNetConfig,), frozen=True, namespace=own)
    config.__qualname__ = f"{factory.__qualname__}.Config"  # where a pickle finds it
    factory.Config = config  # type: ignore[attr-defined]
    return config


def _register(name: str, config: type, formula: str, source: str, independent: bool, **own: Any) -> None:
    common = {"training": TrainingConfig, "needs_loss": True, "stochastic": True, "independent": independent, **own}
    register(name, config, kind="neural", formula=formula, source=source, **common)(NeuralRanker)


_register("linear", LinearConfig, "s = w . x + b", "", True)
_register("mlp", MLPConfig, "s = w . h(x) + b, h fully connected layers", "", True)
_register(
    "tabm",
    TabMConfig,
    "s = 1/k sum_i (v_i . h_i(x) + c_i), layers of h_i s_i * W(r_i * h) + b_i, W shared",
    "Gorishniy, Kotelnikov and Babenko, ICLR 2025, arXiv 2410.24210",
    True,
)
_register(
    "transformer",
    TransformerConfig,
    "s = w . norm(x + attention + feed-forward)",
    "Pobrotyn et al. 2020, arXiv 2005.10084",
    False,
)
_register(
    "dasalc",
    DASALCConfig,
    "s = w . relu(h(x) + h(x) * a(list))",
    "Qin et al., ICLR 2021; layers as in TF-Ranking's research code",
    False,
)
