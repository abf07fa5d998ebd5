import numpy as np
import torch

from twotower.core.ragged import to_offsets
from twotower.text.tokens import TokenBatch, Tokens, TokenStatistics, concatenate, document_frequency, idf


def make(rows):
    lengths = [len(row) for row in rows]
    ids = np.array([item for row in rows for item in row], dtype=np.int32)
    return Tokens(ids_T=ids, offsets=to_offsets(np.array(lengths, dtype=np.int64)))


ROWS = [[5, 6, 7], [], [8], [5, 5, 9, 2]]


def test_take_gathers_rows_in_order_with_repeats_and_empty_rows():
    batch = make(ROWS).take(np.array([3, 1, 0, 3, 1]))
    expected = [ROWS[3], ROWS[1], ROWS[0], ROWS[3], ROWS[1]]
    assert batch.ids_T.tolist() == [item for row in expected for item in row]
    assert batch.lengths.tolist() == [len(row) for row in expected]
    assert batch.ids_T.dtype == batch.offsets_B1.dtype == torch.int64
    assert batch.size == 5


def test_take_of_nothing_and_of_only_empty_rows():
    tokens = make(ROWS)
    assert tokens.take(np.array([], dtype=np.int64)).offsets_B1.tolist() == [0]
    assert tokens.take(np.array([1, 1])).offsets_B1.tolist() == [0, 0, 0]


def test_take_matches_a_plain_loop_on_random_rows():
    generator = np.random.default_rng(0)
    rows = [generator.integers(0, 99, generator.integers(0, 9)).tolist() for _ in range(60)]
    chosen = generator.integers(0, 60, 200)
    batch = make(rows).take(chosen)
    starts = batch.offsets_B1.tolist()
    for number, row in enumerate(chosen):
        assert batch.ids_T[starts[number] : starts[number + 1]].tolist() == rows[row]


def test_save_and_load_are_memory_mapped_and_equal(tmp_path):
    tokens = Tokens(**{**vars(make(ROWS)), "statistics": TokenStatistics(texts=4, tokens=9, truncated=1)})
    tokens.save(tmp_path)
    again = Tokens.load(tmp_path)
    assert isinstance(again.ids_T, np.memmap)
    assert again.ids_T.tolist() == tokens.ids_T.tolist()
    assert again.offsets.tolist() == tokens.offsets.tolist()
    assert again.statistics == tokens.statistics
    assert again.take(np.array([0])).ids_T.tolist() == [5, 6, 7]


def test_concatenate_keeps_rows_and_adds_statistics():
    one = Tokens(**{**vars(make(ROWS[:2])), "statistics": TokenStatistics(texts=2, tokens=3, unknown=1)})
    two = Tokens(**{**vars(make(ROWS[2:])), "statistics": TokenStatistics(texts=2, tokens=5)})
    whole = concatenate([one, two])
    assert [whole.row(number).tolist() for number in range(4)] == ROWS
    assert whole.statistics == TokenStatistics(texts=4, tokens=8, unknown=1)
    assert len(concatenate([])) == 0


def test_document_frequency_counts_each_row_once():
    counts = document_frequency(make(ROWS), 10)
    expected = [sum(word in row for row in ROWS) for word in range(10)]
    assert counts.tolist() == expected
    weights = idf(make(ROWS), 10)
    np.testing.assert_allclose(weights, [np.log(5 / (1 + count)) + 1 for count in expected], rtol=1e-6)


def test_document_frequency_of_no_words_and_of_many():
    assert document_frequency(make([[], []]), 3).tolist() == [0, 0, 0]
    generator = np.random.default_rng(0)
    rows = [generator.integers(0, 50, generator.integers(0, 40)).tolist() for _ in range(300)]
    expected = [sum(word in row for row in map(set, rows)) for word in range(50)]
    assert document_frequency(make(rows), 50).tolist() == expected


def test_from_rows_round_trip():
    batch = TokenBatch.from_rows(ROWS)
    assert batch.lengths.tolist() == [3, 0, 1, 4]
    assert batch.to("cpu").ids_T.tolist() == batch.ids_T.tolist()
