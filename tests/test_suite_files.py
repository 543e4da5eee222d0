"""Suite files as people write them: what stands in one is a suite or one clear message, and a thing is said once."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from ltr import schema
from ltr.bench import run_suite
from ltr.bench.suite import Suite, System, check, load_suite, suite_names
from ltr.bench.suite.narrow import narrowed, words_of
from ltr.bench.suite.plan import main_jobs
from ltr.bench.suite.reading import read_suite
from ltr.errors import InputError

WHOLE = {
    "title": "t",
    "description": "d",
    "extends": "_base.toml",
    "datasets": ["a"],
    "folds": ["Fold1"],
    "seeds": [0, 1],
    "measures": ["nDCG@10"],
    "headline": "nDCG@10",
    "select": "AP",
    "per_query": ["nDCG@10"],
    "labelled": [0.5],
    "training": {"epochs": 3},
    "loss_params": {"listnet": {"temperature": 1.0}},
    "tuning": {"points": 1, "folds": ["Fold1"], "seeds": [0], "seed": 1},
    "limits": {"workers": 1},
    "systems": [
        {
            "label": "Net",
            "ranker": "mlp",
            "losses": ["listnet"],
            "params": {"hidden": [8]},
            "training": {"epochs": 2},
            "loss_params": {"temperature": 2.0},
            "grid": {"training": {"learning_rate": [0.1, 0.2]}},
            "seeds": [0],
            "baseline": False,
            "source": "s",
        },
        {"label": "Random", "ranker": "random"},
    ],
}
METHODS = {
    "title": "t",
    "datasets": ["synthetic"],
    "objectives": ["relevance", "quality"],
    "preferences": 2,
    "training": {"epochs": 3},
    "systems": [{"label": "One", "method": "hyperdpo", "params": {"ranker_params": {"hidden": [8]}}}],
}
ODD = ([["x"]], {}, {"x": [1]}, "", "\x00|<b>", -1, 2**70, float("nan"), True)


def write(path: Path, mapping: dict) -> Path:
    schema.write_toml(path, mapping)
    return path


def leaves(mapping, at=()):
    for key, value in mapping.items() if isinstance(mapping, dict) else enumerate(mapping):
        yield (*at, key)
        if isinstance(value, (dict, list)):
            yield from leaves(value, (*at, key))


@pytest.mark.parametrize("whole", [WHOLE, METHODS], ids=["rankers", "methods"])
def test_any_value_anywhere_is_a_suite_or_an_input_error(tmp_path, whole):
    """A list as a label, a number as a table: nothing escapes as another exception."""
    write(tmp_path / "_base.toml", {"systems": [{"label": "Random", "ranker": "random", "seeds": [0]}]})
    assert check(load_suite(write(tmp_path / "s.toml", whole)))
    refused = 0
    for path in leaves(whole):
        for odd in ODD:
            mapping = copy.deepcopy(whole)
            inner = mapping
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = odd
            try:
                suite = load_suite(write(tmp_path / "s.toml", mapping))
                main_jobs(suite, dict.fromkeys(suite.datasets, ("Fold1",)))
            except InputError as error:
                refused += 1
                assert len(str(error)) < 2000
    assert refused > 100


@pytest.mark.parametrize(
    "change, message",
    [
        ({"systems": [{"label": ["a"], "ranker": "random"}]}, "label of a system.*expected a text"),
        ({"systems": [{"ranker": "random"}]}, "label of a system"),
        ({"systems": "random"}, r"a table \[\[systems\]\] each"),
        ({"extends": 3}, "the name of a suite"),
        ({"extends": "mq208"}, "Did you mean 'mq2008'"),
        ({"extends": "there/it.toml"}, "is not there"),
        ({"datasets": ["x/data", "y/data"]}, "share a folder"),
        ({"seeds": [1, 1]}, "twice"),
        ({"seeds": [-1]}, "0 or more; came -1"),
        ({"folds": []}, "folds of a suite; expected one or more"),
        ({"limits": {"workers": 0}}, "limits.workers of a suite; expected 1 or more"),
        ({"tuning": {"points": -1}}, "tuning.points"),
        ({"tuning": {"points": 1, "seeds": [0, 0]}}, "tuning.seeds of a suite; expected none twice"),
        ({"measures": ["nope"]}, "s.toml: unknown measure 'nope'"),
        ({"systems": [{"label": "a\tb", "ranker": "random"}], "loss_params": {}}, "names that can be read"),
        (
            {"systems": [{"label": "a", "ranker": "random", "seeds": [1, 1]}], "loss_params": {}},
            "seeds of 'a'.*none twice",
        ),
        (
            {"systems": [{"label": "a", "ranker": "mlp", "grid": {"training.clip": [1, 1]}}], "loss_params": {}},
            "every value once",
        ),
    ],
)
def test_mistakes_are_named(tmp_path, change, message):
    write(tmp_path / "_base.toml", {"systems": [{"label": "Random", "ranker": "random"}]})
    with pytest.raises(InputError, match=message):
        load_suite(write(tmp_path / "s.toml", {**WHOLE, **change}))


def test_labels_in_any_script_have_folders_of_their_own(tmp_path):
    """Names that ASCII cannot say, or that are too long for a file, are told apart by a hash; the others stay."""
    labels = ["Net 1", "線形", "中国", "x" * 300, "x" * 301]
    systems = [{"label": label, "ranker": "random"} for label in labels]
    plain = {"title": "t", "datasets": ["a"]}
    slugs = [v.slug for v in load_suite(write(tmp_path / "s.toml", {**plain, "systems": systems})).variants()]
    assert slugs[0] == "net-1" and len(set(slugs)) == 5 and all(s.isascii() and 0 < len(s) < 120 for s in slugs)


def test_a_label_column_that_is_not_there_is_said_before_any_run(tmp_path):
    rows = ["query,relevance,a", *(f"{split}{q},{q % 2},{q}" for split in "rvt" for q in (1, 1, 2))]
    for name, split in (("train", "r"), ("vali", "v"), ("test", "t")):
        lines = [rows[0], *(row for row in rows[1:] if row.startswith(split))]
        (tmp_path / "d").mkdir(exist_ok=True)
        (tmp_path / f"d/{name}.csv").write_text("\n".join(lines) + "\n")
    for objective, says in (("nosuch", "nosuch"), ("relevance:gradeX", "Did you mean 'grade5'")):
        suite = check(Suite("s", (str(tmp_path / "d"),), (System("Random", "random"),), objective=objective))
        with pytest.raises(InputError, match=says):
            run_suite(suite, tmp_path / "out", workers=1, progress=False)
        assert not (tmp_path / "out").exists()


def test_a_suite_of_the_package_is_extended_by_name_from_any_folder(tmp_path):
    text = 'title = "Mine"\nextends = "mq2008"\nseeds = [5]\n[[systems]]\nlabel = "Own"\nranker = "random"\n'
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "mine.toml").write_text(text)
    mine, theirs = load_suite(tmp_path / "deep" / "mine.toml"), load_suite("mq2008")
    assert mine.name == "mine" and mine.seeds == (5,) and mine.datasets == theirs.datasets
    assert [v.label for v in mine.variants()] == [*(v.label for v in theirs.variants()), "Own"]
    # A part of suites, and a file that lies beside it and is called like one of the package: the nearer one.
    (tmp_path / "part.toml").write_text(text.replace('"mq2008"', '"_systems"'))
    assert "systems" in read_suite(tmp_path / "part.toml")
    (tmp_path / "deep" / "mq2008").write_text('datasets = ["elsewhere"]\nsystems = []\n')
    assert load_suite(tmp_path / "deep" / "mine.toml").datasets == ("elsewhere",)


def test_settings_of_a_method_are_said_in_one_place(tmp_path):
    """`params.training` of a system is its own `training`: it wins over the suite's, and both at once is an error."""
    for place in ({"params": {"training": {"epochs": 7}}}, {"training": {"epochs": 7}}):
        mapping = copy.deepcopy(METHODS)
        mapping["systems"][0] |= place
        mapping["training"]["learning_rate"] = 0.5
        (job,) = main_jobs(load_suite(write(tmp_path / "s.toml", mapping)), {"synthetic": ("Fold1",)})
        assert job.config.method.params["training"] == {"epochs": 7, "learning_rate": 0.5}
    for key in ("training", "loss_params"):
        system = System("One", method="hyperdpo", params={key: {"a": 1}}, **{key: {"a": 2}})
        with pytest.raises(InputError, match=rf"says {key}\.a twice; expected in `{key}` or in `params\.{key}`"):
            check(Suite("t", ("synthetic",), (system,), objectives=("relevance", "quality")))
    with pytest.raises(InputError, match="says its loss twice"):
        system = System("One", method="hyperdpo", params={"loss": "listnet"}, losses=("ranknet",))
        check(Suite("t", ("synthetic",), (system,), objectives=("relevance", "quality")))


def test_the_words_of_a_part_make_that_part():
    suite = load_suite("quickstart")
    labels = [v.label for v in suite.variants()]
    part = narrowed(suite, labels[:2], [7, 8])
    words = words_of(part, suite)
    assert words[:4] == ("--seeds", "7", "8", "--only") and words_of(suite, suite) == ()
    assert narrowed(suite, words[4:], [7, 8]) == part
    with pytest.raises(InputError, match="at least one"):
        narrowed(suite, seeds=[])


def test_every_suite_of_the_package_can_be_read():
    assert {"mq2008", "quickstart", "fronts-mq2008"} <= set(suite_names())


def test_systems_share_a_template(tmp_path):
    path = tmp_path / "mine.toml"
    head = 'title = "t"\ndatasets = ["mq2008"]\nfolds = "all"\n'
    head += "[templates.net]\ngrid = { training.learning_rate = [0.1, 0.2] }\nparams = { hidden = [8] }\n"
    system = '[[systems]]\nlabel = "A"\nranker = "mlp"\nlosses = ["mse"]\ntemplate = "%s"\nparams = { dropout = 0.5 }\n'
    path.write_text(head + system % "net")
    (variant,) = load_suite(path).variants()
    assert variant.params == {"hidden": [8], "dropout": 0.5} and variant.grid == {"training.learning_rate": [0.1, 0.2]}
    path.write_text(head + system % "nett")
    with pytest.raises(InputError, match="unknown template of system 'A' 'nett'. Did you mean 'net'"):
        load_suite(path)


def test_budgets_of_methods(tmp_path):
    """Every front gets the epochs of 11 models: so many times longer trains who trains fewer."""
    path = tmp_path / "mine.toml"
    head = 'title = "t"\ndatasets = ["mq2008"]\nobjectives = ["relevance", "page-rank"]\npreferences = 10\n'
    head += 'budget = "total"\n[training]\nepochs = 4\n'
    systems = {
        "LS": ("ls", "", 4),
        "Soup": ("soup", "", 4 * 5),
        "Film": ("hyperdpo", "", 4 * 11),
        "Plug-in": ("plug-in", "", 4 * 5),
        "Plug-in, one net": ("plug-in", 'nets = "one"', 4 * 11),
        "Plug-in, two forms": ("plug-in", 'form = ["softmax", "mixture"]', 4 * 2),
        "Four": ("hyperdpo", "sampled = 4", 4 * 2),
        "Head": ("hyperdpo", 'sampled = 4, conditioning = { kind = "head" }', 4 * 11),
        "Default head": ("phn", "sampled = 4", 4 * 11),
    }
    for label, (method, params, _) in systems.items():
        head += f'[[systems]]\nlabel = "{label}"\nmethod = "{method}"\nparams = {{ {params} }}\n'
    path.write_text(head + '[[systems]]\nlabel = "Short"\nmethod = "hyperdpo"\nbudget = "model"\n')
    jobs = {job.system: job.config.method.params for job in main_jobs(load_suite(path), {"mq2008": ["Fold1"]})}
    assert {name: p["training"]["epochs"] for name, p in jobs.items()} == {
        **{label: epochs for label, (_, _, epochs) in systems.items()},
        "Short": 4,
    }
    assert jobs["Film"]["reference_epochs"] == 4 and "reference_epochs" not in jobs["Short"]
