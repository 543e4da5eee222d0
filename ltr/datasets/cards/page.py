"""A dataset card as Markdown, as `ltr data info NAME` prints it."""

from __future__ import annotations

from .card import SPLITS, Card, Count, Fold

__all__ = ["page"]


def page(card: Card) -> str:
    """Everything the card says, each number with its certainty in brackets."""
    blocks = [_head(card), _objectives(card), _folds(card), _getting(card), _notes(card)]
    blocks += [["## Citation", "", "```bibtex", card.citation.strip(), "```"]]
    return "\n\n".join("\n".join(lines) for lines in blocks if lines) + "\n"


def _tag(certainty: str | None) -> str:
    return f" [{certainty}]" if certainty else ""


def _size(count: Count) -> str:
    parts = [("queries", count.queries), ("documents", count.documents), ("blank", count.blank)]
    return ", ".join(f"{n:,} {what}" for what, n in parts if n is not None) + _tag(count.certainty)


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(c) for c in cells) + " |"


def _head(card: Card) -> list[str]:
    licence = f"{card.licence.name}. {card.licence.terms}{_tag(card.licence.certainty)} {card.licence.url}".rstrip()
    scaled = f", {card.normalised}" if card.normalised else ""
    lines = [f"# {card.title} (`{card.name}`)", "", card.summary.strip(), ""]
    lines += [f"- homepage: {card.homepage}"] if card.homepage else []
    lines += [f"- licence: {licence}"]
    lines += [f"- format: {card.format}, {card.n_features} features from index {card.index_base}{scaled}"]
    return lines + ([f"- size: {_size(card.counts)}"] if card.counts else [])


def _objectives(card: Card) -> list[str]:
    lines = ["## Objectives", "", _row("name", "column", "better", "values", "labels by", "leaves the inputs", "note")]
    lines += [_row(*["---"] * 7)]
    for o in card.objectives:
        values = "; ".join(f"{value} = {meaning}" for value, meaning in o.labels.items()) or o.scale
        column = "label" if o.column == 0 else o.column
        better = {"max": "higher", "min": "lower"}[o.direction]
        leaves = ", ".join(map(str, o.leaves)) or "-"
        lines += [_row(o.name, column, better, values, o.transform, leaves, f"{o.note}{_tag(o.certainty)}")]
    return lines


def _folds(card: Card) -> list[str]:
    if not card.folds:
        return [] if card.format == "generated" else ["No official folds: five query-grouped folds are made, seeded."]

    def cell(fold: Fold, split: str) -> str:
        path, count = getattr(fold, split), card.splits.get(f"{fold.name}/{split}")
        return f"`{path}` {_size(count) if count else ''}".rstrip() if path else "20 % of the train queries"

    lines = ["## Folds", "", _row("fold", *SPLITS), _row(*["---"] * 4)]
    return lines + [_row(fold.name, *(cell(fold, split) for split in SPLITS)) for fold in card.folds]


def _getting(card: Card) -> list[str]:
    if not card.manual:
        return []
    lines = ["## Getting it", ""]
    for d in card.downloads:
        size = f", {d.size:,} bytes" if d.size else ""
        hashed = f"sha256 {d.sha256}" if d.sha256 else "sha256 unknown"
        lines += [f"- `{d.name}`{size}, {hashed}{_tag(d.certainty)} {' '.join(d.urls)} {d.note}".rstrip()]
    lines += [""] if card.downloads else []
    lines += [f"{i}. {step}" for i, step in enumerate(card.manual.steps, 1)]
    last = f"{len(card.manual.steps) + 1}. `ltr data fetch {card.name} --from {card.manual.expects}`"
    return [*lines, last + _tag(card.manual.certainty)]


def _notes(card: Card) -> list[str]:
    if not card.notes:
        return []
    return ["## Notes", "", *(f"- {n.fact} ({n.source}){_tag(n.certainty)}" for n in card.notes)]
