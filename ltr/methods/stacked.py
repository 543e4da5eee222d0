"""Fleets (rankers/fleet.py) of what methods train: rankers of one objective, and what a model a preference descends.

Criteria that turn the losses of the objectives into a number (Importance, OneLabel, Scalarised) share one evaluation of
those losses for all members. Others (Margins, and list losses that draw at random) are asked member by member, on the
scores of one net. Those that combine gradients (Aggregated) or look back at the step need the net to themselves: their
trainings stay one after another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ltr.objectives import weighted_sum
from ltr.rankers.ensembles.stacked import fit_fleet

from .criteria import Criterion, Fixed, Importance, OneLabel, Scalarised, objective_values
from .single import TrainingLog, heard, log_of, ranker_of

if TYPE_CHECKING:
    from ltr.types import Ranker, Split

__all__ = ["Together", "fits_a_fleet", "train_together"]


def train_together(
    train: Split,
    vali: Split | None,
    members: Sequence[Mapping[str, Any]],
    *,
    objective: str | None = None,
    select: str,
    folder: Path | None = None,
    accelerator: str = "auto",
    progress: Callable[[int, int, str], None] | None = None,
) -> list[tuple[Ranker, TrainingLog]]:
    """What `single.train` gives for each member, trained as one fleet.

    Args:
        members: `ranker`, `ranker_params`, `loss`, `loss_params`, `training` and `seed` of each, as `train` takes them.
        train, vali, objective, select, folder, accelerator, progress: as there, for all of them.

    Returns:
        A ranker and its log for each; `seconds` and the speeds are its share of the fleet's, `fleet` its size.

    Raises:
        InputError: members that make no fleet, and what `train` raises.
    """
    rankers = [ranker_of(**member) for member in members]
    fit_fleet(
        rankers,
        train,
        vali,
        objective=objective,
        select=select,
        folder=folder,
        accelerator=accelerator,
        progress=heard(progress, select, f", fleet of {len(rankers)}"),
    )
    return [(ranker, {**log_of(ranker), "fleet": ranker.cost["fleet"]}) for ranker in rankers]


def fits_a_fleet(criteria: Sequence[Criterion]) -> bool:
    """Whether these can be descended side by side."""
    return len(criteria) > 1 and all(
        isinstance(each.source, Fixed)
        and each.betas is None
        and not each.looks_back
        and type(each).draw is Criterion.draw
        and type(each).backward is Criterion.backward
        and next(each.parameters(), None) is None
        for each in criteria
    )


class Together(nn.Module):
    """The criterion of a fleet, of one criterion a member; every loss is what the criterion alone would give."""

    def __init__(self, criteria: Sequence[Criterion]):
        super().__init__()
        self.criteria = nn.ModuleList(criteria)
        first = criteria[0]
        kinds = {type(each) for each in criteria}
        self.shared = (
            len(kinds) == 1
            and type(first) in (Importance, OneLabel, Scalarised)
            and all(each.loss == first.loss for each in criteria)
            # A loss that draws for all lists at once would draw other numbers than for each member's.
            and not first.loss.entry.claims.get("stochastic")
        )
        w = [each.source.preference for each in criteria]
        self.register_buffer("preferences", torch.tensor(w, dtype=torch.float32))

    def forward(
        self, scores: Tensor, labels: Tensor, where: Tensor, members: Sequence[int], *, reference=None, generators
    ) -> Tensor:
        criteria = [self.criteria[i] for i in members]
        if not self.shared:
            return torch.stack(
                [
                    each(
                        scores[:, j : j + 1],
                        labels,
                        where,
                        self.preferences[i : i + 1],
                        reference=reference,
                        generator=generators[j],
                    )
                    for j, (i, each) in enumerate(zip(members, criteria, strict=True))
                ]
            )
        values, heard = objective_values(criteria[0].loss, scores, labels, where, reference=reference)
        if isinstance(criteria[0], Importance):
            w = torch.cat([self.preferences[i : i + 1] for i in members])
            total = weighted_sum(values, w, heard.unsqueeze(1)).sum(0)
            return total / heard.any(-1).sum().clamp(min=1)
        return torch.stack(
            [
                each.combine(values[:, j : j + 1], heard, self.preferences[i : i + 1], generators[j])
                for j, (i, each) in enumerate(zip(members, criteria, strict=True))
            ]
        )

    def update(self, members: Sequence[int]) -> None:
        for i in members:
            self.criteria[i].update(None)

    def extra_repr(self) -> str:
        return f"{self.preferences.tolist()}"
