"""How hard a search looks for so many hits: a value of `efSearch` or `nprobe` for each depth, found when tuning.

An index tuned for ten hits misses half of a thousand: effort grows with what is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from twotower.core.errors import UserError

FIRST = 10
"""The depth that an index tuned before depths were told apart was tuned for."""
CANDIDATES, MOST_CANDIDATES = 4, 32
"""Hits that are scored again from the original vectors for each that is asked for: usually, and at most when tuning."""


class Level(NamedTuple):
    """A depth, and what is enough for it: a value of the search parameter, and the hits scored again for each."""

    k: int
    value: int
    candidates: int = CANDIDATES


def value_for(levels: Sequence[Level], k: int, most: int) -> int:
    """Returns the value for k hits: that of the next depth, beyond the last one in proportion.

    Args:
        levels: ascending depths, at least one.
        k: how many hits are asked for.
        most: the largest value that still finds more.
    """
    value = next((level.value for level in levels if k <= level.k), None)
    if value is None:
        last = levels[-1]
        value = -(-last.value * k // last.k)
    return min(most, value)


def candidates_for(levels: Sequence[Level], k: int) -> int:
    """Returns how many hits are scored again for each of k, as the next depth asks, or the last one."""
    return next((level.candidates for level in levels if k <= level.k), levels[-1].candidates if levels else CANDIDATES)


def read_levels(content: Any, where: object) -> list[Level]:
    """Reads what a build wrote down, in its present form or as one value for ten hits.

    Raises:
        UserError: when it is neither.
    """
    try:
        pairs = content.get("levels") or ([[FIRST, content["value"]]] if content["value"] else [])
        levels = [Level(*pair) for pair in pairs]
        if not all(type(item) is int and item >= 1 for level in levels for item in level):
            raise TypeError("not whole numbers above 0")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{where} is damaged ({error}). Build the index again.") from error
    return sorted(levels)
