from __future__ import annotations

import numpy as np
import pytest
import torch

from twotower.core.errors import UserError
from twotower.loss.margin import MarginLoss

B, N, D = 4, 9, 6


def unit(rows: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((rows, D))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def some_mask() -> np.ndarray:
    mask = np.random.default_rng(5).random((B, N)) < 0.2
    mask[np.arange(B), np.arange(B)] = False
    return mask


def reference(query: np.ndarray, document: np.ndarray, mask: np.ndarray, margin: float, kind: str) -> float:
    """One pair at a time, straight from the definition."""

    def distance(x: np.ndarray, y: np.ndarray) -> float:
        return float(1 - x @ y) if kind == "cosine" else float(np.linalg.norm(x - y))

    pulls = [distance(query[b], document[b]) ** 2 for b in range(B)]
    pushes = []
    for b in range(B):
        for n in range(N):
            intrusion = margin - distance(query[b], document[n])
            if n != b and not mask[b, n] and intrusion > 0:
                pushes.append(intrusion**2)
    return sum(pulls) / B + (sum(pushes) / len(pushes) if pushes else 0.0)


@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_value_equals_the_definition(kind: str, seed: int) -> None:
    query, document, mask = unit(B, seed), unit(N, seed + 10), some_mask()
    output = MarginLoss(margin=1.1, distance=kind)(torch.tensor(query), torch.tensor(document), torch.tensor(mask))
    assert float(output.loss) == pytest.approx(reference(query, document, mask, 1.1, kind), abs=1e-9)


def test_gradient_equals_the_definition() -> None:
    query, document, mask = unit(B, 1), unit(N, 2), some_mask()
    query_t = torch.tensor(query, requires_grad=True)
    MarginLoss(margin=1.1)(query_t, torch.tensor(document), torch.tensor(mask)).loss.backward()
    step, numeric = 1e-7, np.zeros_like(query)
    for place in np.ndindex(*query.shape):
        for sign in (1, -1):
            moved = query.copy()
            moved[place] += sign * step
            numeric[place] += sign * reference(moved, document, mask, 1.1, "cosine") / (2 * step)
    np.testing.assert_allclose(query_t.grad.numpy(), numeric, atol=1e-5)


@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
def test_equal_vectors_give_the_collapsed_value(kind: str) -> None:
    same = (torch.ones(N, D) / D**0.5).requires_grad_()
    loss = MarginLoss(margin=0.5, distance=kind)
    output = loss(same[:B], same, torch.zeros(B, N, dtype=torch.bool))
    assert float(output.loss.detach()) == pytest.approx(loss.collapsed_value(B), abs=1e-3)
    output.loss.backward()
    assert torch.isfinite(same.grad).all()


def test_bad_values_are_named() -> None:
    with pytest.raises(UserError, match=r"loss\.margin=-1"):
        MarginLoss(margin=-1)
    with pytest.raises(UserError, match="Did you mean 'euclidean'"):
        MarginLoss(distance="euclid")
