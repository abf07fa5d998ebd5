"""NaN and infinities are found wherever they stand, and named."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from twotower.core.errors import UserError
from twotower.core.finite import all_finite, broken_tensors, check_vectors, check_weights

BAD = [float("nan"), float("inf"), float("-inf")]


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("place", [0, 7, 14])
def test_one_bad_value_anywhere_is_found(value, dtype, place):
    array = np.linspace(-1, 1, 15).astype(dtype)
    assert all_finite(array)
    assert all_finite(torch.from_numpy(array))
    array[place] = value
    assert not all_finite(array)
    assert not all_finite(torch.from_numpy(array))
    assert not all_finite(torch.from_numpy(array).bfloat16())


def test_whole_numbers_and_empty_tensors_are_finite():
    assert all_finite(np.arange(3))
    assert all_finite(torch.arange(3))
    assert all_finite(np.empty((0, 4), np.float32))
    assert all_finite(torch.empty(0, 4))


def test_the_largest_numbers_are_finite():
    most = np.full(1000, np.finfo(np.float32).max, np.float32)
    assert all_finite(most)
    assert all_finite(torch.from_numpy(most))


def test_tensors_are_named_with_their_count():
    state = {"good": torch.ones(3), "bad": torch.tensor([1.0, float("nan"), float("inf")]), "number": torch.tensor(1)}
    assert broken_tensors(state) == ["bad (2 of 3 values)"]
    with pytest.raises(UserError, match=r"^model\.pt holds weights that are not finite: bad \(2 of 3 values\);.*lr"):
        check_weights(state, "model.pt")


def test_rows_are_counted_and_the_first_is_named():
    vectors = np.ones((5, 3), np.float32)
    check_vectors(vectors, "query")
    vectors[2, 1], vectors[4] = np.nan, -np.inf
    with pytest.raises(UserError, match=r"2 of 5 query vectors are not finite \(the first is row 2\)"):
        check_vectors(vectors, "query")
