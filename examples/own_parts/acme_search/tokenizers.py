"""Character n-grams: no word is unknown, and misspelt ones share most of their pieces."""

from __future__ import annotations

import re


class Ngrams:
    """Words cut into overlapping pieces of `size` characters, with a mark at either end.

    Args:
        size: characters of a piece.
    """

    def __init__(self, *, size: int = 4) -> None:
        if size < 2:
            raise ValueError(f"size={size} must be at least 2")
        self.size = size

    def split(self, text: str) -> list[str]:
        """Returns the pieces of a text in their order; a word shorter than a piece is one."""
        pieces = []
        for word in re.findall(r"\w+", text.casefold()):
            marked = f"<{word}>"
            pieces += [marked[at : at + self.size] for at in range(max(1, len(marked) - self.size + 1))]
        return pieces
