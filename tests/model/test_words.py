import bm25s
import numpy as np
import pytest
import torch

from twotower.core.errors import UserError
from twotower.model.two_tower import TwoTower
from twotower.model.words import WordPooling, WordStatistics
from twotower.text.tokens import TokenBatch, Tokens, to_offsets

SIZE = 12


def corpus():
    generator = np.random.default_rng(0)
    rows = [generator.integers(2, SIZE, generator.integers(1, 20)) for _ in range(30)]
    return Tokens(ids_T=np.concatenate(rows).astype(np.int32), offsets=to_offsets(np.array([len(r) for r in rows])))


def statistics(tokens=None):
    tokens = tokens or corpus()
    return WordStatistics(tokens=tokens, documents=tokens, size=SIZE)


def test_with_k1_and_one_hot_vectors_the_product_of_query_and_document_is_bm25():
    """Against bm25s: a vocabulary's unit vectors for words make the sums the words' own weights."""
    tokens = corpus()
    embedding = torch.nn.Embedding.from_pretrained(torch.eye(SIZE))
    query = WordPooling(vocabulary_size=SIZE, word_weights="ones")
    document = WordPooling(vocabulary_size=SIZE, word_weights="bm25", k1=1.2, b=0.6)
    for pooling in (query, document):
        pooling.start_weights(statistics(tokens))
    rows = [tokens.row(number).tolist() for number in range(len(tokens))]
    reference = bm25s.BM25(method="lucene", k1=1.2, b=0.6)
    reference.index([[str(word) for word in row] for row in rows], show_progress=False)
    batch, asked = TokenBatch.from_rows(rows), [3, 7, 7, 9]
    with torch.no_grad():
        documents = document(embedding, *batch) * batch.lengths[:, None].sqrt()
        ours = documents @ query(embedding, *TokenBatch.from_rows([asked]))[0] * len(asked) ** 0.5
    np.testing.assert_allclose(ours, reference.get_scores([str(word) for word in asked]), rtol=1e-5, atol=1e-6)


def test_gradients_reach_vectors_and_weights_alike_with_and_without_the_fused_pass():
    embedding = torch.nn.Embedding(SIZE, 5)
    pooling = WordPooling(vocabulary_size=SIZE, word_weights="bm25", k1=1.5)
    pooling.start_weights(statistics())
    batch = TokenBatch.from_rows([[2, 2, 3], [4], []])
    trained = pooling(embedding, *batch)
    with torch.no_grad():
        torch.testing.assert_close(trained, pooling(embedding, *batch))
    trained.pow(2).sum().backward()
    assert pooling.weight.grad[[2, 3, 4]].abs().min() > 0
    assert not pooling.weight.grad[5:].any()


def test_what_is_no_word_counts_nothing():
    pooling = WordPooling(vocabulary_size=SIZE, word_weights="ones")
    pooling.start_weights(statistics())
    assert pooling.weight.tolist() == [0, 0] + [1] * (SIZE - 2)


@pytest.mark.parametrize("tower", ["gru", "lstm", "rnn"])
def test_a_recurrent_tower_starts_as_the_sum_of_its_words(tower):
    def built(kind, **settings):
        torch.manual_seed(0)
        model = TwoTower(vocabulary_size=SIZE, embedding_dim=6, output_dim=6, query_tower=kind, document_tower=kind,
                         k1=1.5, word_weights="bm25", hidden_dim=4, **settings)  # fmt: skip
        model.start_weights(statistics())
        return model.eval()

    words, recurrent = built("mlp", num_layers=0), built(tower, residual=True, read=3)
    batch = TokenBatch.from_rows([[2, 3, 4, 5, 6], [7], []])
    with torch.no_grad():
        torch.testing.assert_close(recurrent.encode_documents(batch), words.encode_documents(batch))
        torch.testing.assert_close(recurrent.pool_queries(batch), words.encode_queries(batch))
        recurrent.query_tower.layers[-1].weight.normal_()
        changed = [recurrent.encode_queries(TokenBatch.from_rows([row]))[0] for row in ([2, 3, 4, 5], [2, 3, 4, 6])]
        order = [
            recurrent.query_tower._read(recurrent.embedding, *TokenBatch.from_rows([row]))[0]
            for row in ([2, 3], [3, 2])
        ]
    assert not torch.equal(changed[0], changed[1])  # the sum reads on where the network has stopped
    assert not torch.equal(order[0], order[1])


@pytest.mark.parametrize(("key", "value"), [("k1", -1), ("b", 2), ("word_weights", "tf"), ("word_pooling", "max")])
def test_values_out_of_range_are_named(key, value):
    with pytest.raises(UserError, match=f"model.{key}"):
        TwoTower(vocabulary_size=SIZE, embedding_dim=6, **{key: value})
