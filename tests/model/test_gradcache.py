"""Gradient caching gives the loss and the gradients of the whole batch at once."""

from __future__ import annotations

import pytest
import torch
from torch.utils.checkpoint import set_checkpoint_early_stop

from twotower.loss.contrastive import ContrastiveLoss
from twotower.model.gradcache import encode_in_chunks
from twotower.model.two_tower import TwoTower
from twotower.text.tokens import TokenBatch


def rows(count: int, seed: int) -> TokenBatch:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, 9, (count,), generator=generator).tolist()
    return TokenBatch.from_rows([torch.randint(1, 60, (n,), generator=generator).tolist() for n in lengths])


def measured(kind: str, chunk: int | None, directions: str, learn: bool) -> tuple[float, float, list[torch.Tensor]]:
    torch.manual_seed(0)
    model = TwoTower(
        vocabulary_size=60, embedding_dim=16, query_tower=kind, document_tower=kind, hidden_dim=16, output_dim=16
    ).double()
    loss = ContrastiveLoss(directions=directions, learn_temperature=learn, chunk=chunk)
    query = encode_in_chunks(model.encode_queries, rows(23, 1), chunk)
    document = encode_in_chunks(model.encode_documents, rows(46, 2), chunk)
    mask = torch.rand(23, 46, generator=torch.Generator().manual_seed(3)) < 0.2
    mask[torch.arange(23), torch.arange(23)] = False
    output = loss(query, document, mask)
    output.loss.backward()
    parameters = [*model.parameters(), *loss.parameters()]
    return float(output.loss.detach()), float(output.accuracy), [item.grad for item in parameters]


@pytest.mark.parametrize("learn", [True, False])
@pytest.mark.parametrize("directions", ["query_to_document", "both"])
@pytest.mark.parametrize("kind", ["mlp", "gru"])
def test_loss_and_gradients_equal_the_plain_ones(kind, directions, learn):
    plain = measured(kind, None, directions, learn)
    for chunk in (1, 5, 22):
        cached = measured(kind, chunk, directions, learn)
        assert cached[0] == pytest.approx(plain[0], abs=1e-10)
        assert cached[1] == plain[1]
        for one, other in zip(cached[2], plain[2], strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_dropout_draws_the_same_in_both_passes():
    torch.manual_seed(0)
    model = TwoTower(vocabulary_size=60, embedding_dim=16, hidden_dim=16, output_dim=16, dropout=0.5, word_dropout=0.5)
    seen = []

    def encode(batch: TokenBatch) -> torch.Tensor:
        vectors = model.encode_queries(batch)
        seen.append(vectors.detach().clone())
        return vectors

    with set_checkpoint_early_stop(False):  # else the second pass ends before its vectors are complete
        encode_in_chunks(encode, rows(10, 1), 4).sum().backward()
    first, again = seen[:3], seen[3:]
    assert len(again) == 3
    for vectors in first:
        assert any(vectors.shape == other.shape and torch.equal(vectors, other) for other in again)
