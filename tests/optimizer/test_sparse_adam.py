from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from twotower.optimizer.sparse_adam import SparseAdam, coalesced


def train(optimizer_class: type, *, sparse: bool, steps: int = 7, **options: float) -> torch.Tensor:
    torch.manual_seed(0)
    table = nn.Embedding(20, 4, sparse=sparse)
    optimizer = optimizer_class(table.parameters(), lr=0.05, **options)
    for step in range(steps):
        ids = torch.tensor([[1, 2, 2], [3, step, 5]])
        optimizer.zero_grad()
        functional.normalize(table(ids).sum(1), dim=-1)[:, 0].sum().backward()
        optimizer.step()
    return table.weight.detach()


def test_equals_torchs_sparse_adam_on_sparse_gradients() -> None:
    torch.testing.assert_close(
        train(SparseAdam, sparse=True), train(torch.optim.SparseAdam, sparse=True), atol=1e-6, rtol=1e-5
    )


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_equals_torchs_adam_on_dense_gradients(decay: float) -> None:
    torch.testing.assert_close(
        train(SparseAdam, sparse=False, weight_decay=decay),
        train(torch.optim.AdamW, sparse=False, weight_decay=decay),
        atol=1e-6,
        rtol=1e-5,
    )


def test_sparse_equals_dense_for_rows_of_every_batch_and_leaves_the_others_alone() -> None:
    sparse, dense = train(SparseAdam, sparse=True), train(torch.optim.Adam, sparse=False)
    always = [1, 2, 3, 5]  # rows 4 and 6 come once and would drift on under dense Adam
    torch.testing.assert_close(sparse[always], dense[always], atol=1e-6, rtol=1e-5)
    torch.manual_seed(0)
    untouched = nn.Embedding(20, 4).weight.detach()
    assert torch.equal(sparse[7:], untouched[7:])
    assert not torch.allclose(sparse[4], dense[4])


def test_decay_reaches_only_the_rows_of_the_batch() -> None:
    plain, decayed = (train(SparseAdam, sparse=True, weight_decay=decay) for decay in (0.0, 0.5))
    assert torch.equal(plain[7:], decayed[7:])
    assert not torch.allclose(plain[1], decayed[1])


def test_goes_on_after_saving_as_if_never_stopped() -> None:
    def steps(table: nn.Embedding, optimizer: SparseAdam, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            table(torch.tensor([1, 2, 2])).square().sum().backward()
            optimizer.step()

    torch.manual_seed(0)
    whole, first = nn.Embedding(5, 3, sparse=True), nn.Embedding(5, 3, sparse=True)
    first.load_state_dict(whole.state_dict())
    steps(whole, SparseAdam(whole.parameters(), lr=0.1), 6)
    optimizer = SparseAdam(first.parameters(), lr=0.1)
    steps(first, optimizer, 3)
    second = nn.Embedding(5, 3, sparse=True)
    second.load_state_dict(first.state_dict())
    resumed = SparseAdam(second.parameters(), lr=0.1)
    resumed.load_state_dict(optimizer.state_dict())
    steps(second, resumed, 3)
    assert torch.equal(whole.weight, second.weight)


def test_closure_result_is_returned() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = SparseAdam([weight], lr=0.1)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = weight.sum()
        loss.backward()
        return loss

    assert float(optimizer.step(closure).detach()) == 2
    torch.testing.assert_close(weight.detach(), torch.full((2,), 0.9))


def test_coalesced_is_what_torch_makes_of_it() -> None:
    torch.manual_seed(0)
    rows, values = torch.tensor([[4, 1, 7, 1, 4, 4]]), torch.randn(6, 3)
    gradient = torch.sparse_coo_tensor(rows, values, (9, 3), check_invariants=True)
    found, expected = coalesced(gradient), gradient.coalesce()
    assert found.is_coalesced()
    torch.testing.assert_close(found.indices(), expected.indices())
    torch.testing.assert_close(found.values(), expected.values())
    assert coalesced(expected).values().data_ptr() == expected.values().data_ptr()
