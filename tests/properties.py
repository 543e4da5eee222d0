"""What every loss must be, and what each claim of the catalogue means: functions that raise AssertionError.

UNIVERSAL holds for every entry with every value of its choices; CLAIMS maps a claim to its proof. `prove` runs all that
concern an entry, and fails on a claim nobody can prove.
"""

from __future__ import annotations

from collections.abc import Callable

import battery
import numpy as np
import reference
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ltr.errors import InputError
from ltr.losses import loss
from ltr.losses.base import counts, reduce

STRUCTURAL = ("needs", "shift_invariant", "convex")  # claimed whatever the parameters; the others for the defaults


def value_and_gradient(f: Callable, scores, labels, where=None, **options):
    """Values `[...]` and the gradient of their sum, both detached."""
    scores = scores.detach().clone().requires_grad_()
    values = f(scores, labels, where, **options)
    assert values.requires_grad, "the value is not connected to the graph"
    return values.detach(), torch.autograd.grad(values.sum(), scores)[0]


def close(a, b, tolerance=1e-9, why=""):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance, msg=lambda m: f"{why}: {m}", check_dtype=False)


def seeded(device, seed=0):
    return torch.Generator(device=device).manual_seed(seed)


def ties_allowed(f: battery.Bound) -> bool:
    """Whether equal labels or scores leave the value independent of the order of the list."""
    return "stochastic" not in f.entry.claims and "k" not in f.params  # ranks decide what a cut-off keeps


# --------------------------------------------------------------------------------------------------------- universal


def one_value_per_list(f, device):
    """Any leading shape, float32 stays float32, float64 stays float64, integer labels are labels."""
    for dtype in (torch.float32, torch.float64):
        scores, labels, where = battery.pad(battery.cases().values(), dtype=dtype, device=device)
        flat = f(scores, labels, where)
        assert flat.shape == scores.shape[:1] and flat.dtype == dtype, (flat.shape, flat.dtype)
        cube = f(*(t.expand(3, 2, -1, -1) for t in (scores, labels, where)))
        close(cube, flat.expand(3, 2, -1), 1e-5, "leading axes")
    scores, labels = battery.tensors(battery.WORKED, device=device)
    assert f(scores, labels).shape == ()
    close(f(scores, labels.long()), f(scores, labels), why="integer labels")
    close(f(scores, labels, torch.ones_like(labels, dtype=torch.bool)), f(scores, labels), why="where=None")
    assert f(scores[None, :0], labels[None, :0]).tolist() == [0.0], "a batch without any document"
    assert f(scores[:0, None], labels[:0, None]).shape == (0,), "a batch without any list"


def pads_change_nothing(f, device):
    """Padded equals ragged, value and gradient, wherever the pads stand and whatever is in them."""
    lists = list(battery.cases().values())
    draw = seeded(device)
    weights = [torch.rand(len(s), generator=draw, dtype=torch.float64, device=device) + 0.5 for s, _ in lists]
    alone = [
        value_and_gradient(f, *battery.tensors(case, device=device), weights=w)
        for case, w in zip(lists, weights, strict=True)
    ]
    for at in ("scattered",) if f.params else ("end", "start", "scattered"):
        for fill in (float("nan"),) if f.params else (0.0, 7.0, float("nan"), float("inf")):
            scores, labels, where = battery.pad(lists, device=device, fill=fill, extra=3, at=at)
            padded = torch.full_like(scores, fill)
            padded[where] = torch.cat(weights)  # a batch keeps the order of the documents of each list
            values, gradient = value_and_gradient(f, scores, labels, where, weights=padded)
            assert (gradient[~where] == 0).all(), "a pad has a gradient"
            for row, (value, slope) in enumerate(alone):
                close(values[row], value, 1e-6, f"value, pads {fill} at {at}")
                close(gradient[row, where[row]], slope, 1e-6, f"gradient, pads {fill} at {at}")


def lists_do_not_meet(f, device):
    """A list's value and gradient do not depend on the other lists of its batch."""
    lists = list(battery.cases().values())
    scores, labels, where = battery.pad(lists, device=device)
    values, gradient = value_and_gradient(f, scores, labels, where)
    changed, relabelled = scores.clone(), labels.clone()
    changed[1:] = changed[1:].flip(-1) * 3 + 1
    relabelled[1:] = relabelled[1:].flip(-1) * 2
    others, slopes = value_and_gradient(f, changed, relabelled, where)
    close(others[0], values[0], 1e-12, "value")
    close(slopes[0], gradient[0], 1e-12, "gradient")


def order_of_documents_is_nothing(f, device):
    """Permuting a list permutes its gradient and leaves its value."""
    for case in battery.cases(ties=ties_allowed(f)).values():
        scores, labels = battery.tensors(case, device=device)
        value, gradient = value_and_gradient(f, scores, labels)
        shuffle = torch.as_tensor(np.random.default_rng(5).permutation(len(case[0])), device=device)
        other, slope = value_and_gradient(f, scores[shuffle], labels[shuffle])
        close(other, value, 1e-7, "value")
        close(slope, gradient[shuffle], 1e-7, "gradient")


def always_finite(f, device):
    """Value and gradient are numbers on every case, in every precision, with and without a generator."""
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        scores, labels, where = battery.pad(battery.cases().values(), dtype=dtype, device=device, fill=float("nan"))
        for generator in (None, seeded(device)):
            values, gradient = value_and_gradient(f, scores, labels, where, generator=generator)
            assert values.isfinite().all(), (dtype, dict(zip(battery.cases(), values.tolist(), strict=True)))
            # Half precision cannot hold every gradient a huge score deserves; a NaN it must never be.
            assert not gradient.isnan().any() if dtype == torch.float16 else gradient.isfinite().all(), dtype


def precision_is_float32_at_least(f, device):
    """bfloat16 scores and autocast give what float32 gives on the same numbers."""
    scores, labels, where = battery.pad(battery.cases().values(), dtype=torch.bfloat16, device=device)
    expected, slopes = value_and_gradient(f, scores.float(), labels.float(), where)
    values, gradient = value_and_gradient(f, scores, labels, where)
    assert values.dtype == torch.float32 and gradient.dtype == torch.bfloat16
    close(values, expected, 1e-6, "bfloat16 scores")
    close(gradient.float(), slopes, 1e-2, "bfloat16 gradient")
    with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
        values, gradient = value_and_gradient(f, scores.float(), labels.float(), where)
    assert values.dtype == torch.float32
    close(values, expected, 1e-6, "autocast")
    close(gradient, slopes, 1e-6, "gradient under autocast")


def gradient_is_the_derivative(f, device):
    """Central differences in float64, away from the jumps that tied scores make; every list with its own cotangent."""
    lists = [battery.WORKED, *(battery.random_list(seed, n) for seed, n in ((1, 2), (2, 5), (3, 9), (5, 13)))]
    scores, labels, where = battery.pad(lists, device=device, fill=0.3)
    weights = torch.rand(scores.shape, generator=seeded(device), dtype=scores.dtype, device=device) + 0.5
    for given in (None, weights):
        if f.entry.claims.get("surrogate"):  # the gradient is the definition: that of the loops
            _, gradient = value_and_gradient(f, scores, labels, where, weights=given)
            for row, (s, y) in enumerate(lists):
                w = np.ones(len(s)) if given is None else given[row, : len(s)].cpu().numpy()
                expected = [0.0] * len(s)
                if reference.counts(y.tolist(), f.entry.claims["needs"]):
                    expected = reference.GRADIENTS[f.entry.name](s.tolist(), y.tolist(), w.tolist(), **f.params)
                close(gradient[row, : len(s)].cpu(), torch.tensor(expected, dtype=torch.float64), 1e-9, "surrogate")
            continue
        moved = scores.clone().requires_grad_()
        values = f(moved, labels, where, weights=given)
        exact = torch.stack([torch.autograd.grad(v, moved, retain_graph=True)[0] for v in values])
        again = torch.stack([torch.autograd.grad(v, moved, retain_graph=True)[0] for v in values])
        assert torch.equal(exact, again), "another gradient on the second way back"
        step = 1e-6 * torch.eye(scores.numel(), dtype=scores.dtype, device=device).view(-1, *scores.shape)
        copies = (len(step), *scores.shape)
        others = labels.expand(copies), where.expand(copies)
        options = {"weights": None if given is None else given.expand(copies)}
        numeric = (f(scores + step, *others, **options) - f(scores - step, *others, **options)).T / 2e-6
        torch.testing.assert_close(exact.flatten(1), numeric, rtol=1e-3, atol=1e-6)


def weights_are_multipliers(f, device):
    """Values are linear in the weights, and weights of one are no weights."""
    scores, labels, where = battery.pad(battery.cases().values(), device=device)
    a, b = (torch.rand(scores.shape, generator=seeded(device, k), dtype=scores.dtype, device=device) for k in (1, 2))
    plain = f(scores, labels, where)
    close(f(scores, labels, where, weights=torch.ones_like(a)), plain, 1e-10, "weights of one")
    mixed = f(scores, labels, where, weights=2 * a + 0.5 * b)
    parts = 2 * f(scores, labels, where, weights=a) + 0.5 * f(scores, labels, where, weights=b)
    close(mixed, parts, 1e-10, "linear in the weights")
    worked = battery.tensors(battery.WORKED, device=device)
    heavy = f(*worked, weights=torch.tensor([1.0, 2.0, 3.0, 4.0], device=device))
    assert (heavy - f(*worked)).abs() > 1e-3 or heavy == 0, "weights are ignored"


def inputs_stay(f, device):
    """No argument is written to, and no randomness is taken from, or given to, the global generator."""
    scores, labels, where = battery.pad(battery.cases().values(), device=device)
    weights = torch.full_like(scores, 0.7)
    before = [t.clone() for t in (scores, labels, where, weights)]
    state = torch.get_rng_state()
    scores.requires_grad_()
    f(scores, labels, where, weights=weights, generator=seeded(device)).sum().backward()
    f(scores, labels, where, weights=weights)
    assert torch.equal(torch.get_rng_state(), state), "the global generator was used"
    for t, was in zip((scores.detach(), labels, where, weights), before, strict=True):
        assert torch.equal(t, was), "an argument was overwritten"


def same_seed_same_value(f, device):
    scores, labels, where = battery.pad(battery.cases().values(), device=device)
    first, second = (f(scores, labels, where, generator=seeded(device, 3)) for _ in range(2))
    assert torch.equal(first, second)


def descent_sorts_the_list(f, device):
    """Free scores that descend the loss end up in the order of the labels: the sign, and the point, of a loss.

    They start near each other, where every loss has a gradient: a smooth measure has none far from ties.
    """
    if f.entry.claims.get("sorts") is False:
        return  # the claim proves that it does not
    reached, wanted = _descend(f, device)
    assert reached == wanted, (reached, wanted)


def _descend(f, device):
    case = np.array([0.03, 0.01, 0.02, 0.05, 0.04]), np.array([1.0, 4.0, 0.0, 2.0, 3.0])
    if f.entry.claims.get("needs") == "contrast":  # grades above 0 are all the same to it
        case = np.array([0.03, 0.01, 0.02, 0.05, 0.04, 0.025, 0.045]), np.array([0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0])
    scores, labels = battery.tensors(case, device=device)
    top = f.params.get("k") or (1 if f.entry.claims.get("needs") == "contrast" else len(scores))
    scores = scores.clone().requires_grad_()
    optimiser = torch.optim.Adam([scores], lr=0.1)
    generator, copies = (seeded(device), 32) if f.entry.claims.get("stochastic") is True else (None, 1)
    for _ in range(75):
        optimiser.zero_grad()
        f(scores.expand(copies, -1), labels.expand(copies, -1), generator=generator).mean().backward()
        optimiser.step()
    reached, wanted = scores.argsort(descending=True)[:top].tolist(), labels.argsort(descending=True)[:top].tolist()
    if f.entry.claims.get("needs") == "contrast":
        reached, wanted = labels[reached].any().item(), True
    if f.params.get("truncation") == "both":  # never looks below its own top k: it can only order what stands there
        wanted = sorted(reached, key=lambda i: -labels[i].item())
    return reached, wanted


UNIVERSAL = (
    one_value_per_list,
    pads_change_nothing,
    lists_do_not_meet,
    order_of_documents_is_nothing,
    always_finite,
    precision_is_float32_at_least,
    gradient_is_the_derivative,
    weights_are_multipliers,
    inputs_stay,
    same_seed_same_value,
    descent_sorts_the_list,
)


# What a choice of parameters could break and the loops do not compare.
OF_CHOICES = (pads_change_nothing, always_finite, gradient_is_the_derivative)


def holds_for(f: battery.Bound) -> tuple[Callable, ...]:
    """All of them for the defaults; for other parameters those of choices, and where it descends to for a cut-off."""
    if not f.params:
        return UNIVERSAL
    return (*OF_CHOICES, descent_sorts_the_list) if "k" in f.params else OF_CHOICES


# ------------------------------------------------------------------------------------------------------------ claims


def needs(f, claim, device):
    """Lists that do not count have value 0 and gradient 0 and leave the mean; those that count pull on their scores."""
    lists = list(battery.cases().values())
    scores, labels, where = battery.pad(lists, device=device)
    expected = torch.tensor([reference.counts(y.tolist(), claim) for _, y in lists], device=device)
    assert torch.equal(counts(labels, where, claim), expected)
    values, gradient = value_and_gradient(f, scores, labels, where)
    assert (values[~expected] == 0).all() and (gradient[~expected] == 0).all(), "a list that does not count has a value"
    close(reduce(values, labels, where, claim), values[expected].mean(), 1e-12, "mean over the lists that count")
    # No more lists than need be: some of those that count, and would not under the next stricter word, have a value.
    stricter = {"document": "pair", "pair": "contrast"}.get(claim)
    if stricter:
        between = expected & ~counts(labels, where, stricter)
        assert (values[between] != 0).any(), f"needs {stricter!r}, not only {claim!r}"
    _, slope = value_and_gradient(f, *battery.tensors(battery.random_list(1, 60), device=device))
    assert slope.abs().max() > 0, "a list that counts has no gradient"
    nobody = torch.zeros_like(where)
    scores.requires_grad_()
    mean = reduce(f(scores, labels, nobody), labels, nobody, claim)
    mean.backward()
    assert mean.item() == 0 and (scores.grad == 0).all(), "the mean over nothing"


def shift_invariant(f, claim, device):
    scores, labels, where = battery.pad(battery.cases(ties=False).values(), device=device)
    plain = f(scores, labels, where)
    shifts = (f(scores + shift, labels, where) for shift in (-3.7, 0.5, 41.0))
    moved = max(((plain - shifted).abs() / (1 + plain.abs())).max().item() for shifted in shifts)
    assert (moved < 1e-7) == claim, f"a shift of the scores moves the value by {moved}"


def convex(f, claim, device):
    """Points between two score vectors never lie above the chord; a denied claim needs a point that does."""
    if f.params and (not claim or "k" in f.params):  # denied for the defaults; a cut-off is convex for nobody
        return
    sizes = [2 + seed % 7 for seed in range(40)]
    ends = ([battery.random_list(seed + more, n, spread=2.0) for seed, n in enumerate(sizes)] for more in (0, 1000))
    (a, labels, where), (b, _, _) = (battery.pad(lists, device=device) for lists in ends)
    worst = -np.inf
    for t in (0.25, 0.5, 0.75):
        chord = t * f(a, labels, where) + (1 - t) * f(b, labels, where)
        worst = max(worst, ((f(t * a + (1 - t) * b, labels, where) - chord) / (1 + chord.abs())).max().item())
    assert (worst < 1e-9) == claim, f"above the chord by {worst}"


def ordinal(f, claim, device):
    """A strictly increasing function of the labels leaves value and gradient."""
    moved = 0.0
    for case in battery.cases().values():
        scores, labels = battery.tensors(case, device=device)
        a, b = f(scores, labels), f(scores, labels**3 / 2 + labels)
        moved = max(moved, (a - b).abs().item())
    assert (moved < 1e-9) == claim, f"relabelling moves the value by {moved}"


def _rank_sum(s, y):
    return sum(v * (r - 1) for v, r in zip(y, reference.ranks(s), strict=True))


BOUNDS = {
    "1-ndcg": lambda s, y: 1 - reference.ndcg(s, y),
    "1-mrr": lambda s, y: 1 - sum(v / r for v, r in zip(y, reference.ranks(s), strict=True)) / sum(y),
    "rank sum": _rank_sum,
    "rank sum regret": lambda s, y: _rank_sum(s, y) - _rank_sum(y, y),
}


def bounds(f, claim, device):
    assert claim in BOUNDS, f"nobody knows the bound {claim!r}"
    lists = [*battery.cases().values()]
    lists += [battery.random_list(seed, 2 + seed % 12, spread=10.0 ** (seed % 3 - 1)) for seed in range(400)]
    lists += [(np.round(s), y) for s, y in lists[-200:]]  # tied scores: the bound holds whichever document is put first
    lists = [(s, y) for s, y in lists if reference.counts(y.tolist(), f.entry.claims["needs"]) and any(y > 0)]
    values = f(*battery.pad(lists, device=device)).tolist()
    for value, (s, y) in zip(values, lists, strict=True):
        missed = BOUNDS[claim](s.tolist(), y.tolist())
        assert value >= missed - 1e-9, f"{value} < {claim} = {missed} on scores {s}, labels {y}"


def surrogate(f, claim, device):
    """The gradient is not that of the value (what it is instead, `gradient_is_the_derivative` proves)."""
    scores, labels = battery.tensors(battery.random_list(3, 9), device=device)
    _, gradient = value_and_gradient(f, scores, labels)
    step = 1e-6 * torch.eye(len(scores), dtype=scores.dtype, device=device)
    numeric = (f(scores + step, labels.expand(9, 9)) - f(scores - step, labels.expand(9, 9))) / 2e-6
    assert ((numeric - gradient).abs().max() > 1e-4) == claim


def stochastic(f, claim, device):
    """What the claim names depends on the seed; nothing else does."""
    distinct = battery.tensors(battery.random_list(1, 8, ties=False), device=device)
    tied = {
        "label ties": battery.tensors((distinct[0].cpu().numpy(), np.array([0, 0, 0, 0, 1, 1, 1, 1.0])), device=device),
        "score ties": (torch.zeros_like(distinct[0]), distinct[1]),
        True: distinct,
    }
    assert claim is False or claim in tied, f"nobody knows the randomness {claim!r}"
    for name, (scores, labels) in tied.items():
        drawn = {round(f(scores, labels, generator=seeded(device, seed)).item(), 9) for seed in range(40)}
        if claim is True and name is not True:  # random at every call; ties may happen to leave the value
            continue
        assert (len(drawn) > 1) == (name == claim), f"{name}: {len(drawn)} different values"


def wraps(f, claim, device):
    """Another loss by name: the same value without noise, and the lists that count are those of the other."""
    scores, labels, where = battery.pad(battery.cases().values(), device=device)
    for name in ("ranknet", "listnet", "mse"):
        outer, inner = loss(f.entry.name, **{claim: name}), loss(name)
        assert outer.needs == inner.needs
        assert torch.equal(outer(scores, labels, where), inner(scores, labels, where))


def sorts(f, claim, device):
    """Claimed only where it is denied: descent stops at scores that do not sort the list."""
    reached, wanted = _descend(f, device)
    assert (reached == wanted) == claim


class Largest(TorchDispatchMode):
    """Cells of the largest tensor any operation makes."""

    def __init__(self):
        super().__init__()
        self.cells = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for each in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(each, torch.Tensor) and each.untyped_storage().nbytes() > 0:
                self.cells = max(self.cells, each.untyped_storage().nbytes() // each.element_size())
        return out


def largest(f, lists: int, n: int, device) -> int:
    """Cells of the largest tensor of a forward and backward pass over that many lists of n documents."""
    rng = np.random.default_rng(0)
    scores = torch.tensor(rng.normal(size=(lists, n)), dtype=torch.float32, device=device, requires_grad=True)
    labels = torch.tensor(rng.choice(5, size=(lists, n), p=[0.9, 0.04, 0.03, 0.02, 0.01]), device=device)
    with Largest() as seen:
        f(scores, labels.float()).sum().backward()
    assert scores.grad.isfinite().all() and scores.grad.abs().max() > 0
    return seen.cells


def memory(f, claim, device):
    """Matrices of the size of a list, of a few lists at a time; a loss that makes no such claim is linear in a list."""
    assert claim == "square"
    assert largest(f, 1, 400, device) >= 400**2
    assert largest(f, 16, 400, device) <= 400**2


def gains(f, claim, device):
    """Labels below 0 are refused, and with an exponential gain those whose gain overflows; pads are nobody's label."""
    kind = f.params.get("gain", f.entry.parameters["gain"].default) if claim is True else claim
    s, where = torch.zeros(3, dtype=torch.float64), torch.tensor([True, True, False])
    assert f(s, torch.tensor([2.0, 0.0, -1.0]), where).isfinite().all()
    for y, refused in (([2.0, 0.0, -1.0], True), ([500.0, 0.0, 1.0], kind == "exp2")):
        try:
            f(s, torch.tensor(y))
        except InputError:
            assert refused, f"{f} refuses {y}"
        else:
            assert not refused, f"{f} takes {y} for gains"


CLAIMS = {
    "gains": gains,
    "needs": needs,
    "shift_invariant": shift_invariant,
    "convex": convex,
    "ordinal": ordinal,
    "bounds": bounds,
    "stochastic": stochastic,
    "surrogate": surrogate,
    "wraps": wraps,
    "memory": memory,
    "sorts": sorts,
}


def prove_claims(f: battery.Bound, device: str) -> None:
    """Every claim of an entry for one choice of its parameters; an entry that claims no randomness has none."""
    claims = {"stochastic": False} | f.entry.claims
    assert "needs" in claims, f"{f.entry.name} does not say which lists count"
    for claim, value in claims.items():
        assert claim in CLAIMS, f"{f.entry.name} claims {claim}={value!r}, which nobody can prove"
        if claim in STRUCTURAL or not f.params:
            with battery.about(f, f"{claim}={value!r}"):
                CLAIMS[claim](f, value, device)


def prove(entry, device: str = "cpu") -> None:
    """The whole battery for one entry."""
    for f in battery.variants(entry):
        for holds in holds_for(f):
            with battery.about(f, holds.__name__):
                holds(f, device)
        prove_claims(f, device)
