"""What the models of several preferences descend when they are trained stacked (rankers/ensembles/stacked.py).

Criteria that turn the losses of the objectives into a number (Importance, OneLabel, Scalarised) share one evaluation of
those losses for all members. Others (Margins, and list losses that draw at random) are asked member by member, on the
scores of one net. Those that combine gradients (Aggregated) or look back at the step need the net to themselves: their
trainings stay one after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ltr.objectives import weighted_sum

from .criteria import Criterion, Fixed, Importance, OneLabel, Scalarised, objective_values

__all__ = ["StackedCriterion", "can_stack"]


def can_stack(criteria: Sequence[Criterion]) -> bool:
    """Whether these can be descended side by side, in stacked training."""
    return len(criteria) > 1 and all(
        isinstance(each.source, Fixed)
        and each.betas is None
        and not each.looks_back
        and type(each).draw is Criterion.draw
        and type(each).backward is Criterion.backward
        and next(each.parameters(), None) is None
        for each in criteria
    )


class StackedCriterion(nn.Module):
    """The criterion of stacked training, one for each member; a loss is what the criterion alone would give."""

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
        self.preferences: Tensor
        self.register_buffer("preferences", torch.tensor(w, dtype=torch.float32))

    def forward(
        self,
        scores: Tensor,
        labels: Tensor,
        where: Tensor,
        members: Sequence[int],
        *,
        reference=None,
        weights=None,
        generators,
    ) -> Tensor:
        criteria: list[Any] = [self.criteria[i] for i in members]
        if not self.shared:
            return torch.stack(
                [
                    each(
                        scores[:, j : j + 1],
                        labels,
                        where,
                        self.preferences[i : i + 1],
                        reference=reference,
                        weights=weights,
                        generator=generators[j],
                    )
                    for j, (i, each) in enumerate(zip(members, criteria, strict=True))
                ]
            )
        given = {"reference": reference, "weights": weights}
        values, counted = objective_values(criteria[0].loss, scores, labels, where, **given)
        if isinstance(criteria[0], Importance):
            w = torch.cat([self.preferences[i : i + 1] for i in members])
            total = weighted_sum(values, w, counted.unsqueeze(1)).sum(0)
            return total / counted.any(-1).sum().clamp(min=1)
        return torch.stack(
            [
                each.combine(values[:, j : j + 1], counted, self.preferences[i : i + 1], generators[j])
                for j, (i, each) in enumerate(zip(members, criteria, strict=True))
            ]
        )

    def update(self, members: Sequence[int]) -> None:
        for i in members:
            cast(Criterion, self.criteria[i]).update(None)

    def extra_repr(self) -> str:
        return f"{self.preferences.tolist()}"
