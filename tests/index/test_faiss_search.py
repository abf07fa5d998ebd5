from contextlib import nullcontext

import faiss
import pytest

from twotower.index.faiss_search import SINGLE_THREAD_WORK, ThreadsFor


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
