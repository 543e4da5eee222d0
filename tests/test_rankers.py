"""The contract every ranker inherits by standing in the catalogue, and how the neural ones train, stop and resume."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from toy_lists import Jittered, SoftmaxCE, toy

import ltr
from ltr import errors
from ltr.bench import load_suite
from ltr.errors import InputError
from ltr.metrics import evaluate, mean
from ltr.rankers import HEADLINE, RANKERS, FittedRanker, load_ranker, make_ranker, resolve_params
from ltr.runs.config import config_hash, differences
from ltr.runs.resolving import read_config
from ltr.types import Ranker, Split

# Small enough for the whole catalogue to train in seconds.
SMALL = {
    "linear": {"epochs": 12, "learning_rate": 0.05},
    "mlp": {"hidden": (16,), "epochs": 12, "learning_rate": 0.02, "dropout": 0.1},
    "tabm": {"hidden": (16,), "members": 4, "epochs": 12, "learning_rate": 0.02, "dropout": 0.1},
    "transformer": {"width": 16, "blocks": 1, "d_ff": 16, "epochs": 12, "learning_rate": 0.01},
    "dasalc": {
        "hidden": (16,),
        "blocks": 1,
        "head_size": 8,
        "noise": 0.1,
        "dropout": 0.1,
        "epochs": 12,
        "learning_rate": 0.02,
    },
    "bagged": {"members": 3, "base_params": {"hidden": (16,), "dropout": 0.1}, "epochs": 12, "learning_rate": 0.02},
    "blend": {
        "members": ({"ranker": "mlp", "params": {"hidden": (16,), "dropout": 0.1}}, {"ranker": "linear"}),
        "epochs": 12,
        "learning_rate": 0.02,
    },
    "distilled": {
        "teacher": {"ranker": "feature"},
        "base_params": {"hidden": (16,)},
        "epochs": 12,
        "learning_rate": 0.02,
    },
    "calibrated": {
        "first": {
            "ranker": "mlp",
            "loss": "listnet",
            "params": {"hidden": (16,)},
            "training": {"epochs": 12, "learning_rate": 0.02},
        },
    },
    "residual": {
        "first": {"ranker": "linear"},
        "base_params": {"hidden": (16,), "dropout": 0.1},
        "epochs": 12,
        "learning_rate": 0.02,
    },
    "pretrained": {"base_params": {"hidden": (16,), "dropout": 0.1}, "epochs": 12, "learning_rate": 0.02},
    "lightgbm": {"rounds": 30, "min_data_in_leaf": 5},
    "xgboost": {"rounds": 30, "depth": 3},
    "catboost": {"rounds": 30, "depth": 3},
}
TRAIN, VALI, TEST = toy(seed=0), toy(30, seed=1), toy(40, seed=2)


@pytest.fixture(scope="module", autouse=True)
def on_the_test_device():
    """accelerator="auto" means the device of the tests here."""
    from ltr.rankers import devices

    pick, device = devices.pick_device, torch.device(os.environ.get("LTR_TEST_DEVICE", "cpu"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "pick_device", lambda asked="auto": device if asked == "auto" else pick(asked))
        yield


@pytest.fixture(scope="module", params=RANKERS.names())
def name(request):
    if RANKERS[request.param].claims["kind"] == "trees":
        pytest.importorskip(request.param, reason="extra 'trees' is not installed")
    return request.param


def make(name, seed=0, **params) -> FittedRanker:
    needs_loss = RANKERS[name].claims["needs_loss"]
    loss = ltr.loss("mse") if name == "distilled" else SoftmaxCE()  # scores of a teacher are no gains
    return make_ranker(name, seed=seed, loss=loss if needs_loss else None, **(SMALL.get(name, {}) | params))


@pytest.fixture(scope="module")
def fitted(name):
    return make(name).fit(TRAIN, VALI)


@pytest.fixture(scope="module")
def again(name, tmp_path_factory):
    """The same training anew, on features of a read-only memory map: (what `fit` was called of, what it returned,
    states of the global generators before and after)."""
    path = tmp_path_factory.mktemp("mapped") / "x.npy"
    np.save(path, TRAIN.features)
    np.random.seed(3)
    torch.manual_seed(3)
    states = [(torch.get_rng_state(), np.random.get_state()[1].copy())]
    fresh = make(name)
    returned = fresh.fit(dataclasses.replace(TRAIN, features=np.load(path, mmap_mode="r")), VALI)
    states.append((torch.get_rng_state(), np.random.get_state()[1].copy()))
    return fresh, returned, states


def measured(scores, split=TEST) -> float:
    return mean(evaluate([HEADLINE], scores, split.label(), split.offsets)[HEADLINE])


def rearranged(split: Split, rows: np.ndarray, lengths) -> Split:
    labels = None if split.labels is None else split.labels[rows]
    return Split.from_arrays(split.features[rows], labels, lengths)


# ------------------------------------------------------------------------------------------------------ the contract


def test_keeps_the_protocol(fitted, again, name):
    assert isinstance(fitted, Ranker)
    assert fitted.name == name
    assert again[0] is again[1]


def test_scores_are_flat_finite_float32(fitted):
    scores = fitted.score(TEST)
    assert scores.shape == (TEST.n_documents,)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()


def test_needs_no_labels_to_score(fitted):
    unjudged = Split.from_arrays(TEST.features, None, TEST.lengths)
    assert np.array_equal(fitted.score(unjudged), fitted.score(TEST))


def test_scores_memory_maps(fitted, tmp_path):
    """Features on disk, read-only, give what features in memory give."""
    np.save(tmp_path / "x.npy", TRAIN.features)
    mapped = dataclasses.replace(TRAIN, features=np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert np.array_equal(fitted.score(mapped), fitted.score(TRAIN))


def test_scores_follow_shuffled_documents(fitted, name):
    if not RANKERS[name].claims["equivariant"]:
        pytest.skip("scores by place in the list, and says so")
    draw = np.random.default_rng(5)
    pieces = [a + draw.permutation(b - a) for a, b in zip(TEST.offsets, TEST.offsets[1:], strict=False)]
    rows = np.concatenate(pieces)
    np.testing.assert_allclose(fitted.score(rearranged(TEST, rows, TEST.lengths)), fitted.score(TEST)[rows], atol=1e-5)


def test_lists_do_not_see_each_other(fitted):
    """Half of the lists, in reverse order, get the scores they had among all."""
    half = np.arange(TEST.n_queries)[::-2]
    rows = np.concatenate([np.arange(TEST.offsets[q], TEST.offsets[q + 1]) for q in half])
    np.testing.assert_allclose(fitted.score(TEST.take(half)), fitted.score(TEST)[rows], atol=1e-5)


def test_documents_see_their_list_only_where_it_is_claimed(fitted, name):
    claims = RANKERS[name].claims
    alone = Split.from_arrays(TEST.features, None, np.ones(TEST.n_documents, dtype=int))
    close = np.allclose(fitted.score(alone), fitted.score(TEST), atol=1e-4)
    assert close == claims["independent"]


def test_same_seed_same_scores_from_memory_maps_too(fitted, again):
    assert np.array_equal(again[0].score(TEST), fitted.score(TEST))


def test_the_seed_matters_where_chance_is_claimed(fitted, name):
    other = make(name, seed=1).fit(TRAIN, VALI).score(TEST)
    assert np.array_equal(other, fitted.score(TEST)) != RANKERS[name].claims["stochastic"]


def test_fit_leaves_the_global_generators_alone(again):
    before, after = again[2]
    assert torch.equal(after[0], before[0])
    assert np.array_equal(after[1], before[1])


def test_save_and_load(fitted, name, tmp_path):
    folder = tmp_path / "runs" / "ranker"
    fitted.save(folder)
    fitted.save(folder)  # over itself
    assert [p.name for p in folder.parent.iterdir()] == ["ranker"], "nothing half-written is left beside"
    back = load_ranker(folder)
    assert type(back) is type(fitted)
    assert type(fitted).load(folder).config == fitted.config
    assert np.array_equal(back.score(TEST), fitted.score(TEST))
    for attribute in ("config", "training", "best", "history", "n_parameters", "objective", "n_features", "seed"):
        assert getattr(back, attribute) == getattr(fitted, attribute), attribute
    for weights in folder.glob("*.pt"):
        torch.load(weights, weights_only=True)


def test_a_damaged_folder_is_refused_whatever_the_damage(fitted, name, tmp_path):
    """Each file cut short, with one bit turned, gone, or of another folder: never a score, always its name."""
    whole = tmp_path / "whole"
    fitted.save(whole)
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    for file in files:
        content = (whole / file).read_bytes()
        turned = bytearray(content)
        turned[len(content) // 2] ^= 4
        for i, harm in enumerate((content[: len(content) // 2], bytes(turned), b"", None)):
            folder = tmp_path / f"{file.name}{i}"
            shutil.copytree(whole, folder)
            (folder / file).unlink()
            if harm is not None:
                (folder / file).write_bytes(harm)
            with pytest.raises(InputError) as caught:
                load_ranker(folder)
            assert file.name in str(caught.value) or (harm is None and caught.value.file is not None)
            shutil.rmtree(folder)


def test_facts_without_a_seal_may_hold_anything(fitted, tmp_path):
    """A folder of an earlier version has no digests: it loads, and what is wrong in it is said."""
    fitted.save(tmp_path)
    path = tmp_path / "ranker.json"
    facts = json.loads(path.read_text())
    del facts["sha256"], facts["files"], facts["notes"]
    path.write_text(json.dumps(facts))
    assert np.array_equal(load_ranker(tmp_path).score(TEST), fitted.score(TEST))
    for key, value in (("config", None), ("config", {"nosuch": 1}), ("name", "nosuch"), ("name", 3), ("config", [1])):
        path.write_text(json.dumps({**facts, key: value}))
        with pytest.raises(InputError):
            load_ranker(tmp_path)
    for gone in ("name", "config", "seed", "n_features", "history"):
        path.write_text(json.dumps({k: v for k, v in facts.items() if k != gone}))
        with pytest.raises(InputError, match="ranker.json"):
            load_ranker(tmp_path)
    if (tmp_path / "weights.pt").exists():
        path.write_text(json.dumps(facts))
        torch.save({"other": torch.zeros(2)}, tmp_path / "weights.pt")
        with pytest.raises(InputError, match="of another net"):
            load_ranker(tmp_path)


def test_learns_an_easy_task(fitted, name):
    """Far above the expectation of a random ranking, which a constant has under a measure that averages over ties."""
    chance = measured(make("constant").fit(TRAIN).score(TEST))
    if RANKERS[name].claims["learns"]:
        assert measured(fitted.score(TEST)) > chance + 0.2
    else:
        assert measured(fitted.score(TEST)) == pytest.approx(chance, abs=0.06)


def test_selection_is_our_measure_on_validation(fitted, name):
    """What is recorded as the best validation value is what our measure says of the final scores."""
    if fitted.best.get("vali") is None:
        pytest.skip("chooses nothing on validation")
    assert fitted.best["vali"] == pytest.approx(measured(fitted.score(VALI), VALI), abs=1e-6)
    assert fitted.best["vali"] == max(e["vali"] for e in fitted.history)
    assert fitted.best["epoch"] in [e["epoch"] for e in fitted.history]


def test_trains_without_validation(name):
    ranker = make(name).fit(TRAIN)
    assert np.isfinite(ranker.score(TEST)).all()
    assert ranker.best.get("vali") is None


def test_trains_on_another_objective(fitted, name):
    """With the first objective reversed as the second, its ranking turns round."""
    labels = np.stack([TRAIN.label(), 4 - TRAIN.label()], 1)
    both = Split.from_arrays(TRAIN.features, labels, TRAIN.lengths, objectives=("up", "down"))
    ranker = make(name).fit(both, objective="down")
    assert ranker.objective == "down"
    if RANKERS[name].claims["learns"]:
        assert np.corrcoef(ranker.score(TEST), fitted.score(TEST))[0, 1] < -0.5
    with pytest.raises(InputError, match="unknown objective 'dwon'"):
        make(name).fit(both, objective="dwon")


def test_says_what_it_cost(fitted):
    assert fitted.cost["seconds"] > 0
    assert fitted.cost["documents_per_second"] > 0
    assert fitted.cost["peak_memory"] > 1e6
    assert fitted.n_parameters > 0 or RANKERS[fitted.name].claims["kind"] == "baseline"
    if RANKERS[fitted.name].claims["kind"] == "neural":
        assert 0 < fitted.cost["step_seconds"] < fitted.cost["seconds"]
    else:
        assert "step_seconds" not in fitted.cost


def test_refuses_other_features(fitted):
    with pytest.raises(InputError, match="other features than those of the training; expected 6 features; came 7"):
        fitted.score(toy(3, features=7))


def test_columns_in_another_order_are_refused_and_not_scored(tmp_path):
    """Names of features are remembered: by place alone, permuted columns gave other numbers without a word."""
    names = tuple("abcdef")
    train = TRAIN.having(feature_names=names)
    asked = {name: make_ranker(name, **params) for name, params in (("linear", {}), ("feature", {"column": "b"}))}
    for name, ranker in asked.items():
        ranker = ranker.fit(train, **({"loss": "listnet"} if name == "linear" else {}))
        ranker.save(tmp_path / name)
        kept = load_ranker(tmp_path / name)
        mixed = TEST.having(features=TEST.features[:, ::-1], feature_names=names[::-1])
        for each in (ranker, kept):
            with pytest.raises(InputError, match="another order, first at 'a'; expected a; came 'f'"):
                each.score(mixed)
            with pytest.raises(InputError, match="other features, first at 'c'"):
                each.score(TEST.having(feature_names=("a", "b", "z", "d", "e", "f")))
            np.testing.assert_array_equal(each.score(TEST), each.score(TEST.having(feature_names=names)))
    with pytest.raises(InputError, match="another order"):
        make_ranker("linear").fit(train, mixed, loss="listnet")


def test_refuses_what_cannot_be(fitted, name, tmp_path):
    with pytest.raises(InputError, match="is not fitted"):
        make(name).score(TEST)
    with pytest.raises(InputError, match="nothing to save"):
        make(name).save(tmp_path / "x")
    with pytest.raises(InputError, match="takes no preference"):
        fitted.score(TEST, preference=np.array([0.5, 0.5]))
    with pytest.raises(InputError, match="train split carries no labels"):
        make(name).fit(Split.from_arrays(TRAIN.features, None, TRAIN.lengths))
    with pytest.raises(InputError, match="train and vali do not fit together"):
        make(name).fit(TRAIN, toy(3, features=7))


def test_overwrites_only_rankers(fitted, tmp_path):
    (tmp_path / "thesis.tex").write_text("dear")
    with pytest.raises(InputError, match="will not be overwritten"):
        fitted.save(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "dear"


def test_every_default_is_written_out(name):
    params = resolve_params(name, {})
    assert json.loads(json.dumps(params)) == params
    assert resolve_params(name, params) == params
    with pytest.raises(InputError, match="unknown key 'lerning_rate'"):
        make_ranker(name, lerning_rate=0.1)


def test_needs_its_loss_and_no_other(name):
    wrong = None if RANKERS[name].claims["needs_loss"] else SoftmaxCE()
    with pytest.raises(InputError, match="none is given" if wrong is None else "takes no loss"):
        make_ranker(name, **SMALL.get(name, {})).fit(TRAIN, VALI, loss=wrong)


def test_names_cost_no_heavy_import():
    heavy = ["torch", "lightning", "lightgbm", "xgboost", "catboost", "pandas"]
    code = (
        "from ltr.rankers import RANKERS, TrainingConfig, make_ranker, resolve_params; import sys;"
        "[(resolve_params(n, {}), make_ranker(n)) for n in RANKERS.names()];"
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# ---------------------------------------------------------------------------------------------------------- baselines


def test_feature_finds_the_column_and_its_sign():
    up = make("feature").fit(TRAIN, VALI)
    assert (up.best["column"], up.best["sign"], up.best["name"]) == (1, 1, "f1")  # the steepest direction of the toy
    assert np.array_equal(up.score(TEST), TEST.features[:, 0])
    turned = Split.from_arrays(-TRAIN.features, TRAIN.label(), TRAIN.lengths)
    down = make("feature").fit(turned)
    assert (down.best["column"], down.best["sign"]) == (1, -1)
    assert down.best["train"] == pytest.approx(up.best["train"])
    for column in (3, "3", "f3"):
        assert np.array_equal(make("feature", column=column, sign="down").fit(TRAIN).score(TEST), -TEST.features[:, 2])
    with pytest.raises(InputError, match="no such column; expected 1 to 6"):
        make("feature", column=7).fit(TRAIN)
    with pytest.raises(InputError, match="unknown feature 'f33'. Did you mean 'f3'"):
        make("feature", column="f33").fit(TRAIN)
    with pytest.raises(InputError, match="unknown feature '\u00b2'"):  # a digit to isdigit, no number to int
        make("feature", column="\u00b2").fit(TRAIN)


def test_random_belongs_to_the_query():
    scores = make("random").fit(TRAIN).score(TEST)
    assert len(np.unique(scores)) > 0.99 * len(scores)
    assert scores.min() >= 0 and scores.max() < 1
    np.testing.assert_allclose([scores.mean(), scores.var()], [1 / 2, 1 / 12], atol=0.05)
    one = make("random").fit(TRAIN).score(TEST.take([7]))
    assert np.array_equal(one, scores[TEST.offsets[7] : TEST.offsets[8]])


# --------------------------------------------------------------------------------------------- how neural ones train


def mlp(**settings) -> FittedRanker:
    """All that is random at once: dropout, input noise, sampled lists, a loss that draws."""
    params = {"hidden": (8,), "dropout": 0.2, "noise": 0.1, "epochs": 6, "patience": 0, "list_size": 6, "batch_size": 8}
    return make_ranker("mlp", **(params | {"schedule": "cosine", "warmup": 0.5} | settings))


def weights(ranker) -> dict:
    return ranker.net.state_dict()


class Stop(Exception):
    """The process dies."""


@pytest.mark.parametrize("after", [1, 3, 6])
@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_resumed_training_ends_where_the_uninterrupted_one_does(after, optimiser, tmp_path):
    def die(event):
        if event.epoch == after:
            raise Stop

    settings = {"optimiser": optimiser, "weight_decay": 1e-3, "clip": 1.0}
    straight = mlp(**settings).fit(TRAIN, VALI, loss=Jittered(), seed=5)
    with pytest.raises(Stop):
        mlp(**settings).fit(TRAIN, VALI, loss=Jittered(), seed=5, folder=tmp_path, progress=die)
    torch.manual_seed(99)  # another process has another global generator
    heard = []
    resumed = mlp(**settings).fit(TRAIN, VALI, loss=Jittered(), seed=5, folder=tmp_path, progress=heard.append)
    assert [event.epoch for event in heard] == list(range(after + 1, 7)), "only what was missing is trained"
    assert resumed.history == straight.history
    assert resumed.cost["step_seconds"] > 0
    assert resumed.best == straight.best
    for key, value in weights(straight).items():
        assert torch.equal(weights(resumed)[key], value), key
    again = mlp(**settings).fit(TRAIN, VALI, loss=Jittered(), seed=5, folder=tmp_path, progress=heard.append)
    assert len(heard) == 6 - after, "a finished training is not repeated"
    assert np.array_equal(again.score(TEST), straight.score(TEST))


def test_a_signal_within_a_finaliser_is_not_lost(recwarn):
    """Python prints and forgets what is raised there; it waits until the next batch, or the end."""
    from ltr.rankers.training.loop import _held_signals

    class Dying:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGINT)
            len("the handler runs here")

    reached = []
    with pytest.raises(KeyboardInterrupt), _held_signals() as look:
        Dying()
        reached.append("batch")
        look()
        reached.append("more")
    with pytest.raises(KeyboardInterrupt), _held_signals():
        Dying()
        reached.append("last batch")
    with pytest.raises(KeyboardInterrupt), _held_signals():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # whoever presses twice does not wait
        reached.append("more")
    assert reached == ["batch", "last batch"] and not recwarn.list


def test_ctrl_c_reaches_the_caller_and_leaves_a_checkpoint(tmp_path):
    handler = signal.getsignal(signal.SIGINT)

    def interrupt(event):
        if event.epoch == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        mlp().fit(TRAIN, VALI, loss=SoftmaxCE(), folder=tmp_path, progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is handler, "the next Ctrl-C works, too"
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]
    kept = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert kept["epoch"] == 2 and not kept["done"]
    resumed = mlp().fit(TRAIN, VALI, loss=SoftmaxCE(), folder=tmp_path)
    assert np.array_equal(resumed.score(TEST), mlp().fit(TRAIN, VALI, loss=SoftmaxCE()).score(TEST))


@pytest.mark.parametrize("harm", ["cut", "turned", "empty", "other"])
def test_a_damaged_checkpoint_is_set_aside_and_training_starts_anew(harm, tmp_path):
    straight = mlp(epochs=2).fit(TRAIN, VALI, loss=SoftmaxCE(), folder=tmp_path)
    path = tmp_path / "last.ckpt"
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:  # of tensors, unpacked; a bit between its entries would turn nothing
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        content[content.index(archive.read(largest)) + largest.file_size // 2] ^= 1
    if harm == "other":
        torch.save({"something": 1}, path)
    else:
        path.write_bytes({"cut": content[: len(content) // 2], "turned": content, "empty": b""}[harm])
    damaged, heard = path.read_bytes(), []
    again = mlp(epochs=2).fit(TRAIN, VALI, loss=SoftmaxCE(), folder=tmp_path, progress=heard.append)
    assert [event.epoch for event in heard] == [1, 2]
    assert np.array_equal(again.score(TEST), straight.score(TEST))
    assert (tmp_path / "last.ckpt.damaged").read_bytes() == damaged
    assert any("is damaged: kept as last.ckpt.damaged, and training starts anew" in note for note in again.notes)
    once_more = mlp(epochs=2).fit(TRAIN, VALI, loss=SoftmaxCE(), folder=tmp_path)
    assert not any("damaged" in note for note in once_more.notes), "the new checkpoint is whole"


@pytest.mark.parametrize("change", ["seed", "settings", "loss", "data"])
def test_a_checkpoint_continues_its_own_training_only(change, tmp_path):
    mlp(epochs=1).fit(TRAIN, VALI, loss=SoftmaxCE(), folder=tmp_path)
    ranker = mlp(epochs=1, **({"learning_rate": 0.5} if change == "settings" else {}))
    loss = Jittered() if change == "loss" else SoftmaxCE()
    train = toy(seed=9) if change == "data" else TRAIN
    with pytest.raises(InputError, match="belongs to another training"):
        ranker.fit(train, VALI, loss=loss, seed=int(change == "seed"), folder=tmp_path)


def test_stops_early_and_keeps_the_best_epoch():
    """With a rate that soon overshoots, training stops `patience` epochs after the best one and returns to it."""
    ranker = make_ranker("mlp", hidden=(32,), learning_rate=0.3, epochs=200, patience=4, transform="none")
    ranker.fit(TRAIN, VALI, loss=SoftmaxCE())
    values = [e["vali"] for e in ranker.history]
    best = int(np.argmax(values))
    assert len(values) == best + 1 + 4 < 200
    assert ranker.best == {"epoch": best + 1, "vali": values[best]}
    assert measured(ranker.score(VALI), VALI) == pytest.approx(values[best], abs=1e-9)


def test_data_order_does_not_know_the_ranker(monkeypatch):
    """All rankers of a seed meet the same batches; two epochs meet different ones."""
    from ltr.rankers.training import loop

    seen = []
    step = loop.ListModule.training_step

    def spy(self, batch, batch_idx):
        seen[-1].append(batch.document.clone())
        return step(self, batch, batch_idx)

    monkeypatch.setattr(loop.ListModule, "training_step", spy)
    for name in ("linear", "transformer"):
        seen.append([])
        make(name, epochs=2, list_size=6).fit(TRAIN, VALI, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))
    half = len(seen[0]) // 2
    assert not all(torch.equal(a, b) for a, b in zip(seen[0][:half], seen[0][half:], strict=True))


def test_one_step_of_the_loop_is_the_textbook_one():
    """One step of plain gradient descent, by hand: w - rate * gradient of the mean over the lists that count."""
    ranker = make_ranker(
        "linear",
        epochs=1,
        optimiser="sgd",
        momentum=0.0,
        learning_rate=0.7,
        transform="none",
        batch_size=1000,
        cells=10**6,
        list_size=0,
    )
    start = {}

    class Recorded(SoftmaxCE):
        def reduce(self, values, labels, where):
            start.setdefault("batch_size", len(values))
            return super().reduce(values, labels, where)

    from ltr.rankers.nets import build
    from ltr.seeds import seed_of

    ranker.fit(TRAIN, loss=Recorded(), seed=2)
    with torch.random.fork_rng():
        assert seed_of("init", 2) == seed_of("init", np.int64(2)) != seed_of("init", "2")
        torch.manual_seed(seed_of("init", 2))
        w = build(ranker.config, TRAIN.n_features).head.linear.weight.detach()[0].requires_grad_()
    total = counting = 0
    for a, b in zip(TRAIN.offsets, TRAIN.offsets[1:], strict=False):
        y = torch.from_numpy(TRAIN.label()[a:b].copy())
        if y.sum() > 0:
            logp = (torch.from_numpy(TRAIN.features[a:b].copy()) @ w).log_softmax(0)
            total, counting = total - (y / y.sum() * logp).sum(), counting + 1
    (total / counting).backward()
    assert start["batch_size"] == TRAIN.n_queries
    torch.testing.assert_close(ranker.net.head.linear.weight.detach().cpu()[0], w.detach() - 0.7 * w.grad)


def test_blank_lists_and_flat_validation_are_no_trouble():
    """Training lists without a relevant document, and a validation split where none has one: nothing is selected."""
    blank = Split.from_arrays(TRAIN.features, np.zeros(TRAIN.n_documents), TRAIN.lengths)
    ranker = make("mlp", epochs=2).fit(TRAIN, blank)
    assert ranker.best == {"epoch": 2, "vali": None}
    said = "no validation list holds a relevant document by 'relevance': nothing is selected by it"
    assert [note for note in ranker.notes if "lists hold no" not in note] == [said]
    still = make("linear", epochs=2).fit(blank, VALI)
    assert np.isfinite(still.score(TEST)).all()


def test_notes_say_what_nobody_would_notice(tmp_path):
    labels = TRAIN.label().copy()
    labels[: TRAIN.offsets[7]] = 0
    sparse = Split.from_arrays(TRAIN.features, labels, TRAIN.lengths)
    blank = int((np.maximum.reduceat(labels, TRAIN.offsets[:-1]) <= 0).sum())
    fitted = make("linear", epochs=1).fit(sparse, VALI)
    assert fitted.notes == [f"{blank} of 60 training lists hold no relevant document by 'relevance'"]
    same = Split.from_arrays(TRAIN.features, np.repeat(np.arange(60) % 3, TRAIN.lengths), TRAIN.lengths)
    equal = "no training list holds two different labels by 'relevance': they teach no order"
    assert make("linear", epochs=1).fit(same, VALI).notes[:2] == [
        "20 of 60 training lists hold no relevant document by 'relevance'",
        equal,
    ]
    flat = Split.from_arrays(np.ones_like(TRAIN.features), labels, TRAIN.lengths)
    tied = make("linear", epochs=1).fit(flat, None)
    assert tied.notes[1:] == ["linear: all scores of a list are equal, which ranks nothing"]
    assert make("constant").fit(TRAIN).notes == make("random").fit(TRAIN).notes, "they do not learn, and say so"
    tied.save(tmp_path)
    assert load_ranker(tmp_path).notes == tied.notes


def test_a_diverging_training_says_so():
    with pytest.raises(InputError, match="training diverged: the loss of epoch . is (nan|inf)"):
        make_ranker("linear", learning_rate=1e30, optimiser="sgd", epochs=9, transform="none").fit(
            Split.from_arrays(TRAIN.features * 1e8, TRAIN.label(), TRAIN.lengths), loss=SoftmaxCE()
        )


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
def test_settings_are_honoured(optimiser, precision):
    ranker = make("mlp", optimiser=optimiser, precision=precision, learning_rate=0.05, clip=0.5, schedule="step")
    ranker.fit(TRAIN, VALI)
    assert measured(ranker.score(TEST)) > 0.75
    assert ranker.score(TEST).dtype == np.float32


def test_a_normal_run_is_silent(tmp_path):
    """Not a line on either stream, with Lightning's own logging and warnings as a user has them."""
    code = (
        "from toy_lists import toy, SoftmaxCE; from ltr.rankers import make_ranker\n"
        "r = make_ranker('mlp', epochs=2).fit(toy(), toy(seed=1), loss=SoftmaxCE()); r.score(toy(seed=2))\n"
        "r.save('kept')\n"
        "import sys; assert 'scipy.signal' not in sys.modules  # two seconds, which Lightning's torchmetrics asks for"
    )
    here = os.path.dirname(__file__)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([here, os.path.dirname(here)])}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert (out.returncode, out.stdout, out.stderr) == (0, "", "")
    assert [p.name for p in tmp_path.iterdir()] == ["kept"], "no lightning_logs, no checkpoints"


def test_unknown_accelerator():
    with pytest.raises(InputError, match="unknown accelerator 'gppu'. Did you mean 'gpu'"):
        make("linear").fit(TRAIN, accelerator="gppu")


def test_the_former_name_of_a_setting_works_and_says_so(capsys, monkeypatch):
    """`lists` was `batch_size`'s name: in a call, in a table, and in the hash that stored runs carry."""
    monkeypatch.setattr(errors, "_SAID", set())
    assert make_ranker("linear", lists=7).training.batch_size == 7
    assert "'lists' is called 'batch_size' now" in capsys.readouterr().err
    with pytest.raises(InputError, match="lists and batch_size are given"):
        make_ranker("linear", lists=7, batch_size=8)
    new, old = ({"data": {"name": "x"}, "training": {name: 7}} for name in ("batch_size", "lists"))
    assert config_hash(new) == config_hash(old) and not differences(new, old)


def test_former_names_in_files_of_our_own_are_not_told(capsys, monkeypatch):
    monkeypatch.setattr(errors, "_SAID", set())
    with errors.kept_by_ltr():
        assert make_ranker("linear", lists=7).training.batch_size == 7
    assert capsys.readouterr().err == ""
    make_ranker("linear", lists=7)
    assert "'lists' is called 'batch_size' now" in capsys.readouterr().err


def test_a_former_name_in_one_file_goes_over_the_name_of_today_in_another(tmp_path, monkeypatch):
    """A suite over the one it extends, a template under a system, options over a file, a grid: one setting each."""
    monkeypatch.setattr(errors, "_SAID", set())
    (tmp_path / "_base.toml").write_text(
        'title = "B"\ndatasets = ["synthetic:queries=20"]\ntraining = { batch_size = 8 }\n'
        "[templates.net]\ntraining = { batch_size = 7 }\n"
    )
    (tmp_path / "s.toml").write_text(
        'extends = "_base.toml"\ntraining = { lists = 4 }\n[tuning]\npoints = 2\n'
        '[[systems]]\nlabel = "A"\nranker = "linear"\nlosses = ["listnet"]\n'
        'grid = { "training.lists" = [2, 3] }\n'
        '[[systems]]\nlabel = "C"\ntemplate = "net"\nranker = "linear"\nlosses = ["mse"]\ntraining = { lists = 5 }\n'
    )
    suite = load_suite(tmp_path / "s.toml")
    assert suite.training == {"batch_size": 4} and suite.systems[1].training == {"batch_size": 5}
    assert suite.systems[0].grid == {"training.batch_size": [2, 3]}
    (tmp_path / "run.toml").write_text(
        '[data]\nname = "synthetic:queries=20"\n[ranker]\nname = "linear"\n'
        '[loss]\nname = "mse"\n[training]\nlists = 6\n'
    )
    assert read_config(tmp_path / "run.toml").training.batch_size == 6
    for key in ("training.batch_size", "training.lists"):
        assert read_config(tmp_path / "run.toml", {key: 9}).training.batch_size == 9
