"""Adam from gradients of rows against torch's Adam from dense ones."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from twotower.optimizer.build import build_optimizer, parameter_groups
from twotower.optimizer.rows import Adam, AdamW, ask, forget

KINDS = [("torch.optim.Adam", Adam, 0.0), ("torch.optim.Adam", Adam, 0.1), ("torch.optim.AdamW", AdamW, 0.1)]


class Bag(nn.Module):
    """Sums of word vectors, read twice a step, and a matrix."""

    def __init__(self, *, sparse: bool) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.embedding = nn.Embedding(50, 8, sparse=sparse)
        self.matrix = nn.Linear(8, 3, bias=False)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return (self.matrix(self.embedding(ids)).sum(0) * self.embedding(ids[:2]).mean()).square().sum()


def train(module: Bag, optimizer: torch.optim.Optimizer, steps: int = 12) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        ids = torch.randint(1, 50, (6,), generator=generator)

        def closure(ids: torch.Tensor = ids) -> torch.Tensor:
            optimizer.zero_grad()
            loss = module(ids)
            loss.backward()
            return loss

        optimizer.step(closure)


@pytest.mark.parametrize(("target", "kind", "decay"), KINDS)
@pytest.mark.parametrize("fused", [True, False])
def test_rows_train_as_a_dense_gradient_does(target: str, kind: type, decay: float, fused: bool) -> None:
    config = {"_target_": target, "lr": 0.05, "weight_decay": decay, "fused": fused}
    ours, theirs = Bag(sparse=True), Bag(sparse=False)
    optimizer = build_optimizer(config, parameter_groups(ours, lr=0.05))
    assert type(optimizer) is kind
    train(ours, optimizer)
    given = getattr(torch.optim, target.rpartition(".")[2])
    train(theirs, given(theirs.parameters(), lr=0.05, weight_decay=decay, fused=fused))
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
    assert ours.embedding.weight.grad is not None
    assert ours.embedding.weight.grad.is_sparse


def test_only_what_takes_rows_is_given_rows() -> None:
    module = Bag(sparse=False)
    ask(module, torch.optim.Adam(module.parameters()))
    assert not module.embedding.sparse
    ask(module, Adam(module.parameters()))
    assert module.embedding.sparse


def test_a_checkpoint_of_torchs_own_adam_goes_on() -> None:
    theirs, ours = Bag(sparse=False), Bag(sparse=True)
    before = torch.optim.Adam(theirs.parameters(), lr=0.05, fused=True)
    train(theirs, before)
    ours.load_state_dict(theirs.state_dict())
    after = Adam(ours.parameters(), lr=0.05, fused=True)
    after.load_state_dict(copy.deepcopy(before.state_dict()))  # the tensors would be shared
    train(theirs, before, steps=3)
    train(ours, after, steps=3)
    torch.testing.assert_close(ours.embedding.weight, theirs.embedding.weight, rtol=1e-6, atol=1e-6)


def test_a_forgotten_optimizer_keeps_nothing_and_may_begin_again() -> None:
    module = Bag(sparse=True)
    optimizer = Adam(module.parameters(), lr=0.05)
    train(module, optimizer)
    forget(optimizer)
    assert not optimizer.state
    assert not hasattr(optimizer, "_zeros")
    assert all(parameter.grad is None for parameter in module.parameters())
    train(module, optimizer)
