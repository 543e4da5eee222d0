"""The pages of single datasets on the site of a board: of rankers, and of methods for several objectives."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltr.atomic import write_text
from ltr.bench.analysis.front_results import load_front_results
from ltr.bench.analysis.samples import FILE, read_samples
from ltr.bench.suite.plan import dataset_slug
from ltr.bench.text import number

from .front_pictures import title_of
from .report import page_context, section_of, write_page
from .report_fronts import front_section

if TYPE_CHECKING:
    from ltr.bench.analysis.leaderboard import Leaderboard
    from ltr.bench.analysis.results import FrontResults, Results
    from ltr.bench.analysis.submission import Board

__all__ = ["Methods", "dataset_page", "methods_of"]


def dataset_page(board: Board, results: Results, table: Leaderboard, states: dict[str, str], to: Path) -> None:
    """DATASET.html and DATASET.csv of rankers; `states` says of each system what is known of it."""
    found = section_of(results, table, to)
    found["columns"].insert(2, "state")
    for row in found["rows"]:
        row["text"]["state"] = states.get(row["text"]["system"], "")
    name = dataset_slug(table.dataset)
    _write(board, results, found, to / f"{name}.html")
    write_text(to / f"{name}.csv", table.table.to_csv(index=False, lineterminator="\n"), durable=False)


@dataclass(frozen=True)
class Methods:
    """Methods for several objectives side by side.

    Attributes:
        tasks: (title, file of its page), in the order of the board.
        sections: of each task, the results and what its page says.
        rows: system, method, rank (mean over its tasks of the share of systems above it), values: title -> normalised
            hypervolume with the verdict beside the baseline, where there is one. Who ran on more tasks comes first.
    """

    tasks: tuple[tuple[str, str], ...]
    sections: tuple[tuple[FrontResults, dict[str, Any]], ...]
    rows: tuple[dict[str, Any], ...]

    def write(self, board: Board, to: Path) -> None:
        """The pages of the tasks."""
        for (_, file), (results, section) in zip(self.tasks, self.sections, strict=True):
            _write(board, results, section, to / file)


def methods_of(board: Board, to: Path) -> Methods:
    """What the board's results of methods say, task by task; pictures go into `to`."""
    tasks: dict[str, str] = {}
    sections = []
    methods: dict[str, str] = {}
    values: dict[str, dict[str, str]] = defaultdict(dict)
    shares: dict[str, list[float]] = defaultdict(list)
    for place in board.fronts:
        results = load_front_results(Path(board.folder) / place)
        for dataset in results.suite.datasets:
            title = title_of(dataset, len(results.suite.objectives))
            title += f" ({results.suite.name})" * (title in tasks)
            tasks[title] = f"{results.suite.name}-{dataset_slug(dataset)}.html"
            samples = read_samples(Path(board.folder) / place / FILE, dataset)
            found = front_section(results, dataset, samples, to=to / results.suite.name)
            sections.append((results, found))
            texts = [row["text"] for row in found["rows"]]
            ranked = sum(bool(text["#"]) for text in texts)
            for text in texts:
                system = text["system"]
                methods.setdefault(system, text.get("method", ""))
                word = text.get("verdict", "").replace("cannot tell", "")
                values[system][title] = f"{text['hypervolume']} {word}".strip()
                if text["#"]:
                    shares[system].append((int(text["#"]) - 1) / max(ranked - 1, 1))
    means = {system: sum(each) / len(each) for system, each in shares.items()}
    order = sorted(values, key=lambda system: (-len(shares[system]), means.get(system, 1.0)))
    rows = tuple(
        {"system": s, "method": methods[s], "rank": number(means.get(s), 2), "values": values[s]} for s in order
    )
    return Methods(tuple(tasks.items()), tuple(sections), rows)


def _write(board: Board, results: Results | FrontResults, section: dict[str, Any], path: Path) -> None:
    context = page_context(results, [section])
    context |= {"title": f"{board.title}: {section['dataset']}", "home": "index.html", "command": ""}
    context["failures"] = [row for row in context["failures"] if row["dataset"] == section["dataset"]]
    context["summary"] = [f"Version {board.version} of the board.", *context["summary"]]
    write_page(path, "report.html.j2", context)
