from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from twotower.core.errors import UserError
from twotower.loss.contrastive import ContrastiveLoss

B, N, D = 5, 11, 7


def unit(rows: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((rows, D))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def some_mask() -> np.ndarray:
    mask = np.random.default_rng(3).random((B, N)) < 0.25
    mask[np.arange(B), np.arange(B)] = False
    return mask


def reference(query: np.ndarray, document: np.ndarray, mask: np.ndarray, temperature: float, both: bool) -> float:
    """One query at a time, straight from the definition."""

    def pick(own: float, others: list[float]) -> float:
        return -own / temperature + math.log(sum(math.exp(value / temperature) for value in [own, *others]))

    total = 0.0
    for b in range(B):
        others = [float(query[b] @ document[n]) for n in range(len(document)) if n != b and not mask[b, n]]
        loss = pick(float(query[b] @ document[b]), others)
        if both:
            others = [float(query[c] @ document[b]) for c in range(B) if c != b and not mask[c, b]]
            loss = (loss + pick(float(query[b] @ document[b]), others)) / 2
        total += loss
    return total / B


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("temperature", [0.05, 0.7])
def test_value_and_gradient_equal_the_definition(both: bool, temperature: float) -> None:
    query, document, mask = unit(B, 1), unit(N, 2), some_mask()
    loss = ContrastiveLoss(temperature=temperature, directions="both" if both else "query_to_document")
    query_t = torch.tensor(query, requires_grad=True)
    output = loss(query_t, torch.tensor(document), torch.tensor(mask))
    assert float(output.loss.detach()) == pytest.approx(reference(query, document, mask, temperature, both), abs=1e-9)
    output.loss.backward()
    step, numeric = 1e-6, np.zeros_like(query)
    for place in np.ndindex(*query.shape):
        for sign in (1, -1):
            moved = query.copy()
            moved[place] += sign * step
            numeric[place] += sign * reference(moved, document, mask, temperature, both) / (2 * step)
    np.testing.assert_allclose(query_t.grad.numpy(), numeric, atol=1e-6)


def test_accuracy_counts_positives_above_all_permitted_negatives() -> None:
    scores = torch.tensor([[0.9, 0.1, 0.95], [0.2, 0.5, 0.5], [0.3, 0.2, 0.1]], dtype=torch.float64)
    mask = torch.zeros(3, 3, dtype=torch.bool)
    loss = ContrastiveLoss()
    assert float(loss(scores, torch.eye(3, dtype=torch.float64), mask).accuracy) == 0  # beaten, tied, beaten
    mask[0, 2] = True
    assert float(loss(scores, torch.eye(3, dtype=torch.float64), mask).accuracy) == pytest.approx(1 / 3)


def test_a_masked_document_changes_nothing() -> None:
    query, document = torch.tensor(unit(B, 1)), torch.tensor(unit(N, 2))
    mask = torch.zeros(B, N, dtype=torch.bool)
    mask[:, -1] = True
    whole = ContrastiveLoss()(query, document, mask)
    without = ContrastiveLoss()(query, document[:-1], mask[:, :-1])
    assert torch.equal(whole.loss, without.loss)


@pytest.mark.parametrize("directions", ["query_to_document", "both"])
def test_equal_vectors_give_the_collapsed_value(directions: str) -> None:
    loss = ContrastiveLoss(directions=directions)
    same = torch.ones(N, D) / D**0.5
    value = loss(same[:B], same, torch.zeros(B, N, dtype=torch.bool)).loss
    assert float(value) == pytest.approx(loss.collapsed_value(B, N), abs=1e-5)
    assert ContrastiveLoss().collapsed_value(32) == pytest.approx(math.log(32))


def test_learned_temperature_gets_a_gradient_and_stays_in_bounds() -> None:
    loss = ContrastiveLoss(temperature=0.05, learn_temperature=True)
    assert float(loss.temperature.detach()) == pytest.approx(0.05)
    output = loss(torch.tensor(unit(B, 1)), torch.tensor(unit(N, 2)), torch.tensor(some_mask()))
    output.loss.backward()
    assert float(loss.log_temperature.grad.abs()) > 0
    with torch.no_grad():
        loss.log_temperature.fill_(-50.0)
    assert float(loss.temperature.detach()) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"temperature": 0}, "loss.temperature=0"),
        ({"temperature": float("nan")}, "loss.temperature=nan"),
        ({"temperature": 5.0, "learn_temperature": True}, "loss.temperature=5"),
        ({"directions": "bothh"}, "Did you mean 'both'"),
        ({"learn_temperature": "yes"}, "loss.learn_temperature=yes"),
    ],
)
def test_bad_values_are_named(arguments: dict, key: str) -> None:
    with pytest.raises(UserError, match=key):
        ContrastiveLoss(**arguments)
