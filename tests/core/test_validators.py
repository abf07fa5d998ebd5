from __future__ import annotations

import pytest

from twotower.core.errors import UserError
from twotower.core.validators import check_choice, check_count, check_flag, check_keys, check_number


def test_good_values_come_back() -> None:
    assert check_choice("a.b", "x", ["x", "y"]) == "x"
    assert check_number("a.b", 1, at_least=1, at_most=1) == 1.0
    assert check_count("a.b", 3) == 3
    assert check_flag("a.b", False) is False
    check_keys("a", ["x"], ["x", "y"])


@pytest.mark.parametrize(
    "value", [True, "1", None, float("inf"), float("nan"), 0, 1.0, pytest.param(10**400, id="beyond floats")]
)
def test_numbers_out_of_range_name_key_value_and_range(value: object) -> None:
    with pytest.raises(UserError, match=rf"a\.b={value} .*above 0 and below 1\."):
        check_number("a.b", value, above=0, below=1)


@pytest.mark.parametrize("value", [True, "1", None, 0, 1.0])
def test_counts_are_whole_and_positive(value: object) -> None:
    with pytest.raises(UserError, match=rf"a\.b={value} .*at least 1"):
        check_count("a.b", value)


def test_flags_and_keys() -> None:
    with pytest.raises(UserError, match=r"a\.b=1 must be true or false"):
        check_flag("a.b", 1)
    with pytest.raises(UserError, match=r"a\.hiden is not a key of a; .*Did you mean 'hidden'"):
        check_keys("a", ["hiden"], ["hidden"])
