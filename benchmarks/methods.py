"""Writes METHODS.md: what is in the catalogues, each entry with formula, source, claims, parameters, and its witnesses.

    python benchmarks/methods.py [FILE]

Nothing on the page is typed: it is what the functions register (`ltr.losses.describe()` and its neighbours) and the
golden values of the tests. A test compares the page with what this script writes.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import docstring_parser

from ltr.atomic import whole_file
from ltr.bench.pages.losses_page import family
from ltr.catalogue import Entry
from ltr.losses import PREFERENCE_LOSSES, describe
from ltr.methods import METHODS
from ltr.methods.base import MethodConfig
from ltr.metrics import MEASURES, measure
from ltr.objectives import AGGREGATORS, SCALARISATIONS
from ltr.rankers import RANKERS, TrainingConfig
from ltr.rankers.conditional.config import ConditioningConfig

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"


def page() -> str:
    """The whole page."""
    parts = [
        "# Methods",
        "What `ltr` knows by name: losses, measures, rankers; and for several objectives: losses with a reference, "
        "scalarisations, aggregators, methods. Written by `python benchmarks/methods.py` from the "
        "catalogues and from the golden values of the tests; a test keeps it fresh. How to add an entry: "
        "[CONTRIBUTING.md](../CONTRIBUTING.md). What the losses reach on real lists: [LOSSES.md](LOSSES.md).",
        *losses(),
        *measures(),
        *rankers(),
        *methods(),
        *preference_losses(),
        *scalarisations(),
        *aggregators(),
    ]
    return "\n\n".join(parts) + "\n"


# -------------------------------------------------------------------------------------------------------------- losses


def losses() -> Iterator[str]:
    """A block an entry, sorted into families."""
    golden = json.loads((GOLDEN / "losses.json").read_text())
    records = [json.loads(path.read_text()) for path in sorted(GOLDEN.glob("losses_*.json"))]
    scores, labels = golden["list"]["scores"], golden["list"]["labels"]
    yield "## Losses"
    yield (
        "One value a list: `f(scores, labels, where, *, weights, generator, **parameters)`. s scores, y labels, i and "
        "j documents of a list of n, r the rank by score, G gain, D discount. Claims are proven for every entry by "
        "`tests/battery.py`; the words are those of `ltr/losses/base.py`."
    )
    yield (
        f"Worked values: on the list s = {_tuple(scores)}, y = {_tuple(labels)}, {_plain(golden['provenance'])}. Where "
        "no library is named, a formula by hand and a slow loop vouch for the value."
    )
    yield "Witnesses, asked by a script that is kept beside their answers in `tests/golden`:"
    yield "\n".join(f"- {_plain(record['witness'])}: {_code(record['command'])}" for record in records)
    families: dict[str, list[dict]] = {}
    for row in describe():
        families.setdefault(family(row["name"]), []).append(row)
    # By name: files register in the order in which somebody happened to import them.
    yield "\n".join(f"- {name}: {', '.join(_link(r['name']) for r in rows)}" for name, rows in sorted(families.items()))
    for name, rows in sorted(families.items()):
        yield f"### Family: {name}"
        for row in rows:
            values = [v for v in golden["values"] if v["loss"] == row["name"]]
            said = [*_facts(row), *_values(values), *_witnesses(row["name"], records)]
            yield "\n".join([f"#### {row['name']}", "", _plain(row["summary"]), "", *said])


def _facts(row: Mapping[str, Any]) -> Iterator[str]:
    yield f"- formula: {_code(row['formula'])}"
    yield f"- source: {_plain(row['source'])}"
    yield f"- claims: {_claims(row['claims'])}"
    yield f"- parameters: {', '.join(_code(f'{k} = {v!r}') for k, v in row['parameters'].items()) or 'none'}"


def _claims(claims: Mapping[str, Any]) -> str:
    """`needs pair, shift invariant`; what is not claimed is not said."""
    said = []
    for name, value in claims.items():
        words = name.replace("_", " ")
        if value is True:
            said.append(words)
        elif callable(value):  # depends on the parameters
            said.append(f"{words} with some parameters")
        elif value not in (False, None):
            said.append(f"{words} {value}" if name == "needs" else f"{words}: {value}")
    return _plain(", ".join(said)) or "none"


def _values(values: list[Mapping[str, Any]]) -> Iterator[str]:
    for v in values:
        given = ", ".join(f"{key}={value!r}" for key, value in v["params"].items())
        where = f" with {_code(given)}" if given else ""
        yield f"- worked value{where}: {v['value']}" + (f"; agrees: {_plain(v['agrees'])}" if v["agrees"] else "")


def _witnesses(loss: str, records: list[Mapping[str, Any]]) -> Iterator[str]:
    """Who else computed it, with which parameters, what had to be converted, and where they say something else."""
    for record in records:
        name = record["witness"].split(",")[0]
        answers = [a for a in record["answers"] if a.get("loss") == loss]
        asked = dict.fromkeys(
            _code(", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v!r}" for k, v in a["params"].items()))
            or "the defaults"
            for a in answers
        )
        converted = " / ".join(dict.fromkeys(a["converted"] for a in answers if a["converted"]))
        if answers:
            text = f"- witness: {name}, {len(answers)} value{'s' * (len(answers) != 1)}, with {' / '.join(asked)}"
            yield text + (f"; converted: {_plain(converted)}" if converted else "")
        for why in dict.fromkeys(a["why"] for a in record.get("disagrees", ()) if a["loss"] == loss):
            yield f"- {name} disagrees on other lists: {_plain(why)}"


# ------------------------------------------------------------------------------------------------------------ measures


def measures() -> Iterator[str]:
    yield "## Measures"
    yield f"```text\n{(inspect.getdoc(inspect.getmodule(measure)) or '').strip()}\n```"
    for entry in MEASURES:
        claims = entry.claims
        cut = "@10" if claims["cutoff"] == "required" else ""
        defaults = ", ".join(_code(f"{k} = {v}") for k, v in measure(entry.name + cut).arguments.items())
        lines = [f"### {entry.name}", "", f"- formula: {_code(entry.formula)}", f"- source: {_plain(entry.source)}"]
        lines += [f"- cut-off: {claims['cutoff']}", f"- arguments: {defaults or 'none'}"]
        yield "\n".join(lines)


# ------------------------------------------------------------------------------------------------------------- rankers


def rankers() -> Iterator[str]:
    yield "## Rankers"
    yield (
        "Two verbs, `fit` and `score`. Neural rankers are trained with any loss above; the others bring their own "
        "objective. Parameters are the fields of a typed config; their defaults stand there and nowhere else."
    )
    for entry in RANKERS:
        yield "\n".join(_ranker(entry))
        yield _parameters(entry.claims["config"])
    yield "### Training of the neural rankers"
    yield _parameters(TrainingConfig)


def _ranker(entry: Entry) -> Iterator[str]:
    claims = {k: v for k, v in entry.claims.items() if k not in ("config", "training")}
    yield f"### {entry.name}"
    yield ""
    yield _plain(docstring_parser.parse(entry.claims["config"].__doc__ or "").short_description or "")
    yield ""
    yield f"- formula: {_code(entry.formula)}"
    if entry.source:
        yield f"- source: {_plain(entry.source)}"
    yield f"- claims: {_claims(claims)}"


_NOTHING = "No parameters."


def _shown(default: Any) -> str:
    """A default as one would write it: of a config only what differs from its own defaults."""
    if not is_dataclass(default):
        return repr(default)
    own = [f"{f.name}={getattr(default, f.name)!r}" for f in fields(default) if getattr(default, f.name) != f.default]
    return f"{type(default).__name__}({', '.join(own)})"


def _parameters(config: type, without: Collection[str] = ()) -> str:
    """A table of the fields of a config with the words of its docstring, or of the one it inherits them from."""
    docs = [docstring_parser.parse(kind.__doc__ or "").params for kind in reversed(config.__mro__)]
    words = {p.arg_name: p.description for params in docs for p in params}
    rows = []
    for each in fields(config):
        if each.name in without:
            continue
        default = each.default if each.default is not MISSING else each.default_factory()
        meaning = " ".join((words.get(each.name) or "").split())
        rows.append(f"| {each.name} | {_cell(_code(_shown(default)))} | {_cell(_plain(meaning))} |")
    return "\n".join(["| parameter | default | meaning |", "|:--|:--|:--|", *rows]) if rows else _NOTHING


# --------------------------------------------------------------------------------------------------- several objectives

_PREFERENCE = {
    "continuous": "scores any preference without further training",
    "fixed": "trains a model for each preference",
    "ignored": "gives one point, whatever the preference",
}


def methods() -> Iterator[str]:
    yield "## Methods for several objectives"
    yield (
        "`fit(task)`, then `score(split, preferences)`. s scores, `s_ref` those of a reference ranker, w the "
        "preference, `l_k` the list loss of objective k, `z^k` its list target, theta weights of a net, l~ losses "
        "measured in units of the pay-off table. Every entry passes the contract of `tests/test_methods.py`; what the "
        "families must end "
        "at on free scores is proven in `tests/test_claims.py` and `tests/test_criteria.py`. `[2nd]` and `[recalled]` "
        "mark what was seen in a secondary source, or not verified at all. On which tasks they are compared: "
        "`benchmarks/suites/fronts-*.toml`."
    )
    for kind, words in _PREFERENCE.items():
        names = [e.name for e in _sorted(METHODS) if e.claims["preference"] == kind]
        yield f"- {words}: {', '.join(f'[{n}](#method-{n})' for n in names)}"
    shared = {each.name for each in fields(MethodConfig)}
    yield "### What methods that train nets share"
    yield _parameters(MethodConfig)
    yield "### Conditioning of a net on the preference"
    yield _parameters(ConditioningConfig)
    for entry in _sorted(METHODS):
        config = entry.claims["config"]
        nets = issubclass(config, MethodConfig)
        said = [f'- config name: `method = "{entry.name}"`', *_about(entry)]
        said += [
            f"- {_PREFERENCE[entry.claims['preference']]}" + ", starting from a reference ranker" * entry.claims["base"]
        ]
        said += [] if entry.claims["means"] == "none" else [f"- w means: {entry.claims['means']}"]
        own = _parameters(config, shared if nets else set())
        said += ["- parameters: those that nets share" + (", and" if own != _NOTHING else "")] * nets
        yield "\n".join([f"#### Method: {entry.name}", "", *said])
        if own != _NOTHING:
            yield own


def preference_losses() -> Iterator[str]:
    record = json.loads((GOLDEN / "preference.json").read_text())
    answers = [row for case in record["cases"] for row in case["answers"]]
    yield "## Losses with a reference"
    yield (
        "u = beta (s - `s_ref`) - margins. Every loss above answers to NAME-dpo, its value on u; those below are "
        "further mathematics. They obey the scaling law: the best s - `s_ref` at c beta is the best at beta, divided "
        "by c (`tests/test_preference.py`)."
    )
    yield f"Witness: {_plain(record['witness'])}: {_code(record['command'])}"
    for entry in _sorted(PREFERENCE_LOSSES):
        asked = [a for a in answers if a["loss"] == entry.name]
        said = [*_about(entry), f"- claims: {_claims(entry.claims)}", _defaults(entry.parameters)]
        if asked:
            tags = ", ".join(dict.fromkeys(a["certainty"] for a in asked))
            said += [f"- witness: its public formula [{tags}], {len(asked)} values"]
        summary = _plain((inspect.getdoc(entry.function) or "").split("\n", 1)[0])
        yield "\n".join([f"#### Preference loss: {entry.name}", "", summary, "", *said])


def scalarisations() -> Iterator[str]:
    yield "## Scalarisations"
    yield (
        "Losses `[objective]` and a preference become the number to descend. The words of the claims are those of "
        "`ltr/objectives/scalarisations.py`; `tests/test_scalarisations.py` proves each for every entry."
    )
    yield from _rules("Scalarisation", SCALARISATIONS)


def aggregators() -> Iterator[str]:
    yield "## Aggregators"
    yield (
        "The gradients of all objectives become the direction of one step. The words of the claims are those of "
        "`ltr/objectives/aggregators.py`; `tests/test_aggregators.py` proves each for every entry and asks torchjd "
        "where it has the same rule."
    )
    yield from _rules("Aggregator", AGGREGATORS)


def _rules(kind: str, catalogue: Any) -> Iterator[str]:
    for entry in _sorted(catalogue):
        said = [*_about(entry), f"- claims: {_claims(entry.claims)}", _defaults(entry.parameters)]
        summary = _plain((inspect.getdoc(entry.function) or "").split("\n", 1)[0])
        yield "\n".join([f"#### {kind}: {entry.name}", "", summary, "", *said])


def _about(entry: Entry) -> list[str]:
    return [f"- formula: {_code(entry.formula)}", f"- source: {_plain(entry.source)}"]


def _defaults(known: Mapping[str, inspect.Parameter]) -> str:
    said = [k if p.default is p.empty else f"{k} = {p.default!r}" for k, p in known.items()]
    return f"- parameters: {', '.join(_code(each) for each in said) or 'none'}"


def _sorted(catalogue: Any) -> list[Entry]:
    """By name: files register in the order in which somebody happened to import them."""
    return sorted(catalogue, key=lambda entry: entry.name)


# ------------------------------------------------------------------------------------------------------------ Markdown


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _plain(text: str) -> str:
    """Words that Markdown must not take for its own; what stands in backticks is left alone."""
    parts = text.split("`")
    for i in range(0, len(parts), 2):
        for sign in "\\*_<":
            parts[i] = parts[i].replace(sign, f"\\{sign}")
    return "`".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _link(name: str) -> str:
    return f"[{name}](#{name})"


def _tuple(values: list) -> str:
    return f"({', '.join(f'{v:g}' for v in values)})"


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("METHODS.md")
    with whole_file(target) as beside:
        beside.write_text(page(), encoding="utf-8", newline="\n")
    print(f"wrote {target}")
