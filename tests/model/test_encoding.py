from __future__ import annotations

import numpy as np
import pytest
import torch

from twotower.core.errors import UserError
from twotower.core.ragged import to_offsets
from twotower.model.encoding import encode, length_batches
from twotower.model.two_tower import TwoTower
from twotower.text.tokens import TokenBatch, Tokens


def some_tokens(rows: int = 50) -> Tokens:
    generator = np.random.default_rng(0)
    lengths = generator.integers(0, 30, rows)
    return Tokens(ids_T=generator.integers(1, 40, lengths.sum()).astype(np.int32), offsets=to_offsets(lengths))


@pytest.mark.parametrize("tower", ["mlp", "gru"])
def test_equals_one_text_at_a_time_in_the_order_asked(tower: str) -> None:
    torch.manual_seed(0)
    tokens = some_tokens()
    model = TwoTower(
        vocabulary_size=40, embedding_dim=8, query_tower=tower, document_tower=tower, hidden_dim=6, output_dim=5
    ).train()
    rows = np.array([7, 3, 3, 49, 0])
    seen: list[int] = []
    vectors = encode(model, tokens, side="document", rows=rows, batch_size=2, progress=seen.append)
    assert vectors.dtype == np.float32
    assert sum(seen) == 5
    assert model.training
    model.eval()
    for vector, row in zip(vectors, rows, strict=True):
        alone = model.encode_documents(TokenBatch.from_rows([tokens.row(row).tolist()]))[0]
        np.testing.assert_allclose(vector, alone.detach().numpy(), atol=1e-6)
    assert encode(model, tokens, side="query").shape == (50, 5)
    assert encode(model, tokens, side="query", rows=np.zeros(0, dtype=np.int64)).shape == (0, 5)


def test_a_tower_that_reads_padding_gets_texts_as_they_come() -> None:
    torch.manual_seed(0)
    tokens = some_tokens()
    config = {"query_tower": "gru", "document_tower": "gru", "pooling": "pad_step", "allow_pad_step": True}
    model = TwoTower(vocabulary_size=40, embedding_dim=8, hidden_dim=6, output_dim=5, **config).eval()
    vectors = encode(model, tokens, side="document", batch_size=10)
    for start in range(0, 50, 10):
        together = model.encode_documents(tokens.take(np.arange(start, start + 10))).detach().numpy()
        np.testing.assert_allclose(vectors[start : start + 10], together, atol=1e-6)


def test_batches_hold_every_row_once_within_limits() -> None:
    lengths = some_tokens(200).lengths
    parts = list(length_batches(lengths, most_rows=16, most_cells=100))
    assert sorted(np.concatenate(parts).tolist()) == list(range(200))
    for part in parts:
        assert len(part) <= 16
        assert len(part) * lengths[part].max() <= 100 or len(part) == 1


def test_unknown_side_is_named() -> None:
    with pytest.raises(UserError, match="Did you mean 'document'"):
        encode(TwoTower(vocabulary_size=4, embedding_dim=2), some_tokens(), side="documents")
