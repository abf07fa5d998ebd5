import numpy as np
import pytest
import torch

from twotower.core.errors import UserError
from twotower.model.two_tower import TwoTower
from twotower.pretrain.crops import Crops, Drawing, schedule
from twotower.pretrain.pseudo import draw_queries
from twotower.text.tokens import TokenBatch, Tokens, to_offsets

SIZE = 60
QUICK = {"epochs": 10, "batch_size": 32, "lr": 0.01, "min_words": 2, "max_words": 4}


def corpus(documents=64, seed=0):
    generator = np.random.default_rng(seed)
    rows = [generator.integers(2, SIZE, generator.integers(5, 15)) for _ in range(documents)]
    lengths = np.array([len(row) for row in rows])
    return Tokens(ids_T=np.concatenate(rows).astype(np.int32), offsets=to_offsets(lengths))


def model(sparse=False, tower="mlp", **settings):
    torch.manual_seed(0)
    towers = {"query_tower": tower, "document_tower": tower}
    return TwoTower(
        vocabulary_size=SIZE, embedding_dim=16, sparse_gradients=sparse, output_dim=16, **towers, **settings
    )


def run(encoder, seed=0, **settings):
    return Crops(**{**QUICK, **settings}).run(encoder, corpus(), size=SIZE, seed=seed)


def test_queries_are_distinct_known_words_of_their_own_document():
    batch = TokenBatch.from_rows([[2, 2, 3, 4, 5], [1, 0, 1], [], [6]])
    for seed in range(20):
        queries = draw_queries(batch, np.zeros(SIZE), np.random.default_rng(seed), min_words=2, max_words=3)
        rows = [row.tolist() for row in torch.tensor_split(queries.ids_T, queries.offsets_B1[1:-1])]
        assert set(rows[0]) <= {2, 3, 4, 5}
        assert len(rows[0]) == len(set(rows[0])) in (2, 3)
        assert rows[1:] == [[], [], [6]]


def test_words_are_drawn_in_proportion_to_their_weights():
    batch = TokenBatch.from_rows([[2, 3, 4]] * 6000)
    weights = np.ones(SIZE)
    weights[2:5] = 1, 2, 5
    queries = draw_queries(batch, np.log(weights), np.random.default_rng(0), min_words=1, max_words=1)
    share = np.bincount(queries.ids_T.numpy(), minlength=5)[2:5] / 6000
    np.testing.assert_allclose(share, np.array([1, 2, 5]) / 8, atol=0.02)


@pytest.mark.parametrize("sparse", [False, True])
def test_documents_are_found_by_their_words_afterwards(sparse):
    encoder = model(sparse)
    told = run(encoder)
    assert (told["steps"], told["pairs"], told["epochs"]) == (20, 640, 10.0)
    drawing = Drawing(Crops(**QUICK), corpus(), size=SIZE, groups=None)
    rows, generator = np.arange(64), np.random.default_rng(9)
    with torch.no_grad():
        after = drawing.loss(encoder.eval(), rows, generator)[0]
        before = drawing.loss(model().eval(), rows, np.random.default_rng(9))[0]
    assert after < before - 0.3


def test_how_the_pairs_will_be_trained_changes_nothing_before_them():
    rows, whole = model(sparse=True), model(sparse=False)
    run(rows), run(whole)
    assert torch.equal(rows.embedding.weight, whole.embedding.weight)
    assert (rows.embedding.sparse, whole.embedding.sparse) == (True, False)


def test_hidden_and_recurrent_layers_are_left_alone_and_the_same_seed_repeats():
    first, second, third = (model(tower="gru", residual=True, hidden_dim=4) for _ in range(3))
    start = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    run(first), run(second), run(third, seed=1)
    changed = {name for name, tensor in first.state_dict().items() if not torch.equal(tensor, start[name])}
    assert changed == {"embedding.weight", "query_tower.words.weight", "document_tower.words.weight"}
    assert torch.equal(first.embedding.weight, second.embedding.weight)
    assert not torch.equal(first.embedding.weight, third.embedding.weight)


def test_documents_of_the_same_text_are_no_negatives_of_each_other():
    batch = Tokens(ids_T=np.array([2, 3, 2, 3], dtype=np.int32), offsets=np.array([0, 2, 4]))
    rows, encoder = np.arange(2), model().eval()
    for groups, expected in ((np.array([7, 7]), 0.0), (np.array([7, 8]), np.log(2))):
        drawing = Drawing(Crops(**QUICK), batch, size=SIZE, groups=groups)
        loss, _ = drawing.loss(encoder, rows, np.random.default_rng(0))
        assert float(loss) == pytest.approx(expected, abs=1e-5)


def test_the_second_loss_depends_on_epoch_and_step_alone():
    crops, encoder = Crops(**QUICK, mix=0.5), model().eval()
    beside = crops.beside(corpus(), size=SIZE, seed=0)
    assert torch.equal(beside(encoder, 1, 2), beside(encoder, 1, 2))
    assert not torch.equal(beside(encoder, 1, 2), beside(encoder, 2, 1))


def test_the_second_loss_may_take_a_smaller_batch():
    whole, half = (Crops(**QUICK, mix=0.5, mix_batch_size=size) for size in (None, 16))
    taken = []
    for crops in (whole, half):
        encoder = model()
        pool = encoder.pool_documents
        encoder.pool_documents = lambda batch, pool=pool: taken.append(len(batch.offsets_B1) - 1) or pool(batch)
        crops.beside(corpus(), size=SIZE, seed=0)(encoder, 1, 2)
    assert taken == [32, 16]
    assert whole.decided_by() == half.decided_by()  # what it was taught before the pairs is the same


def test_a_limit_of_steps_and_a_corpus_of_one():
    assert run(model(), max_steps=3)["steps"] == 3
    one = Tokens(ids_T=np.array([2, 3], dtype=np.int32), offsets=np.array([0, 2]))
    assert Crops(**QUICK).run(model(), one, size=SIZE, seed=0)["steps"] == 0


def test_the_rate_rises_then_falls_to_nothing():
    rates = [schedule(step, 100) for step in range(100)]
    assert np.argmax(rates) in (3, 4, 5)
    assert rates[0] < 0.25
    assert rates[-1] < 0.01


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("batch_size", 1),
        ("lr", 0),
        ("temperature", -1),
        ("mix", -0.1),
        ("mix_batch_size", 1),
        ("min_words", 9),
        ("max_steps", 0),
    ],
)
def test_values_out_of_range_are_named(key, value):
    with pytest.raises(UserError, match=f"pretrain.{key}|pretrain.max_words"):
        Crops(**{key: value})
