from __future__ import annotations

import numpy as np
import pytest
import torch

from twotower.core.errors import UserError
from twotower.loss.triplet import MININGS, TripletLoss

B, PER_QUERY, D = 4, 2, 6
N = B + B * PER_QUERY


def unit(rows: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((rows, D))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def some_mask() -> np.ndarray:
    mask = np.random.default_rng(5).random((B, N)) < 0.2
    mask[np.arange(B), np.arange(B)] = False
    return mask


def distance(x: np.ndarray, y: np.ndarray, kind: str) -> float:
    return float(1 - x @ y) if kind == "cosine" else float(np.linalg.norm(x - y))


def reference(
    query: np.ndarray, document: np.ndarray, mask: np.ndarray, margin: float, kind: str, mining: str
) -> float:
    """One query at a time, straight from the definition."""
    terms = []
    for b in range(B):
        positive = distance(query[b], document[b], kind)
        allowed = [n for n in range(N) if n != b and not mask[b, n]]
        if mining == "explicit":
            allowed = [n for n in allowed if B + b * PER_QUERY <= n < B + (b + 1) * PER_QUERY]
        far = {n: distance(query[b], document[n], kind) for n in allowed}
        if mining == "batch_hard" and far:
            far = {0: min(far.values())}
        elif mining == "semi_hard" and far:
            outside = [value for value in far.values() if value > positive]
            far = {0: min(outside) if outside else max(far.values())}
        terms += [max(0.0, positive - value + margin) for value in far.values()]
    return sum(terms) / len(terms)


@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
@pytest.mark.parametrize("mining", ["all", "explicit", "batch_hard", "semi_hard"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_value_and_gradient_equal_the_definition(kind: str, mining: str, seed: int) -> None:
    query, document, mask = unit(B, seed), unit(N, seed + 10), some_mask()
    query_t = torch.tensor(query, requires_grad=True)
    output = TripletLoss(margin=0.4, distance=kind, mining=mining)(query_t, torch.tensor(document), torch.tensor(mask))
    assert float(output.loss.detach()) == pytest.approx(reference(query, document, mask, 0.4, kind, mining), abs=1e-9)
    if kind == "euclidean":
        return  # the loss takes unit vectors; off the sphere the two euclidean forms differ, so cosine checks gradients
    output.loss.backward()
    step, numeric = 1e-7, np.zeros_like(query)
    for place in np.ndindex(*query.shape):
        for sign in (1, -1):
            moved = query.copy()
            moved[place] += sign * step
            numeric[place] += sign * reference(moved, document, mask, 0.4, kind, mining) / (2 * step)
    np.testing.assert_allclose(query_t.grad.numpy(), numeric, atol=1e-5)


def test_euclidean_gradient_along_the_sphere() -> None:
    query, document, mask = unit(B, 1), unit(N, 11), some_mask()
    query_t = torch.tensor(query, requires_grad=True)
    TripletLoss(margin=0.4, distance="euclidean", mining="all")(
        torch.nn.functional.normalize(query_t, dim=1), torch.tensor(document), torch.tensor(mask)
    ).loss.backward()
    step, numeric = 1e-7, np.zeros_like(query)
    for place in np.ndindex(*query.shape):
        for sign in (1, -1):
            moved = query.copy()
            moved[place] += sign * step
            moved /= np.linalg.norm(moved, axis=1, keepdims=True)
            numeric[place] += sign * reference(moved, document, mask, 0.4, "euclidean", "all") / (2 * step)
    np.testing.assert_allclose(query_t.grad.numpy(), numeric, atol=1e-5)


def test_random_mining_takes_one_permitted_negative_a_query() -> None:
    query, document, mask = unit(B, 1), unit(N, 2), some_mask()
    seen = set()
    for seed in range(60):
        torch.manual_seed(seed)
        loss = TripletLoss(margin=2.0, mining="random")(torch.tensor(query), torch.tensor(document), torch.tensor(mask))
        seen.add(round(float(loss.loss), 9))
    assert len(seen) > 10
    hinges = [
        np.mean(
            [2 + distance(query[b], document[b], "cosine") - extreme(query, document, mask, b, side) for b in range(B)]
        )
        for side in (max, min)
    ]
    assert hinges[0] - 1e-9 <= min(seen) <= max(seen) <= hinges[1] + 1e-9


def extreme(query: np.ndarray, document: np.ndarray, mask: np.ndarray, b: int, side) -> float:
    return side(distance(query[b], document[n], "cosine") for n in range(N) if n != b and not mask[b, n])


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
def test_equal_vectors_give_the_margin_and_finite_gradients(mining: str, kind: str) -> None:
    same = (torch.ones(N, D) / D**0.5).requires_grad_()
    loss = TripletLoss(margin=0.3, distance=kind, mining=mining)
    output = loss(same[:B], same, torch.zeros(B, N, dtype=torch.bool))
    assert float(output.loss.detach()) == pytest.approx(loss.collapsed_value(B), abs=1e-6)
    output.loss.backward()
    assert torch.isfinite(same.grad).all()


@pytest.mark.parametrize("mining", MININGS)
def test_all_negatives_forbidden_gives_zero_not_nan(mining: str) -> None:
    mask = ~torch.eye(B, N, dtype=torch.bool)
    output = TripletLoss(mining=mining)(torch.tensor(unit(B, 1)), torch.tensor(unit(N, 2)), mask)
    assert float(output.loss) == 0
    assert float(output.accuracy) == 1


def test_explicit_mining_without_explicit_negatives_says_what_to_set() -> None:
    vectors = torch.tensor(unit(B, 1))
    with pytest.raises(UserError, match=r"data\.negatives"):
        TripletLoss(mining="explicit")(vectors, vectors, torch.zeros(B, B, dtype=torch.bool))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"margin": 0}, "loss.margin=0"),
        ({"margin": 3.0}, "loss.margin=3"),
        ({"mining": "semihard"}, "Did you mean 'semi_hard'"),
        ({"distance": "cosinus"}, "Did you mean 'cosine'"),
    ],
)
def test_bad_values_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        TripletLoss(**arguments)
