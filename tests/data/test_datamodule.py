import numpy as np
import pytest

from twotower.core.errors import UserError
from twotower.data import beir
from twotower.data.datamodule import RetrievalData, vocabulary_texts
from twotower.data.settings import DataSettings
from twotower.text.tokenizer import Tokenizer


def make(collection, **config):
    tokenizer = Tokenizer.train(vocabulary_texts(collection, "train"), {"min_frequency": 1})
    return RetrievalData(collection=collection, tokenizer=tokenizer, settings=DataSettings.parse(config), seed=2)


def test_tokens_are_of_all_texts_and_cut(collection):
    data = make(collection, max_query_length=2, max_document_length=3)
    assert (len(data.query_tokens), len(data.document_tokens)) == (60, 40)
    assert data.query_tokens.lengths.max() == 2
    assert data.document_tokens.lengths.max() == 3


def test_eval_queries_are_judged_seeded_and_limited(collection):
    data = make(collection)
    dev = collection.split("dev").queries
    assert np.array_equal(data.eval_queries(), dev)
    assert np.array_equal(data.eval_queries(0), dev)
    few = data.eval_queries(5)
    assert len(few) == 5
    assert set(few) <= set(dev)
    assert np.array_equal(few, make(collection).eval_queries(5))
    assert np.array_equal(data.eval_queries(split="train"), collection.split("train").queries)


def test_vocabulary_never_sees_queries_of_other_splits(make_collection):
    collection = make_collection()
    texts = vocabulary_texts(collection, "train")
    train = {collection.query_texts[row] for row in collection.split("train").queries}
    assert set(texts) == set(collection.document_texts()) | train


def test_train_dataloader_follows_the_config(collection):
    data = make(collection, batch_size=6, negatives={"kind": "random", "count": 2})
    batch = next(iter(data.train_dataloader()))
    assert (batch.query.size, batch.document.size) == (6, 18)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"batchsize": 3}, "data.batchsize is not a key of data.*Did you mean 'batch_size'"),
        ({"batch_size": 1}, "data.batch_size=1 is out of range; it must be a whole number of at least 2"),
        ({"max_query_length": 0}, "data.max_query_length=0"),
        ({"allow_leak": "no"}, "data.allow_leak=no must be true or false"),
    ],
)
def test_wrong_settings_are_named(config, message):
    with pytest.raises(UserError, match=message):
        DataSettings.parse(config)


def test_missing_splits_are_named_at_once(collection):
    with pytest.raises(UserError, match="no split 'test'; there are: dev, train"):
        make(collection, eval_split="test")


@pytest.mark.parametrize(
    ("chosen", "recurrent", "expected"),
    [("auto", True, True), ("auto", False, False), (True, False, True), (False, True, False)],
)
def test_like_lengths_go_together_where_a_tower_pads(tiny_beir, chosen, recurrent, expected):
    collection = beir.load(path=str(tiny_beir))
    tokenizer = Tokenizer.train(vocabulary_texts(collection, "train"), {"kind": "words"})
    settings = DataSettings(bucket_by_length=chosen)
    data = RetrievalData(collection=collection, tokenizer=tokenizer, settings=settings, pads_batches=recurrent)
    assert data.train_dataloader().bucket_by_length is expected


def test_workers_are_refused_by_name():
    assert DataSettings(num_workers=0).num_workers == 0
    with pytest.raises(UserError, match=r"data\.num_workers=2: there are no workers"):
        DataSettings(num_workers=2)
