from __future__ import annotations

import pytest

from twotower.core.errors import UserError
from twotower.evaluation.budget import parse_size


@pytest.mark.parametrize(
    ("value", "size"), [("2GiB", 2**31), ("512 mib", 2**29), ("1.5GB", 1.5e9), (2**20, 2**20), ("3000000", 3e6)]
)
def test_sizes(value, size):
    assert parse_size(value) == size


@pytest.mark.parametrize("value", ["much", "2 GiBs", "-1GiB", "", "1KiB", None, "nan"])
def test_other_things_are_refused_by_name(value):
    with pytest.raises(UserError, match=r"evaluation\.max_memory="):
        parse_size(value)
