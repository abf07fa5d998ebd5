import numpy as np
import pytest
import torch

from twotower.model.two_tower import TwoTower
from twotower.search.query import MlpQuery, query_encoder
from twotower.text.tokens import TokenBatch

WORDS = 50
QUERIES = [[2, 3, 4], [7, 7, 7, 9], [49], [], list(range(2, 34)), [1, 1, 5]]


def filled(seed=0, **config):
    """A model in which no parameter is at its start: blocks that pass their input through would hide mistakes."""
    torch.manual_seed(seed)
    model = TwoTower(vocabulary_size=WORDS, embedding_dim=24, **{"hidden_dim": 20, "output_dim": 24, **config})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.4 + 0.1)
    return model.eval()


class Point:
    """As much of a checkpoint as an encoder needs."""

    def __init__(self, model):
        self.model = model


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"num_layers": 0},
        {"num_layers": 3, "dropout": 0.3, "word_dropout": 0.2},
        {"num_layers": 2, "output_dim": 10},
        {"num_layers": 2, "residual": False},
        {"num_layers": 0, "output_dim": 10},
        {"word_pooling": "mean", "count_power": 1.0},
        {"count_power": 0.0},
        {"shared": False, "document_tower": "gru"},
    ],
)
def test_one_query_by_numpy_is_the_towers_vector(config):
    model = filled(**config)
    encode = query_encoder(Point(model))
    assert isinstance(encode, MlpQuery)
    with torch.inference_mode():
        expected = model.encode_queries(TokenBatch.from_rows(QUERIES)).numpy()
    found = np.concatenate([encode(ids) for ids in QUERIES])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_query_tower_is_the_one_that_reads():
    model = filled(shared=False)
    with torch.inference_mode():
        documents = model.encode_documents(TokenBatch.from_rows([[2, 3]])).numpy()
    assert np.abs(query_encoder(Point(model))([2, 3]) - documents).max() > 0.01


def test_a_pooled_vector_of_nothing_but_zeros_is_a_unit_vector():
    model = filled(num_layers=0)
    found = query_encoder(Point(model))([])
    np.testing.assert_allclose(found, np.full((1, 24), 24**-0.5), atol=1e-7)


def test_other_towers_read_as_they_are():
    model = filled(query_tower="gru", document_tower="gru")
    encode = query_encoder(Point(model))
    with torch.inference_mode():
        expected = model.encode_queries(TokenBatch.from_rows([[5, 6, 7]])).numpy()
    np.testing.assert_allclose(encode([5, 6, 7]), expected, atol=1e-6)
