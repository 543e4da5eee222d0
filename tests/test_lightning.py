"""The suite under a Lightning Trainer of a user's: the trajectory, checkpoint, callbacks, processes."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from toy_lists import toy
from warm import Warm

from ltr import errors
from ltr.errors import InputError
from ltr.lightning import PreferenceModule, RankingDataModule, RankingModule, gathered, to_ranker
from ltr.rankers import load_ranker, make_ranker
from ltr.types import Task

# Lightning 2.6 builds torch's LeafSpec, which torch 2.13 deprecates, whenever it wraps a loader.
pytestmark = pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.`:FutureWarning")
TASK = Task("toy", "one", toy(40, seed=0), toy(20, seed=1), toy(20, seed=2))
NET = {"ranker_params": {"hidden": [6]}, "learning_rate": 0.02}
HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def quiet():
    loggers = [logging.getLogger(f"lightning.{name}") for name in ("pytorch", "fabric")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    yield
    for each, level in zip(loggers, levels, strict=True):
        each.setLevel(level)


def trainer(folder, epochs=3, **options):
    options = {"logger": False, "enable_checkpointing": False, "log_every_n_steps": 1, **options}
    common = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(max_epochs=epochs, default_root_dir=folder, **common, **options)


def module(loss="lambdarank", **options):
    return RankingModule("mlp", loss, **{"measures": ["nDCG@10", "MAP"], **NET, **options})


def data(**options):
    return RankingDataModule(TASK, **{"batch_size": 8, **options})


def own(**options):
    params = {"hidden": (6,), "learning_rate": 0.02, "batch_size": 8, "epochs": 3, **options}
    return make_ranker("mlp", loss="lambdarank", **params)


@pytest.fixture(scope="module")
def ours():
    return own().fit(TASK.train, TASK.vali, select="nDCG@10")


def test_it_is_the_suites_own_training(tmp_path, ours):
    """The same scores to the bit, from a real checkpoint of the best epoch; what is logged is what we measure."""
    best = ModelCheckpoint(dirpath=tmp_path, monitor="vali/nDCG@10", mode="max")
    mine = trainer(tmp_path, callbacks=[best], enable_checkpointing=True)
    started, lists = module(), data()
    mine.fit(started, lists)
    logged = {k: float(v) for k, v in mine.callback_metrics.items()}
    assert logged.keys() == {"train/loss", "vali/nDCG@10", "vali/MAP"}
    assert logged["vali/nDCG@10"] == pytest.approx(ours.history[-1]["vali"], abs=1e-6)
    assert logged["train/loss"] == pytest.approx(ours.history[-1]["loss"], abs=1e-6)

    kept = RankingModule.load_from_checkpoint(best.best_model_path)
    assert dict(kept.hparams)["n_features"] == 6 and kept.loss.name == "lambdarank"
    ranker = to_ranker(kept)
    assert np.array_equal(ranker.score(TASK.test), ours.score(TASK.test))
    ranker.save(tmp_path / "ranker")
    assert np.array_equal(load_ranker(tmp_path / "ranker").score(TASK.test), ours.score(TASK.test))
    # A split alone is scored as it comes: the transform lies in the checkpoint.
    told = trainer(tmp_path).predict(kept, RankingDataModule(TASK.test))
    assert np.array_equal(gathered(told), ours.score(TASK.test))
    measured = mine.test(started, lists, verbose=False)[0]
    assert measured.keys() == {"test/nDCG@10", "test/MAP"}


def test_a_resumed_training_is_the_uninterrupted_one(tmp_path, ours):
    half, dropout = trainer(tmp_path, 2), {"ranker_params": {"hidden": [6], "dropout": 0.2}}
    half.fit(module(epochs=4, **dropout), data())
    half.save_checkpoint(tmp_path / "half.ckpt")
    rest, whole = module(epochs=4, **dropout), module(epochs=4, **dropout)
    trainer(tmp_path, 4).fit(rest, data(), ckpt_path=tmp_path / "half.ckpt")
    trainer(tmp_path, 4).fit(whole, data())
    for a, b in zip(rest.net.parameters(), whole.net.parameters(), strict=True):
        assert torch.equal(a, b)


def test_callbacks_loggers_and_tricks_of_the_trainer(tmp_path):
    logger = CSVLogger(tmp_path, name="log", version=0)
    stop = EarlyStopping("vali/MAP", mode="max", patience=0)
    options = {"precision": "bf16-mixed", "accumulate_grad_batches": 2, "gradient_clip_val": 1.0}
    mine = trainer(tmp_path, 30, callbacks=[stop], logger=logger, **options)
    mine.fit(module("listnet", schedule="cosine", optimiser="adamw"), data())
    assert 0 < stop.stopped_epoch < 29
    table = (tmp_path / "log" / "version_0" / "metrics.csv").read_text()
    assert "vali/nDCG@10" in table and "train/loss" in table
    said = (tmp_path / "log" / "version_0" / "hparams.yaml").read_text()
    assert "loss: listnet" in said and "ranker: mlp" in said
    some = module()
    trainer(tmp_path, 1, limit_val_batches=1, limit_train_batches=2).fit(some, data())  # the lists that were scored
    assert 0 < some.measured <= 1


def test_tensorboard(tmp_path):
    read = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from lightning.pytorch.loggers import TensorBoardLogger

    logger = TensorBoardLogger(tmp_path, name="log", version=0)
    trainer(tmp_path, 2, logger=logger).fit(module(), data())
    events = read.EventAccumulator(logger.log_dir)
    events.Reload()
    assert {"train/loss", "vali/nDCG@10", "vali/MAP"} <= set(events.Tags()["scalars"])
    assert len(events.Scalars("vali/nDCG@10")) == 2


def test_arguments_of_lightning_reach_the_suites_own_fit(tmp_path, ours):
    heard = []

    class Ear(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            heard.append(dict(trainer.callback_metrics))

    logger = CSVLogger(tmp_path, name="own", version=0)
    ranker = own().fit(TASK.train, TASK.vali, select="nDCG@10", callbacks=[Ear()], logger=logger)
    assert ranker.history == ours.history and len(heard) == 3
    assert [float(h["vali/nDCG@10"]) for h in heard] == pytest.approx([h["vali"] for h in ours.history], abs=1e-6)
    assert "train/loss" in (tmp_path / "own" / "version_0" / "metrics.csv").read_text()

    stopped = own(epochs=50).fit(
        TASK.train, TASK.vali, select="nDCG@10", callbacks=[EarlyStopping("vali/nDCG@10", mode="max", patience=0)]
    )
    assert len(stopped.history) < 50
    mine = trainer(tmp_path, 3)
    theirs = own(epochs=50).fit(TASK.train, TASK.vali, select="nDCG@10", trainer=mine)
    assert theirs.history == ours.history and np.array_equal(theirs.score(TASK.test), ours.score(TASK.test))
    with pytest.raises(InputError, match="'constant' is not trained by Lightning"):
        make_ranker("constant").fit(TASK.train, trainer=mine)


def test_a_net_and_a_loss_of_ones_own(tmp_path, own_entries):
    def squares(scores, labels, where):
        return (scores - labels).square().masked_fill(~where, 0).sum(-1)

    net = torch.nn.Sequential(torch.nn.Linear(6, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    mine, path = RankingModule(net, squares), tmp_path / "net.ckpt"
    fitted = trainer(tmp_path, 1)
    fitted.fit(mine, data())
    fitted.save_checkpoint(path)
    again = RankingModule.load_from_checkpoint(path, ranker=torch.nn.Sequential(*[type(m)(*a) for m, a in SHAPE(net)]))
    assert np.array_equal(to_ranker(again).score(TASK.test), to_ranker(mine).score(TASK.test))
    with pytest.raises(InputError, match="'lightgbm' is no net"):
        RankingModule("lightgbm")
    with pytest.raises(InputError, match="datamodule=RankingDataModule"):
        trainer(tmp_path).fit(module(), [1], [1])


def SHAPE(net):
    return [(m, (m.in_features, m.out_features) if isinstance(m, torch.nn.Linear) else ()) for m in net]


class Own(nn.Module):
    """A linear net whose answer is changed on its way."""

    def __init__(self, change, out=1):
        super().__init__()
        self.line, self.change = nn.Linear(6, out), change

    def forward(self, features):
        return self.change(self.line(features))


def test_what_is_no_net_or_no_loss_is_said_before_or_in_the_first_epoch(tmp_path, own_entries):
    """One message each: other shapes, pads that reach documents, nothing to learn, losses of NaN or constants."""
    for change, says in (
        (lambda s: s.flatten(), "one score a document"),
        (lambda s: (s, 1), "one score a document.*came 'tuple'"),
        (lambda s: s.squeeze(-1) - s.squeeze(-1).mean(1, keepdim=True), "other scores where the list is padded"),
        (lambda s: s.squeeze(-1) * float("nan"), "training diverged: the loss of epoch 1 is nan"),
    ):
        with pytest.raises(InputError, match=says):
            trainer(tmp_path, 1).fit(RankingModule(Own(change), "listnet"), datamodule=data())
    with pytest.raises(InputError, match="nothing to learn"):
        frozen = Own(lambda s: s.squeeze(-1)).requires_grad_(False)
        trainer(tmp_path, 1).fit(RankingModule(frozen, "listnet"), datamodule=data())

    def undefined(scores, labels):
        return scores.sum(-1) * float("nan")

    def cut(scores, labels):
        return scores.sum(-1).detach()

    for loss, says in ((undefined, "the loss of epoch 1 is nan"), (cut, "does not depend on the scores")):
        with pytest.raises(InputError, match=says):
            trainer(tmp_path, 1).fit(module(loss), datamodule=data())
    double = RankingModule(Own(lambda s: s.squeeze(-1).double()), "listnet", measures="nDCG@10")
    trainer(tmp_path, 1).fit(double, datamodule=data())
    assert to_ranker(double).score(TASK.test).dtype == np.float32


def test_what_data_and_modules_are_asked_for_in_vain(tmp_path, capsys):
    for options, says in (
        ({"fold": "Fold9"}, "for what is loaded here"),
        ({"objectives": ["clicks"]}, "for what is loaded here"),
        ({"predict": "tset"}, "Did you mean 'test'"),
        ({"seed": 1.5}, "a whole number; came 1.5"),
    ):
        with pytest.raises(InputError, match=says):
            data(**options)
    with pytest.raises(InputError, match="expected 3 features; came 6"):
        trainer(tmp_path, 1).fit(module(n_features=3), datamodule=data())
    with pytest.raises(InputError, match="no predictions"):
        gathered([])
    both = lambda split: split.having(  # noqa: E731
        labels=np.hstack([split.labels, split.labels[::-1]]), objectives=("rel", "clicks")
    )
    two = Task("t", "f", *map(both, (TASK.train, TASK.vali, TASK.test)))
    for options, task, says in (
        ({"n_features": 6, "objectives": ["clicks", "rel"]}, two, "expected clicks, rel, in this order"),
        ({}, TASK, "objectives of the data; expected two or more"),
        ({"measures": ["AP"]}, two, "measures; expected one an objective"),
        ({"preferences": [[0.5, 0.5], [1]]}, two, "a preference is numbers"),
    ):
        with pytest.raises(InputError, match=says):
            trainer(tmp_path, 1).fit(PreferenceModule("yoto", **options), datamodule=RankingDataModule(task))
    blank = TASK.vali.having(labels=np.zeros_like(TASK.vali.labels))
    errors._SAID.clear()
    trainer(tmp_path, 1).fit(module(), datamodule=RankingDataModule(Task("t", "f", TASK.train, blank, TASK.test)))
    assert "no validation list holds a relevant document" in capsys.readouterr().err


def test_a_preference_method(tmp_path):
    two = [s.having(labels=np.stack([s.labels[:, 0], s.features[:, 3] > 0], 1).astype(np.float32)) for s in splits()]
    task = Task("two", "one", *(s.having(objectives=("relevance", "price")) for s in two))
    params = {"ranker": "mlp", "ranker_params": {"hidden": [4]}, "alpha": 1.0, "training": {"learning_rate": 0.05}}
    mine = PreferenceModule("cosmos", params)
    fitted, lists = trainer(tmp_path, 3), RankingDataModule(task, batch_size=8)
    fitted.fit(mine, lists)
    assert fitted.callback_metrics.keys() == {"train/loss", "vali/quality", "vali/relevance", "vali/price"}
    fitted.save_checkpoint(tmp_path / "p.ckpt")
    again = PreferenceModule.load_from_checkpoint(tmp_path / "p.ckpt")
    scores = gathered(trainer(tmp_path).predict(again, lists))
    assert scores.shape == (2 + 5, task.test.n_documents)  # the corners, then a lattice
    assert np.array_equal(scores, gathered(trainer(tmp_path).predict(mine, lists)))
    with pytest.raises(InputError, match="trains other models first"):
        PreferenceModule("psl")


def splits():
    return [
        s.having(labels=np.repeat(s.labels, 2, 1), objectives=("a", "b")) for s in (TASK.train, TASK.vali, TASK.test)
    ]


def test_the_command_line_of_lightning(tmp_path):
    """What the module's docstring shows."""
    words = "fit --model.ranker linear --model.loss listnet --data.data synthetic:queries=20 --trainer.max_epochs 1"
    more = "--trainer.logger false --trainer.enable_checkpointing false --trainer.enable_progress_bar false"
    more += f" --trainer.accelerator cpu --trainer.enable_model_summary false --trainer.default_root_dir {tmp_path}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's and jsonargparse's own
        cli = LightningCLI(RankingModule, RankingDataModule, args=f"{words} {more}".split(), save_config_callback=None)
    assert "train/loss" in cli.trainer.callback_metrics


def test_two_processes_follow_the_trajectory_of_one(tmp_path):
    """Lists by 8, 29 of them: shares that do not go round. No list is counted twice, in training or validation."""
    for devices in (1, 2):
        with Warm([HERE / "ddp_script.py", devices, tmp_path]) as process:
            code, _, err = process.end()
        assert code == 0, err[-2000:]
    one, *two = (torch.load(tmp_path / name) for name in ("1-0.pt", "2-0.pt", "2-1.pt"))
    for each in two:
        assert each["steps"] == one["steps"] == 12
        assert each["metrics"] == pytest.approx(one["metrics"], abs=1e-6)
        for name, weights in one["net"].items():
            if name != "head.linear.bias":  # ListNet does not see it: Adam walks where rounding points
                torch.testing.assert_close(each["net"][name], weights, atol=2e-5, rtol=0)
