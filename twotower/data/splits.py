"""Dividing queries into splits by a hash of their text, so that the same query is always on the same side."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from twotower.core.errors import UserError


def check_shares(shares: dict[str, float]) -> None:
    """Raises UserError unless the shares are above 0 and sum to 1."""
    numbers = [share for share in shares.values() if isinstance(share, (int, float)) and share > 0]
    if not shares or len(numbers) < len(shares) or abs(sum(numbers) - 1) > 1e-6:
        raise UserError(f"data.source.splits={shares}: shares must be above 0 and sum to 1.")


def fraction(key: str, seed: int) -> float:
    """Returns a number from 0 to 1 that depends on key and seed alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8], "big") / 2**64


def split_of(key: str, shares: dict[str, float], seed: int) -> str:
    """Returns the split in whose share the fraction of a key falls."""
    place, total = fraction(key, seed), 0.0
    for name, share in shares.items():
        total += share
        if place < total:
            return name
    return list(shares)[-1]


def divide(
    keys: Sequence[str], shares: dict[str, float], seed: int, same: Callable[[str], str] = str
) -> dict[str, str]:
    """Assigns distinct keys to splits in the exact shares (each split gets one at least, if there are enough keys).

    Args:
        keys: what to divide.
        shares: of each split.
        seed: another number gives another division.
        same: keys for which this gives the same stay on one side; the first of them speaks for all.
    """
    first: dict[str, str] = {}
    speaker = {key: first.setdefault(same(key), key) for key in keys}
    sides = _divide(set(first.values()), shares, seed)
    return {key: sides[speaker[key]] for key in speaker}


def _divide(keys: set[str], shares: dict[str, float], seed: int) -> dict[str, str]:
    ordered = sorted(keys, key=lambda key: (fraction(key, seed), key))
    names = list(shares)
    sizes = [max(1, round(share * len(ordered))) for share in shares.values()]
    sizes[sizes.index(max(sizes))] += len(ordered) - sum(sizes)
    assigned: dict[str, str] = {}
    for name, size in zip(names, sizes, strict=True):
        assigned |= dict.fromkeys(ordered[len(assigned) : len(assigned) + max(size, 0)], name)
    return assigned
