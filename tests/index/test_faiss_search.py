from contextlib import nullcontext
from pathlib import Path

import faiss
import numpy as np
import pytest

from twotower.index.faiss import search as faiss_search
from twotower.index.faiss.search import SINGLE_THREAD_WORK, ThreadsFor, read_ahead


@pytest.mark.parametrize(("work", "inside"), [(SINGLE_THREAD_WORK, 1), (SINGLE_THREAD_WORK + 1, 3)])
@pytest.mark.parametrize("fails", [False, True])
def test_small_searches_run_on_one_thread_and_leave_the_number_as_it_was(work, inside, fails):
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(3)
    try:
        with pytest.raises(ZeroDivisionError) if fails else nullcontext(), ThreadsFor(work):
            assert faiss.omp_get_max_threads() == inside
            assert not fails or 1 / 0
        assert faiss.omp_get_max_threads() == 3
    finally:
        faiss.omp_set_num_threads(before)


def _bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split("rchar:")[1].split()[0])


@pytest.mark.skipif(not Path("/proc/self/io").is_file(), reason="only Linux counts the bytes a process reads")
@pytest.mark.parametrize(("factory", "links_only"), [("Flat", False), ("HNSW16", True)])
def test_what_faiss_goes_through_at_once_is_read_in_order_unless_it_is_in_memory(
    tmp_path, monkeypatch, factory, links_only
):
    index = faiss.index_factory(64, factory, faiss.METRIC_INNER_PRODUCT)
    vectors = np.random.default_rng(0).standard_normal((4000, 64), dtype=np.float32)
    index.add(vectors)
    path = tmp_path / "index.faiss"
    faiss.write_index(index, str(path))
    wanted = path.stat().st_size - (vectors.nbytes if links_only else 0)
    for cached, expected in ((True, 0), (False, wanted)):
        monkeypatch.setattr(faiss_search, "_cached", lambda file, size, cached=cached: cached)
        before = _bytes_read()
        read_ahead(path)
        assert expected <= _bytes_read() - before <= expected + 10_000


def test_a_file_just_written_is_in_memory(tmp_path):
    path = tmp_path / "index.faiss"
    path.write_bytes(bytes(1 << 20))
    with open(path, "rb", buffering=0) as file:
        try:
            assert faiss_search._cached(file, 1 << 20)
        except (OSError, AttributeError) as error:
            pytest.skip(f"this system or its disk does not tell: {error}")


@pytest.mark.parametrize("content", [None, b"", b"IxFI", bytes(100)])
def test_reading_ahead_leaves_what_is_wrong_with_a_file_to_who_opens_it(tmp_path, content):
    path = tmp_path / "index.faiss"
    if content is not None:
        path.write_bytes(content)
    read_ahead(path)
