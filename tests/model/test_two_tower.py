from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower.config.names import TOWERS
from twotower.core.errors import UserError
from twotower.model.pooling import POOLINGS
from twotower.model.two_tower import TwoTower
from twotower.text.tokens import TokenBatch

VOCABULARY, DIM = 40, 12
GRU = {"query_tower": "gru", "document_tower": "gru"}
ROWS = st.lists(st.lists(st.integers(1, VOCABULARY - 1), max_size=25), min_size=1, max_size=6)
FAITHFUL = [name for name in POOLINGS if name != "pad_step"]


def make(tower: str = "mlp", **config: Any) -> TwoTower:
    torch.manual_seed(0)
    sizes = {"hidden_dim": 10, "output_dim": 8, "num_layers": 2}
    model = TwoTower(
        vocabulary_size=VOCABULARY,
        embedding_dim=DIM,
        **{"query_tower": tower, "document_tower": tower, **sizes, **config},
    )
    for name, parameter in model.named_parameters():  # leave the near-identity start, so that every layer takes part
        if "embedding" not in name:
            torch.nn.init.normal_(parameter, std=0.4)
    return model.eval()


VARIANTS = (
    [("mlp", {"word_pooling": pooling, "residual": flag}) for pooling in ("mean", "weighted") for flag in (True, False)]
    + [("mlp", {"count_power": power}) for power in (0, 1)]
    + [("mlp", {"k1": 1.5}), ("gru", {"residual": True, "k1": 1.5, "read": 4}), ("lstm", {"residual": True})]
    + [("gru", {"pooling": pooling, "bidirectional": flag}) for pooling in FAITHFUL for flag in (True, False)]
    + [(tower, {"pooling": pooling}) for tower in ("lstm", "rnn") for pooling in FAITHFUL]
)


@pytest.mark.parametrize(("tower", "config"), VARIANTS, ids=str)
@settings(max_examples=25, deadline=None)
@given(rows=ROWS)
def test_a_text_alone_equals_the_text_in_any_batch(tower: str, config: dict, rows: list[list[int]]) -> None:
    model = make(tower, **config).double()  # in double precision rounding can't hide a small leak
    with torch.inference_mode():
        together = model.encode_documents(TokenBatch.from_rows([*rows, list(range(1, 30))]))
        for number, row in enumerate(rows):
            alone = model.encode_documents(TokenBatch.from_rows([row]))
            torch.testing.assert_close(together[number], alone[0], atol=1e-12, rtol=0)


@pytest.mark.parametrize(("tower", "config"), VARIANTS, ids=str)
def test_so_it_does_in_single_precision(tower: str, config: dict) -> None:
    torch.manual_seed(0)
    model = TwoTower(vocabulary_size=900, embedding_dim=64, query_tower=tower, document_tower=tower, **config).eval()
    rows = [torch.randint(1, 900, (int(length),)).tolist() for length in torch.randint(0, 60, (30,))]
    with torch.inference_mode():
        together = model.encode_documents(TokenBatch.from_rows([*rows, list(range(1, 300))]))
        alone = torch.cat([model.encode_documents(TokenBatch.from_rows([row])) for row in rows])
    torch.testing.assert_close(together[:-1], alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize("tower", ["gru", "lstm"])
def test_reading_a_pad_step_breaks_that_rule(tower: str) -> None:
    model = make(tower, pooling="pad_step", allow_pad_step=True)
    text, neighbour = [3, 4, 5], list(range(1, 30))
    with torch.inference_mode():
        alone = model.encode_documents(TokenBatch.from_rows([text]))[0]
        together = model.encode_documents(TokenBatch.from_rows([text, neighbour]))[0]
    assert float((alone - together).abs().max()) > 1e-2


def test_a_pad_step_must_be_allowed() -> None:
    with pytest.raises(UserError, match=r"model\.pooling=pad_step .*model\.allow_pad_step=true"):
        make("gru", pooling="pad_step")


@pytest.mark.parametrize("tower", TOWERS)
def test_vectors_are_finite_and_of_length_one_for_empty_and_unknown_texts(tower: str) -> None:
    model = make(tower)
    batches = [TokenBatch.from_rows(rows) for rows in ([[]], [[], []], [[], [1, 1], [5] * 30], [[0], [0, 0]])]
    for batch in batches:
        vectors = model.train().encode_queries(batch)
        vectors.sum().backward()
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(batch.size))
    assert all(torch.isfinite(item.grad).all() for item in model.parameters() if item.grad is not None)


@pytest.mark.parametrize("tower", ["mlp", "gru"])
def test_word_order_matters_to_a_recurrent_tower_only(tower: str) -> None:
    vectors = make(tower).encode_queries(TokenBatch.from_rows([[3, 4, 5, 6], [6, 5, 3, 4]]))
    assert torch.allclose(vectors[0], vectors[1], atol=1e-6) == (tower == "mlp")


def test_state_dict_names() -> None:
    names = set(make("mlp", shared=False).state_dict())
    assert {"embedding.weight", "query_tower.layers.0.weight", "document_tower.layers.0.weight"} <= names
    names = set(make("gru", shared=False).state_dict())
    tops = {".".join(name.split(".")[:2]) for name in names}
    assert tops == {"embedding.weight", "query_tower.layers", "document_tower.layers"}


def test_shared_towers_are_one_and_separate_ones_are_not() -> None:
    batch = TokenBatch.from_rows([[3, 4, 5]])
    shared, separate = make("gru", shared=True), make("gru", shared=False)
    assert torch.equal(shared.encode_queries(batch), shared.encode_documents(batch))
    assert not torch.allclose(separate.encode_queries(batch), separate.encode_documents(batch))
    assert sum(item.numel() for item in separate.parameters()) > sum(item.numel() for item in shared.parameters())


def test_mixed_towers_meet_in_one_space() -> None:
    model = make(query_tower="mlp", document_tower="gru", shared=False)
    batch = TokenBatch.from_rows([[3, 4], [5, 6, 7]])
    assert model.encode_queries(batch).shape == model.encode_documents(batch).shape == (2, 8)


def test_word_weights_scale_words() -> None:
    model = make("mlp", num_layers=0, output_dim=DIM)
    weights = np.ones(VOCABULARY, dtype=np.float32)
    weights[4] = 0.0
    model.set_word_weights(weights)
    left_out, without = model.encode_queries(TokenBatch.from_rows([[3, 4, 5], [3, 5]]))
    torch.testing.assert_close(left_out, without)


def test_untrained_residual_tower_keeps_the_pooled_word_vectors() -> None:
    torch.manual_seed(0)
    model = TwoTower(vocabulary_size=VOCABULARY, embedding_dim=DIM, hidden_dim=20, output_dim=DIM, num_layers=3).eval()
    row = [3, 4, 4, 7]
    vector_of = model.embedding.weight
    pooled = vector_of[3] + 2**0.5 * vector_of[4] + vector_of[7]  # word 4 occurs twice
    vector = model.encode_documents(TokenBatch.from_rows([row]))[0]
    torch.testing.assert_close(vector, pooled / pooled.norm())


def test_dropout_only_in_training() -> None:
    for tower in ("mlp", "gru"):
        model = make(tower, word_dropout=0.5, dropout=0.5)
        batch = TokenBatch.from_rows([[3, 4, 5, 6, 7, 8]])
        assert torch.equal(model.encode_queries(batch), model.encode_queries(batch))
        model.train()
        assert not torch.equal(model.encode_queries(batch), model.encode_queries(batch))


@pytest.mark.parametrize("tower", ["mlp", "gru"])
def test_sparse_gradients_equal_dense_ones(tower: str) -> None:
    batch = TokenBatch.from_rows([[3, 4, 4, 5], [], [7, 3]])
    grads = []
    for sparse in (False, True):
        model = make(tower, sparse_gradients=sparse)
        model.encode_queries(batch)[:, 0].sum().backward()
        grad = model.embedding.weight.grad
        assert grad.is_sparse == sparse
        grads.append(grad.to_dense())
    torch.testing.assert_close(grads[0], grads[1])
    assert float(grads[0].abs().sum()) > 0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"query_tower": "gruu", "shared": False}, r"model\.query_tower=gruu .*Did you mean 'gru'"),
        ({"dropout": 1.5}, r"model\.dropout=1\.5 .*at least 0 and below 1"),
        ({"dropout": "much"}, r"model\.dropout=much"),
        ({"hidden_dim": 0}, r"model\.hidden_dim=0"),
        ({"count_power": 2}, r"model\.count_power=2"),
        ({"num_layers": 1.5}, r"model\.num_layers=1\.5"),
        ({"query_tower": "gru", "document_tower": "gru", "num_layers": 0}, r"model\.num_layers=0"),
        ({"word_pooling": "weigthed"}, "Did you mean 'weighted'"),
        ({**GRU, "pooling": "maxx"}, "Did you mean 'max'"),
        ({"hiden_dim": 3}, "Did you mean 'hidden_dim'"),
        ({**GRU, "bidirectional": "yes"}, r"model\.bidirectional=yes"),
        ({"query_tower": "mlp", "document_tower": "gru", "shared": True}, r"model\.shared=true needs equal towers"),
    ],
)
def test_bad_values_are_named(config: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        TwoTower(vocabulary_size=VOCABULARY, embedding_dim=DIM, **config)


def test_word_vectors_of_another_size_are_refused() -> None:
    with pytest.raises(UserError, match=r"\(40, 5\) do not fit"):
        make().load_embedding(np.zeros((VOCABULARY, 5), dtype=np.float32))


@pytest.mark.parametrize("tower", ["mlp", "gru"])
def test_a_slip_in_the_number_of_layers_is_refused_before_they_are_built(tower):
    sizes = {"vocabulary_size": 10, "embedding_dim": 4, "query_tower": tower, "document_tower": tower}
    with pytest.raises(UserError, match=r"model\.num_layers=1000000000 is out of range; it must be a whole"):
        TwoTower(**sizes, num_layers=10**9)
