import copy

import pytest

from twotower.config.unread import refuse_unread
from twotower.core.errors import UserError

DEFAULT = {
    "data": {
        "path": None,
        "source": {"_target_": "twotower.data.docstrings.load", "packages": ["stdlib"]},
        "negatives": {"kind": "in_batch", "count": 0, "depth": 50, "skip": 0},
    },
    "text": {"min_frequency": 2, "max_vocabulary": 100000, "vocabulary_file": None},
    "embedding": {"freeze": False, "learning_rate": None},
    "loss": {"temperature": 0.05, "learn_temperature": False, "chunk": 16},
    "index": {"faiss_flat": {"factory": "Flat"}, "hnsw": {"factory": "HNSW32", "ef_construction": 100, "ef_search": 9}},
}


def changed(**keys):
    config = copy.deepcopy(DEFAULT)
    for key, value in keys.items():
        *parts, last = key.split("__")
        place = config
        for part in parts:
            place = place.setdefault(part, {})
        place[last] = value
    return config


def test_the_defaults_are_all_read():
    refuse_unread(DEFAULT)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"data__path": "x"}, r"data\.path=x has no effect: twotower\.data\.docstrings\.load reads no path"),
        ({"data__negatives__depth": 9}, r"data\.negatives\.depth=9 has no effect"),
        ({"data__negatives__skip": 1}, r"data\.negatives\.skip=1"),
        ({"text__vocabulary_file": "v", "text__min_frequency": 5}, r"text\.min_frequency=5"),
        ({"text__vocabulary_file": "v", "text__max_vocabulary": 5}, r"text\.max_vocabulary=5"),
        ({"embedding__freeze": True, "embedding__learning_rate": 0.1}, r"embedding\.learning_rate=0\.1"),
        ({"index__faiss_flat__ef_search": 9}, r"index\.faiss_flat\.ef_search=9 .* the factory Flat has no HNSW"),
        ({"index__faiss_flat__nprobe": 9}, r"index\.faiss_flat\.nprobe=9 .* has no IVF"),
        ({"index__faiss_flat__rerank": 9}, r"index\.faiss_flat\.rerank=9"),
        ({"index__hnsw__train_size": 9}, r"index\.hnsw\.train_size=9 .* is not trained"),
        ({"index__redis": {"algorithm": "FLAT", "m": 8}}, r"index\.redis\.m=8"),
    ],
)
def test_a_setting_that_nothing_reads_is_refused(keys, message):
    with pytest.raises(UserError, match=message):
        refuse_unread(changed(**keys))


@pytest.mark.parametrize(
    "keys",
    [
        {"data__path": "x", "data__source": {"_target_": "twotower.data.beir.load", "path": "x"}},
        {"data__path": "x", "data__source": {"_target_": "mine.load", "files": ["x/corpus.jsonl"]}},
        {"data__negatives": {"kind": "bm25", "count": 1, "depth": 9, "skip": 3}},
        {"index__redis": {"algorithm": "HNSW", "m": 8}},
    ],
)
def test_a_setting_that_something_reads_passes(keys):
    refuse_unread(changed(**keys))
