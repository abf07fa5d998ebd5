"""Ways to damage files: bytes changed, cut or added, and values of nested data exchanged for others."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from twotower.core.errors import UserError

VALUES: list[Any] = [None, True, -1, 0, 7, 10**12, 0.5, float("nan"), "", "x", "../x", [], [1], {}, {"a": 1}, "9" * 50]


def mutated_bytes(data: bytes, chance: random.Random) -> bytes:
    """Returns the bytes with one damage of a random kind."""
    at, kind = chance.randrange(len(data)), chance.randrange(6)
    length = chance.choice([1, 4, 64])
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + bytes(length) + data[at + length :]
    if kind == 2:
        return data[:at] + chance.randbytes(length) + data[at:]
    if kind == 3:
        return data[:at] + data[at + length :]
    damaged = bytearray(data)
    for _ in range(length):
        damaged[chance.randrange(len(data)) if kind == 4 else min(at, len(data) - 1)] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def places(value: Any, key: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the way to every value in nested dicts and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield (*key, name)
        yield from places(item, (*key, name))


def mutated_values(value: Any, chance: random.Random, extra: list[Any] | None = None) -> Any:
    """Returns a deep copy of nested data with one value exchanged, taken away, or added."""
    damaged = copy.deepcopy(value)
    ways = [way for way in places(damaged) if len(way) < 5 or chance.random() < 0.02]
    way = chance.choice(ways)
    node = damaged
    for name in way[:-1]:
        node = node[name]
    if chance.random() < 0.2:
        del node[way[-1]]
    else:
        node[way[-1]] = chance.choice(VALUES + (extra or []))
    return damaged


class Tally:
    """Counts what became of the cases: refused in one line, fine, or an exception of another kind."""

    def __init__(self) -> None:
        self.cases = self.refused = self.fine = 0
        self.escaped: list[str] = []

    def run(self, what: str, action: Callable[[], Any]) -> bool:
        """Runs one case; returns whether it went through."""
        self.cases += 1
        try:
            action()
        except UserError as error:
            self.refused += 1
            if "\n" in str(error):
                self.escaped.append(f"{what}: more than a line: {error}")
            return False
        except Exception as error:
            place = error.__traceback__
            while place is not None and place.tb_next is not None:
                place = place.tb_next
            where = f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}" if place else "?"
            self.escaped.append(f"{what}: {type(error).__name__}: {str(error)[:120]} ({where})")
            return False
        self.fine += 1
        return True

    def __str__(self) -> str:
        return f"{self.cases} cases: {self.refused} refused, {self.fine} fine, {len(self.escaped)} tracebacks"
