import errno
import os

import numpy as np
import pytest

from twotower.errors import UserError
from twotower.index.vectors import Shards, best_first, blocks, new_array_file, normalise, sample_rows, take, write_npy


def test_normalise_gives_unit_rows_and_leaves_zeros():
    rows = normalise(np.array([[3.0, 4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0.0, 0.0]], atol=1e-7)
    assert rows.dtype == np.float32


def test_normalise_does_not_change_its_argument():
    given = np.array([[3.0, 4.0]], np.float32)
    normalise(given)
    assert given[0, 0] == 3.0


@pytest.mark.parametrize("cuts", [[3], [1, 1, 6], [8], [1] * 8])
def test_shards_read_as_one_matrix(cuts):
    whole = np.arange(16, dtype=np.float32).reshape(8, 2)
    parts = np.split(whole, np.cumsum(cuts)[:-1]) if sum(cuts) == 8 else np.split(whole, cuts)
    shards = Shards(parts)
    for start in range(9):
        for stop in range(start, 10):
            np.testing.assert_array_equal(shards[start:stop], whole[start:stop])


def test_shards_of_different_width_are_refused():
    with pytest.raises(UserError, match="share one dimension"):
        Shards([np.zeros((2, 3)), np.zeros((2, 4))])


def test_blocks_cover_every_row_once(vectors):
    seen = [(start, len(block)) for start, block in blocks(vectors, rows=700)]
    assert seen == [(0, 700), (700, 700), (1400, 700), (2100, 700), (2800, 200)]


def test_vector_that_is_not_finite_is_named():
    bad = np.ones((10, 4), np.float32)
    bad[7, 2] = np.nan
    with pytest.raises(UserError, match="vector 7 is not finite"):
        list(blocks(bad, rows=4))


def test_take_reads_rows_of_shards_in_the_order_asked(vectors):
    rows = np.array([2999, 0, 1500, 0])
    np.testing.assert_allclose(take(Shards([vectors[:1000], vectors[1000:]]), rows), vectors[rows], atol=1e-6)


def test_sample_is_seeded_sorted_and_distinct():
    first, again, other = (sample_rows(1000, 50, seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    assert len(np.unique(first)) == 50
    assert (np.diff(first) > 0).all()


def test_write_npy_reports_progress_and_normalises(tmp_path):
    calls = []
    write_npy(tmp_path / "v.npy", np.full((5, 2), 2.0), progress=lambda *call: calls.append(call), stage="write")
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), np.full((5, 2), 0.5**0.5), rtol=1e-6)
    assert calls[-1] == ("write", 5, 5)


def test_best_first_breaks_ties_by_row_and_puts_missing_last():
    scores, rows = best_first(np.array([[0.5, 9.9, 0.7, 0.5]]), np.array([[8, -1, 3, 2]]), 5)
    assert rows.tolist() == [[3, 2, 8, -1, -1]]
    assert scores[0, :3].tolist() == pytest.approx([0.7, 0.5, 0.5])
    assert np.isneginf(scores[0, 3:]).all()


@pytest.mark.parametrize("seed", range(20))
def test_best_first_is_a_plain_sort_whether_or_not_hits_come_in_order(seed):
    generator = np.random.default_rng(seed)
    scores = generator.integers(-3, 4, (5, 6)).astype(np.float32) / generator.choice([2, 100])  # some beyond 1, ties
    rows = np.stack([generator.permutation(6) for _ in range(5)]).astype(np.int64)
    if seed % 2:
        scores = -np.sort(-scores, axis=1)
    rows[generator.random(rows.shape) < 0.1 * (seed % 3)] = -1
    found_scores, found_rows = best_first(scores, rows, 6)
    for number in range(5):
        hits = [(float(np.clip(s, -1, 1)), int(r)) for s, r in zip(scores[number], rows[number], strict=True) if r >= 0]
        hits = sorted(hits, key=lambda hit: (-hit[0], hit[1])) + [(-np.inf, -1)] * (6 - len(hits))
        assert found_rows[number].tolist() == [row for _, row in hits]
        np.testing.assert_array_equal(found_scores[number], np.float32([score for score, _ in hits]))


def test_room_for_an_array_file_is_taken_before_it_is_mapped(tmp_path, monkeypatch):
    # A map of a file that the disk can't hold would end the process by SIGBUS at the first page without room.
    array = new_array_file(tmp_path / "fits.npy", dtype="float32", shape=(5000, 8))
    assert (tmp_path / "fits.npy").stat().st_blocks * 512 >= 5000 * 8 * 4
    assert not array.any()
    array[:] = 1
    array.flush()
    assert np.load(tmp_path / "fits.npy").sum() == 40000

    def full(descriptor, start, length):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*full\.npy'"):
        new_array_file(tmp_path / "full.npy", dtype="float32", shape=(5000, 8))
