import subprocess
import sys

import numpy as np
import pytest

from twotower.core.errors import UserError
from twotower.index.vectors import Shards, best_first, blocks, new_npy, normalise, sample_rows, take, write_npy


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


def test_a_new_file_has_its_room_on_the_disk_before_anything_is_written(tmp_path):
    new_npy(tmp_path / "v.npy", "float32", (1000, 256))
    status = (tmp_path / "v.npy").stat()
    assert status.st_blocks * 512 >= status.st_size > 1000 * 256 * 4


def test_a_full_disk_is_one_clear_line(tmp_path):
    script = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from pathlib import Path\n"
        "from twotower.index.vectors import new_npy\n"
        f"new_npy(Path({str(tmp_path / 'v.npy')!r}), 'float32', (1000, 256))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "UserError: Cannot write" in done.stderr
    assert "v.npy (1.0 MB): File too large. Free space" in done.stderr


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


def test_one_row_is_normalised_as_it_would_be_among_others():
    rows_BD = np.random.default_rng(0).normal(0, 3, (50, 256))
    rows_BD[7] = 0
    for given_BD in (rows_BD, rows_BD.astype(np.float32), np.asfortranarray(rows_BD)):
        before = given_BD.copy()
        alone_BD = np.concatenate([normalise(given_BD[row : row + 1]) for row in range(50)])
        assert alone_BD.dtype == np.float32
        np.testing.assert_allclose(alone_BD, normalise(given_BD), rtol=3e-7)
        np.testing.assert_array_equal(given_BD, before)
    assert not alone_BD[7].any()


@pytest.mark.parametrize(
    ("scores", "rows"),
    [
        ([0.9, 0.5, 0.1], [4, 2, 7]),  # done
        ([0.5, 0.5, 0.1], [4, 2, 7]),  # a tie
        ([1.0000001, 1.0, 0.1], [4, 2, 7]),  # a tie after cutting
        ([0.9, 0.5, -1.0000001], [4, 2, 7]),
        ([0.9, 0.5, -3e38], [4, 2, -1]),
        ([0.1, 0.5, 0.9], [4, 2, 7]),
    ],
)
def test_one_query_is_ordered_as_it_would_be_among_others(scores, rows):
    scores_1C, rows_1C = np.array([scores], np.float32), np.array([rows], np.int64)
    alone = best_first(scores_1C, rows_1C, 3)
    among = best_first(np.repeat(scores_1C, 2, axis=0), np.repeat(rows_1C, 2, axis=0), 3)
    order = sorted(range(3), key=lambda at: (rows[at] < 0, -min(1.0, scores[at]), rows[at]))
    wanted = [-np.inf if rows[at] < 0 else np.clip(np.float32(scores[at]), -1, 1) for at in order]
    for found_QK, rows_QK in ((alone[0], alone[1]), (among[0][:1], among[1][:1])):
        np.testing.assert_array_equal(found_QK, [np.array(wanted, np.float32)])
        assert rows_QK.tolist() == [[rows[at] for at in order]]
