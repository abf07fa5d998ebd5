import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from twotower.core.ragged import distinct, ranges, runs_of, to_offsets


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 6)), max_size=12))
def test_ranges_are_those_of_python(rows):
    starts, counts = (np.array([row[place] for row in rows], dtype=np.int64) for place in (0, 1))
    expected = [number for start, count in rows for number in range(start, start + count)]
    assert ranges(starts, counts).tolist() == expected
    assert to_offsets(counts)[-1] == len(expected)


@given(st.lists(st.integers(0, 9), max_size=30).map(sorted), st.lists(st.integers(0, 9), max_size=8))
def test_runs_of_finds_every_place(ascending, wanted):
    offsets, index = runs_of(np.array(ascending, dtype=np.int64), np.array(wanted, dtype=np.int64))
    for at, value in enumerate(wanted):
        places = index[offsets[at] : offsets[at + 1]].tolist()
        assert places == [place for place, item in enumerate(ascending) if item == value]


@given(st.lists(st.integers(-5, 60), max_size=40))
def test_distinct_values_are_those_of_numpy(values):
    array = np.array(values, dtype=np.int64)
    assert distinct(array).tolist() == np.unique(array).tolist()
