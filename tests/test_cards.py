"""Dataset cards: complete, honest about certainty, strict, and true to the real files where we have them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ltr.atomic import sha256
from ltr.datasets.cards.card import card_hash, cards, load_card, parse_card
from ltr.datasets.cards.page import page
from ltr.errors import InputError

# card -> folder of the real files in the shared data
REAL = {
    "mq2008": "MQ2008",
    "clueweb09": "ClueWeb09",
    "mslr-head": "MSLR-WEB10K-head",
    "lightgbm-example": "lightgbm-example",
    "clef-ehealth-2016": "clef-ehealth-2016",
}
PROMISED = [
    "mslr-web10k",
    "mslr-web30k",
    "yahoo-set1",
    "yahoo-set2",
    "istella",
    "istella-s",
    "mq2007",
    "mq2008",
    "ohsumed",
    "clueweb09",
    "clef-ehealth-2016",
    "lightgbm-example",
    "mslr-head",
    "synthetic",
]


def test_every_promised_dataset_has_a_card():
    assert set(PROMISED) <= set(cards())


@pytest.mark.parametrize("name", cards())
def test_a_card_is_complete(name):
    card = load_card(name)
    assert card.title and len(card.summary.split()) >= 10
    assert card.citation.strip().startswith("@") and card.citation.count("{") == card.citation.count("}")
    assert card.licence.name and card.licence.terms.endswith(".")
    assert all(o.labels or o.scale for o in card.objectives), "an objective's values have a meaning"
    assert card.objectives[0].name == "relevance"
    if card.format != "generated":
        assert card.folds or card.format == "table"
        assert card.manual.steps and card.homepage.startswith("http")
    if card.licence.accept:
        assert (card.licence.url or card.homepage).startswith("http"), "where to read what is accepted"


@pytest.mark.parametrize("name", cards())
def test_a_card_has_its_page_and_its_prose(name):
    card, text = load_card(name), page(load_card(name))
    for said in (card.title, card.licence.name, card.citation.strip(), *(o.name for o in card.objectives)):
        assert said in text
    for d in card.downloads:
        assert d.sha256 in text
    folder = Path(__file__).parent.parent / "data"
    prose = (folder / name / "README.md").read_text()
    assert prose.startswith(f"# {card.title}") and len(prose.split()) > 40
    assert f"[{name}]({name}/README.md)" in (folder / "README.md").read_text(), "listed in data/README.md"


def parts(name):
    """Split counts that partition the whole: all splits of a lone fold, or the test parts of five."""
    card = load_card(name)
    if len(card.folds) == 1:
        keys = [f"{card.folds[0].name}/{split}" for split in card.folds[0].files()]
    else:
        keys = [f"{fold.name}/test" for fold in card.folds]
    return [card.splits.get(key) for key in keys]


@pytest.mark.parametrize("name", [name for name in cards() if parts(name) and None not in parts(name)])
def test_counts_add_up(name):
    whole = load_card(name).counts
    for what in ("queries", "documents", "blank"):
        counts = [getattr(part, what) for part in parts(name)]
        if getattr(whole, what) is not None and None not in counts:
            assert sum(counts) == getattr(whole, what), what


@pytest.mark.parametrize("name", ["mq2008", "mslr-web10k", "mslr-web30k"])
def test_hashes_know_the_partition(name):
    """LETOR's scheme: the test file of a fold is the validation file of the next, so a swapped hash would show."""
    card = load_card(name)
    for this, after in zip(card.folds, (*card.folds[1:], card.folds[0]), strict=True):
        assert card.files.sha256[this.test] == card.files.sha256[after.vali] != ""
    assert len({card.files.sha256[f.train] for f in card.folds}) == 5


@pytest.mark.data
@pytest.mark.parametrize("name", REAL)
def test_the_real_files_are_those_of_the_card(name, real_data):
    card = load_card(name)
    for path, expected in card.files.sha256.items():
        assert sha256(real_data / REAL[name] / path) == expected, path


@pytest.mark.data
@pytest.mark.parametrize("name", ["mq2008", "clueweb09", "mslr-head"])
def test_the_cards_counts_are_those_of_the_real_files(name, real_data):
    card = load_card(name)
    for key, count in card.splits.items():
        fold, split = key.split("/")
        best: dict[bytes, float] = {}
        documents = 0
        with open(card.sources(real_data / REAL[name])[fold][split], "rb") as f:
            for line in f:
                label, query = line.split(b" ", 2)[:2]
                best[query] = max(best.get(query, 0.0), float(label))
                documents += 1
        blank = sum(v == 0 for v in best.values())
        assert (len(best), documents, blank) == (count.queries, count.documents, count.blank), key


def test_objectives_take_their_near_copies_out():
    card = load_card("mslr-web10k")
    assert card.leaving(["relevance"]) == ()
    assert card.leaving(["relevance", "url-dwell"]) == (132, 133, 134, 135, 136)
    assert card.leaving(["page-rank", "relevance"]) == (130,)
    assert load_card("mq2008").leaving(["page-rank"]) == (41, 42)
    with pytest.raises(InputError, match="unknown objective of mslr-web10k 'url-dwel'. Did you mean 'url-dwell'"):
        card.leaving(["url-dwel"])
    assert card.feature_names[110 - 1] == "bm25_document" and card.feature_names[132 - 1] == "quality_score"


def test_sources_are_the_official_files(tmp_path):
    sources = load_card("yahoo-set1").sources(tmp_path)
    files = {"train": "set1.train.txt", "vali": "set1.valid.txt", "test": "set1.test.txt"}
    assert sources == {"set1": {split: tmp_path / file for split, file in files.items()}}
    assert set(load_card("clueweb09").sources(tmp_path)["Fold3"]) == {"train", "test"}


def test_an_unknown_dataset_names_the_near_miss():
    with pytest.raises(InputError, match="unknown dataset 'MQ-2008'. Did you mean 'mq2008'"):
        load_card("MQ-2008")
    with pytest.raises(InputError):
        card_hash("nothing-like-it")
    assert len(card_hash("mq2008")) == 64


@pytest.fixture
def edited(tmp_path):
    """`edited(old, new)` parses the MQ2008 card with one replacement."""
    source = Path(__file__).parent.parent / "data" / "mq2008" / "card.toml"

    def parse(old: str, new: str, name: str = "mq2008"):
        text = source.read_text()
        assert old in text
        folder = tmp_path / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "card.toml").write_text(text.replace(old, new, 1))
        return parse_card(folder / "card.toml")

    return parse


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("n_features =", "n_feature =", "unknown key 'n_feature'.*Did you mean 'n_features'|missing key 'n_features'"),
        ("accept = true", "acept = true", r"unknown key 'acept' in \[licence\]. Did you mean 'accept'"),
        ("accept = true", 'accept = "yes"', "licence.accept has the wrong type"),
        ('certainty = "read"', 'certainty = "sure"', "certainty is not one of its choices"),
        ('test = "Fold1/test.txt"', 'test = "Fold1/tset.txt"', r"\[files\] does not list.*Fold1/tset.txt"),
        ('test = "Fold1/test.txt"', "", r"missing key 'test' in \[folds\[0\]\]"),
        ('"Fold1/train" = {', '"Fold6/train" = {', "counts of a split that no fold has.*Fold6/train"),
        ('"Fold1/train.txt" = "9b', '"Fold1/train.txt" = "xx', "not a sha256"),
        ('"Fold1/train.txt" = "9b', '"../train.txt" = ""\n"Fold1/train.txt" = "9b', "must lie below raw/"),
        ('source = "computed by us from a copy of the official files"', "", "needs its source and certainty"),
        ("column = 41", "column = 47", "objective 'page-rank': no such column"),
        ('name = "inlinks"', 'name = "page-rank"', "objective named twice"),
        ('format = "svmlight"', 'format = "table"', r"\[table\] goes with"),
        ('name = "mq2008"', 'name = "mq2007"', "named as its folder"),
        ('"child_pages"', '"child_pages", "one_more"', "46 names"),
    ],
)
def test_a_wrong_card_is_refused(edited, old, new, said):
    with pytest.raises(InputError, match=said) as error:
        edited(old, new)
    assert "card.toml" in str(error.value)
