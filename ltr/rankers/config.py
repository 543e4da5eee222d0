"""Settings of the neural rankers and of their training, as typed values. No torch here: the command line reads them.

The dataclass is the schema (`ltr.schema` binds it): its fields are the only keys, its defaults the only defaults.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from ltr.errors import InputError
from ltr.schema import in_todays_words

__all__ = [
    "HEADLINE",
    "CheckpointsKept",
    "DASALCConfig",
    "EmbeddingsConfig",
    "LinearConfig",
    "MLPConfig",
    "OwnNetConfig",
    "TabMConfig",
    "TrainingConfig",
    "TransformerConfig",
    "rate",
]

HEADLINE = "nDCG(gain=exp2,empty=skip)@10"  # what selection goes by by default
CheckpointsKept = Literal["one", "per-preference"] | None  # None, which is one, stays out of tables

Activation = Literal["relu", "gelu", "elu", "silu", "tanh"]


def check(config, **rules: tuple[bool, str]) -> None:
    """Raises for the first rule that does not hold; a rule is field -> (holds, what was expected)."""
    for field, (holds, expected) in rules.items():
        if not holds:
            raise InputError(f"{field} is out of range", expected=expected, came=getattr(config, field))


@dataclass(frozen=True)
class TrainingConfig:
    """How a neural ranker is trained. Whatever is random in an epoch follows from (seed, epoch) alone.

    Attributes:
        transform: feature transform, fitted on train: none, log1p (sign(x) log(1 + |x|)), standardise,
            log1p-standardise or quantile.
        missing: what is done where train misses values (NaN) in a column: indicator puts a column of 0 and 1 beside it
            and the mean in its place; mean only the latter. Default: indicator.
        context: list puts two inputs beside each feature, its rank and its z-score within its whole list (also where
            training lists are sampled); the split is then held in memory, three times as wide. Default: none.
        epochs: passes over the training lists at most.
        patience: epochs without a better validation measure before training stops; 0 never stops early. The weights
            of the best epoch are kept either way.
        batch_size: lists a batch at most.
        cells: documents a batch at most, padding included.
        list_size: longer training lists are sampled down to this many documents, anew each epoch; 0 keeps them whole.
            Evaluation always sees whole lists.
        shuffle_buffer: documents within which lists are shuffled, in windows drawn from all over the file, of which
            two are in memory; 0 shuffles the whole set. Default: the whole set, unless it takes more than half of the
            machine's memory; then windows of 512 MiB.
        optimiser: adam (weight decay added to the gradient), adamw (decoupled) or sgd.
        learning_rate: its peak.
        weight_decay: of the optimiser.
        momentum: of sgd.
        schedule: constant; step (times `step_factor` from `step_at` on); cosine (down to 0 at the last epoch).
        step_at: share of the epochs after which the step falls, e.g. 0.5.
        step_factor: factor of the step.
        warmup: epochs over which the rate first grows linearly; may be a fraction.
        clip: largest norm of the gradient; 0 does not clip.
        precision: 32-true, or bf16-mixed on devices that gain from it. Scores are float32 in either case.
    """

    RENAMED: ClassVar = {"lists": "batch_size"}

    transform: Literal["none", "log1p", "standardise", "log1p-standardise", "quantile"] = "log1p-standardise"
    epochs: int = 100
    patience: int = 10
    batch_size: int = 64
    cells: int = 32_768
    list_size: int = 240
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.9
    schedule: Literal["constant", "step", "cosine"] = "constant"
    step_at: float = 0.5
    step_factor: float = 0.1
    warmup: float = 0.0
    clip: float = 0.0
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    context: Literal["none", "list"] | None = None
    shuffle_buffer: int | None = None
    missing: Literal["indicator", "mean"] | None = None  # None stays out of tables: configs keep the hash they had

    def __post_init__(self):
        if self.context == "none":
            object.__setattr__(self, "context", None)
        check(
            self,
            epochs=(self.epochs >= 1, "1 or more"),
            patience=(self.patience >= 0, "0 (off) or more"),
            batch_size=(self.batch_size >= 1, "1 or more"),
            cells=(self.cells >= 1, "1 or more"),
            list_size=(self.list_size == 0 or self.list_size >= 2, "0 (whole lists) or 2 and more"),
            shuffle_buffer=((self.shuffle_buffer or 0) >= 0, "0 (the whole set) or more"),
            learning_rate=(0 < self.learning_rate < math.inf, "a positive number"),
            weight_decay=(self.weight_decay >= 0, "0 or more"),
            momentum=(0 <= self.momentum < 1, "a number in [0, 1)"),
            step_at=(0 < self.step_at <= 1, "a share in (0, 1]"),
            step_factor=(0 < self.step_factor <= 1, "a factor in (0, 1]"),
            warmup=(0 <= self.warmup <= self.epochs, f"0 to {self.epochs} epochs"),
            clip=(self.clip >= 0, "0 (off) or more"),
        )


def trained_in_todays_words(table: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables as a file has them, with every key of a `training` under its name of today.

    For tables that go over each other (a suite over the one it extends, options over a file) before they are bound:
    two names of one setting would stand side by side.

    >>> trained_in_todays_words({"method": {"params": {"training": {"epochs": 3}}}, "training.epochs": [1]})
    {'method': {'params': {'training': {'epochs': 3}}}, 'training.epochs': [1]}
    """
    found: dict[str, Any] = {}
    for key, value in table.items():
        within, dot, last = key.rpartition(".")
        if dot and within.rpartition(".")[2] == "training":  # of a grid, or an option
            (last,) = in_todays_words(TrainingConfig, {last: value})
        if isinstance(value, Mapping):
            value = in_todays_words(TrainingConfig, value) if key == "training" else trained_in_todays_words(value)
        elif isinstance(value, list):
            value = [trained_in_todays_words(each) if isinstance(each, Mapping) else each for each in value]
        found[within + dot + last] = value
    return found


def rate(training: TrainingConfig, epoch: float) -> float:
    """The learning rate at a point of training, e.g. `epoch` 2.5 in the middle of the third epoch.

    A function of time instead of a scheduler object, so that a resumed training needs no scheduler state.

    >>> training = TrainingConfig(learning_rate=1.0, epochs=100, schedule="step", step_at=0.5, warmup=2)
    >>> [rate(training, e) for e in (1.0, 49.9, 50.0)]
    [0.5, 1.0, 0.1]
    """
    if epoch < training.warmup:
        return training.learning_rate * epoch / training.warmup
    if training.schedule == "step":
        return training.learning_rate * (training.step_factor if epoch >= training.step_at * training.epochs else 1.0)
    if training.schedule == "cosine":
        share = (epoch - training.warmup) / max(training.epochs - training.warmup, 1e-12)
        return training.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(share, 1.0)))
    return training.learning_rate


@dataclass(frozen=True)
class LinearConfig:
    """Linear scorer, s = w . x + b (the bias does not rank, but a regression needs it). Parameters: features + 1.

    Attributes:
        noise: standard deviation of the gaussian noise added to the inputs in training.
    """

    noise: float = 0.0

    def __post_init__(self):
        check(self, noise=(self.noise >= 0, "0 or more"))


@dataclass(frozen=True, kw_only=True)
class EmbeddingsConfig:
    """Numeric embeddings of a net's inputs (Gorishniy, Rubachev and Babenko, NeurIPS 2022): a vector for each input.

    What follows is wider by `embedding_size`; the defaults are smaller than the papers', whose tables are larger.

    Attributes:
        embeddings: piecewise (piecewise-linear encoding, bins by quantiles of train, missing values a bin of their own
            where train misses some), periodic (learned frequencies, linear, relu) or none. Default: none.
        embedding_size: of the vector of an input; default 8.
        bins: of piecewise, at most; equal quantiles are one. Default 16.
        frequencies: of periodic, each a cosine and a sine; default 16.
        frequency_scale: standard deviation of the frequencies at the start, which decides much: .01 to 10 are tried in
            the paper. Default 0.1.
    """

    # None stays out of tables: configs keep the hash they had
    embeddings: Literal["none", "piecewise", "periodic"] | None = None
    embedding_size: int | None = None
    bins: int | None = None
    frequencies: int | None = None
    frequency_scale: float | None = None

    @property
    def vector(self) -> int:
        """Size of the vector of an input."""
        return self.embedding_size or 8

    @property
    def n_bins(self) -> int:
        """Bins of an input."""
        return self.bins or 16

    @property
    def waves(self) -> tuple[int, float]:
        """How many frequencies, and their scale."""
        return self.frequencies or 16, self.frequency_scale or 0.1

    def __post_init__(self):
        if self.embeddings == "none":
            object.__setattr__(self, "embeddings", None)
        kinds = {"embedding_size": ("piecewise", "periodic"), "bins": ("piecewise",)}
        for field in ("embedding_size", "bins", "frequencies", "frequency_scale"):
            given, of = getattr(self, field), kinds.get(field, ("periodic",))
            holds = given is None or (self.embeddings in of and 0 < given < math.inf)
            check(self, **{field: (holds, f"above 0, with embeddings = {' or '.join(of)}")})


@dataclass(frozen=True)
class MLPConfig(EmbeddingsConfig):
    """Feed-forward net on single documents.

    Parameters: sum over layers of (inputs + 1) outputs, + 2 a unit for a norm, + width + 1 of the head;
    136 features and (64, 32): 8,768 + 2,080 + 33 = 10,881.

    Attributes:
        hidden: width of each hidden layer.
        activation: after each hidden layer: relu, gelu, elu, silu or tanh.
        norm: none, batch (over the real documents of a batch) or layer, before the activation.
        dropout: after each hidden layer.
        noise: standard deviation of the gaussian noise added to the inputs in training.
        output: bound on the scores, none, tanh or sigmoid.
    """

    hidden: tuple[int, ...] = (64, 32)
    activation: Activation = "relu"
    norm: Literal["none", "batch", "layer"] = "none"
    dropout: float = 0.0
    noise: float = 0.0
    output: Literal["none", "tanh", "sigmoid"] = "none"

    def __post_init__(self):
        super().__post_init__()
        check(
            self,
            hidden=(all(width >= 1 for width in self.hidden), "positive widths"),
            dropout=(0 <= self.dropout < 1, "a probability in [0, 1)"),
            noise=(self.noise >= 0, "0 or more"),
        )


@dataclass(frozen=True)
class TabMConfig(EmbeddingsConfig):
    """TabM: k MLPs that share weights and batches (Gorishniy, Kotelnikov and Babenko, ICLR 2025). s = mean of theirs.

    A step costs about what k MLPs cost; what is saved against an ensemble is weights, trainings, and their tuning.
    With `loss_on = "members"` a batch holds k lists for the loss where there was one: a loss of pairs takes k times
    the memory.

    Parameters: plain: sum over layers of inputs outputs + k (inputs + 2 outputs), + k (width + 1) of the last;
    136 features and the defaults: 8,704 + 16 x 264 + 2,048 + 16 x 128 + 16 x 33 = 17,552.

    Attributes:
        hidden: width of each hidden layer.
        members: k; the paper has 32.
        form: plain (factors of inputs and outputs in every layer), mini (of the inputs of the first alone) or packed
            (no sharing).
        loss_on: members (the mean of their losses, the paper's) or mean (the loss of the mean score).
        activation: after each hidden layer: relu, gelu, elu, silu or tanh.
        dropout: after each hidden layer, drawn for each member.
        noise: standard deviation of the gaussian noise added to the inputs in training, the same for all members.
    """

    hidden: tuple[int, ...] = (64, 32)
    members: int = 16
    form: Literal["plain", "mini", "packed"] = "plain"
    loss_on: Literal["members", "mean"] = "members"
    activation: Activation = "relu"
    dropout: float = 0.0
    noise: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        check(
            self,
            hidden=(len(self.hidden) >= 1 and all(width >= 1 for width in self.hidden), "one positive width or more"),
            members=(self.members >= 1, "1 or more"),
            dropout=(0 <= self.dropout < 1, "a probability in [0, 1)"),
            noise=(self.noise >= 0, "0 or more"),
        )


@dataclass(frozen=True)
class TransformerConfig(EmbeddingsConfig):
    """List transformer: self-attention over the documents of a list (Pobrotyn et al. 2020, arXiv 2005.10084).

    Pre-norm, no positions: the scores move with their documents when a list is shuffled.

    Parameters: (features + 1) width + blocks (4 width (width + 1) + (2 width + 1) d_ff + 5 width) + 3 width + 1;
    136 features and the defaults: 8,768 + 2 x 33,472 + 193 = 75,905.

    Attributes:
        layers: widths of fully connected layers (with `activation`) before the projection to `width`.
        width: of the residual stream, d_model.
        blocks: attention blocks.
        heads: attention heads; they divide `width`.
        d_ff: width of the feed-forward part of a block.
        dropout: inside the feed-forward part and on both residual branches.
        attention_dropout: on attention weights (the paper's code sets it to `dropout`); 0 lets the device use its fused
            attention, twice as fast on a CPU.
        activation: of `layers` and of the feed-forward part.
        noise: standard deviation of the gaussian noise added to the inputs in training.
        output: bound on the scores: none, tanh (the NeuralNDCG paper) or sigmoid.
        induced: attention through so many learned points (Lee et al., ICML 2019), linear in the length of a list; by
            default every document attends to every other.
    """

    layers: tuple[int, ...] = ()
    width: int = 64
    blocks: int = 2
    heads: int = 2
    d_ff: int = 128
    dropout: float = 0.1
    attention_dropout: float = 0.0
    activation: Activation = "relu"
    noise: float = 0.0
    output: Literal["none", "tanh", "sigmoid"] = "none"
    induced: int | None = None

    def __post_init__(self):
        super().__post_init__()
        check(
            self,
            induced=(
                self.induced is None or (self.induced >= 1 and self.attention_dropout == 0),
                "1 or more, with attention_dropout = 0",
            ),
            layers=(all(width >= 1 for width in self.layers), "positive widths"),
            width=(self.width >= 1, "1 or more"),
            blocks=(self.blocks >= 0, "0 or more"),
            heads=(self.heads >= 1 and self.width % self.heads == 0, f"a divisor of width {self.width}"),
            d_ff=(self.d_ff >= 1, "1 or more"),
            dropout=(0 <= self.dropout < 1, "a probability in [0, 1)"),
            attention_dropout=(0 <= self.attention_dropout < 1, "a probability in [0, 1)"),
            noise=(self.noise >= 0, "0 or more"),
        )


@dataclass(frozen=True)
class DASALCConfig:
    """Data-augmented self-attentive latent cross network (Qin et al., ICLR 2021), after TF-Ranking's code.

    A batch-normalised tower h on single documents, post-norm self-attention a over the list, and the latent cross
    relu(h + h * a). The paper feeds it `transform = "log1p"`. The defaults are those of the code (512 x 2, 4 layers,
    2 heads of 100, noise 1.5, dropout 0.4), 987,501 parameters on 136 features.

    Attributes:
        hidden: widths of the tower; the latent cross has the last of them.
        blocks: attention layers.
        heads: attention heads.
        head_size: width of a head and of the attention stream.
        dropout: in the tower, the attention and before the head.
        noise: standard deviation of the gaussian noise added to the inputs in training.
    """

    hidden: tuple[int, ...] = (512, 512)
    blocks: int = 4
    heads: int = 2
    head_size: int = 100
    dropout: float = 0.4
    noise: float = 1.5

    def __post_init__(self):
        check(
            self,
            hidden=(len(self.hidden) >= 1 and all(width >= 1 for width in self.hidden), "one positive width or more"),
            blocks=(self.blocks >= 0, "0 or more"),
            heads=(self.heads >= 1, "1 or more"),
            head_size=(self.head_size >= 1, "1 or more"),
            dropout=(0 <= self.dropout < 1, "a probability in [0, 1)"),
            noise=(self.noise >= 0, "0 or more"),
        )


class OwnNetConfig:
    """Base of the configs of nets that `register_net` makes: the parameters of the net, and who builds it."""

    factory: ClassVar[Callable[..., Any]]

    def build(self, n_features: int) -> Any:
        """The module, with fresh weights."""
        return type(self).factory(n_features, **{f.name: getattr(self, f.name) for f in fields(self)})  # type: ignore[arg-type]
