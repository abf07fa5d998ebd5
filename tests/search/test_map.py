"""The map of a collection against singular values, and what is kept of it."""

import shutil

import numpy as np
import pytest

from twotower.search import map as maps
from twotower.search.engine import SearchEngine


@pytest.fixture
def engine(run_dir, tmp_path):
    shutil.copytree(run_dir, tmp_path / "run")
    return SearchEngine.open(tmp_path / "run", "exact")


def test_places_are_the_first_two_principal_components(engine):
    here = maps.compute(engine)
    vectors = engine.vectors_at(np.arange(engine.documents.count)).astype(np.float64)
    left, sizes, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    expected = (left * sizes)[:, :2]
    for axis in range(2):
        same = np.sign(here.points_P2[:, axis] @ expected[:, axis])
        np.testing.assert_allclose(here.points_P2[:, axis], same * expected[:, axis], atol=1e-4)
    assert here.framed(here.points_P2).min() == 0
    assert here.framed(here.points_P2).max() == 1


def test_it_is_computed_once_and_kept_beside_the_index(engine, monkeypatch):
    first = maps.open_map(engine)
    assert (engine.folder / maps.POINTS).is_file()
    monkeypatch.setattr(maps, "compute", lambda engine: pytest.fail("computed again"))
    again = maps.open_map(engine)
    np.testing.assert_array_equal(again.rows_P, first.rows_P)
    np.testing.assert_allclose(again.points_P2, first.points_P2)
    assert SearchEngine.open(engine.folder.parents[1], "exact").search("sort a list", 3).hits


@pytest.mark.parametrize("name", [maps.AXES, maps.POINTS])
@pytest.mark.parametrize("content", [b"", b"junk", b"\x93NUMPY\x01\x00"])
def test_a_damaged_one_is_computed_again(engine, name, content):
    first = maps.open_map(engine)
    (engine.folder / name).write_bytes(content)
    again = maps.open_map(engine)
    np.testing.assert_allclose(again.points_P2, first.points_P2, atol=1e-6)
    assert (engine.folder / name).read_bytes() != content


def test_a_folder_that_cannot_be_written_costs_only_time(engine, monkeypatch):
    from twotower.core.errors import UserError

    def refuse(folder, new):
        raise UserError("Cannot write.")

    monkeypatch.setattr(maps, "_write", refuse)
    assert len(maps.open_map(engine).rows_P) == engine.documents.count
