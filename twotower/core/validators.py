"""Checks of config values: each names the key, what was given and what would work."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from typing import Any

from twotower.core.errors import UserError, nearest


def check_choice(key: str, value: Any, choices: Iterable[str]) -> str:
    """Returns `value` if it is one of `choices`.

    Raises:
        UserError: otherwise, with the nearest valid name.
    """
    names = list(choices)
    if value not in names:
        raise UserError(f"{key}={value} is unknown; choose one of: {', '.join(names)}.{nearest(str(value), names)}")
    return value  # type: ignore[no-any-return]


def check_number(
    key: str,
    value: Any,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    below: float = math.inf,
    at_most: float = math.inf,
) -> float:
    """Returns `value` as a float if it is a finite number within the bounds that are given.

    Raises:
        UserError: naming the key, the value and the range.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    number = number and abs(value) <= sys.float_info.max  # a whole number may be larger than any float; NaN is not
    if not number or value <= above or value < at_least or value >= below or value > at_most:
        bounds = [
            f"{word} {bound:g}"
            for word, bound in (("above", above), ("at least", at_least), ("below", below), ("at most", at_most))
            if math.isfinite(bound)
        ]
        raise UserError(f"{key}={value} is out of range; it must be a number {' and '.join(bounds)}".rstrip() + ".")
    return float(value)


def check_count(key: str, value: Any, *, at_least: int = 1, at_most: int | None = None) -> int:
    """Returns `value` if it is a whole number of at least `at_least`, and of at most `at_most` if that is given.

    Raises:
        UserError: otherwise.
    """
    fits = isinstance(value, int) and not isinstance(value, bool) and value >= at_least
    if not fits or (at_most is not None and value > at_most):
        wanted = f"of at least {at_least}" if at_most is None else f"from {at_least} to {at_most}"
        raise UserError(f"{key}={value} is out of range; it must be a whole number {wanted}.")
    return value  # type: ignore[no-any-return]


def check_flag(key: str, value: Any) -> bool:
    """Returns `value` if it is true or false.

    Raises:
        UserError: otherwise.
    """
    if not isinstance(value, bool):
        raise UserError(f"{key}={value} must be true or false.")
    return value


def check_keys(group: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuses keys a config group does not have.

    Raises:
        UserError: naming the first unknown key and the nearest known one.
    """
    names = list(known)
    for key in given:
        if key not in names:
            raise UserError(
                f"{group}.{key} is not a key of {group}; there are: {', '.join(names)}.{nearest(key, names)}"
            )
