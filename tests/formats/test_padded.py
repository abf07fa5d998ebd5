"""The padded form of every tower that exports trace gives the vectors of the model itself."""

from __future__ import annotations

import pytest
import torch

from twotower.core.errors import UserError
from twotower.formats.padded import PaddedSide, check_equal
from twotower.model.two_tower import TwoTower

BM25 = {"k1": 1.5, "b": 0.75}


def model_of(tower: str, **settings) -> TwoTower:
    torch.manual_seed(0)
    sizes = {"vocabulary_size": 120, "embedding_dim": 12, "output_dim": 8, "hidden_dim": 6}
    model = TwoTower(**sizes, query_tower=tower, document_tower=tower, **settings).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
        model.embedding.weight[0] = 0
        for name, buffer in model.named_buffers():
            assert name.endswith("mean_length")
            buffer.fill_(20.0)
    return model


@pytest.mark.parametrize(
    ("tower", "settings"),
    [
        ("mlp", BM25),
        ("mlp", {"count_power": 0.5}),
        ("mlp", {"count_power": 1.0, "word_pooling": "mean", "residual": False, "num_layers": 2}),
        ("mlp", {"num_layers": 0, **BM25}),
        ("gru", {"residual": True, "read": 16, "pooling": "max", **BM25}),
        ("gru", {"residual": True, "read": None, "pooling": "last", "num_layers": 2}),
        ("gru", {"residual": False, "read": 16, "pooling": "attention", "bidirectional": False}),
        ("lstm", {"residual": True, "read": 16, "pooling": "mean", **BM25}),
        ("rnn", {"residual": False, "pooling": "last"}),
    ],
)
def test_the_padded_form_gives_the_vectors_of_the_model(tower, settings):
    model = model_of(tower, **settings)
    for side in ("query", "document"):
        check_equal(model, side, PaddedSide(model.embedding, getattr(model, f"{side}_tower")).eval())


def test_a_form_that_differs_is_refused():
    model, other = model_of("gru", residual=True, **BM25), model_of("gru", residual=True, k1=0.5, b=0.0)
    with pytest.raises(UserError, match="would differ from the model's by"):
        check_equal(model, "query", PaddedSide(other.embedding, other.query_tower).eval())
