"""Words that were met before need no tokenizing: the Rust tokenizer sees every distinct word once.

Neither kind of tokenizer looks further than from one space to the next, so the ids of a text are those of its words,
one after the other. Texts are cut into words by one regular expression, many at once, words are looked up in a dict,
and the rest is array operations; on English text this takes a fifth of the time of tokenizing every word anew.

Shapes: N texts, W words of all texts, T tokens of all texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import chain, repeat

import numpy as np

from twotower.core.ragged import ranges, to_offsets

END = "\x00"
"""Stands between texts; no text that comes here holds it."""
ASCII_RUN, ASCII_MARK = "[A-Za-z0-9]+", r"[!-/:-@\[-`{-~]"
ODD = re.compile("[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\u180e\u2060-\u206f\ufeff\ufff0-\uffff]")
"""Characters that the tokenizers and Python do not agree to call space or nothing: such texts take the long way."""
MOST_WORDS = 1_000_000
"""Words remembered before all are forgotten, so that memory stays bounded on any amount of text."""

Encode = Callable[[list[str]], list[list[int]]]


class WordMemo:
    """Encodes texts by looking words up.

    Args:
        encode: the tokenizer: ids of each of several texts.
        wordpiece: whether punctuation marks are tokens.
        whole_identifiers: whether dots, dashes and underscores join words (of the kind that has no punctuation).
    """

    def __init__(self, encode: Encode, *, wordpiece: bool, whole_identifiers: bool) -> None:
        self._encode = encode
        ascii_word = f"{ASCII_RUN}|{ASCII_MARK}" if wordpiece else ASCII_RUN
        if whole_identifiers and not wordpiece:
            ascii_word = rf"{ASCII_RUN}(?:[_.\-]+{ASCII_RUN})*"
        self._ascii = re.compile(f"{ascii_word}|{END}")
        self._any = re.compile(rf"[^\s{END}]+|{END}")
        self._forget()

    def _forget(self) -> None:
        self._number: dict[str, int] = {END: 0}
        self._flat, self._offsets = np.zeros(0, dtype=np.int32), np.zeros(2, dtype=np.int64)

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the ids of all texts (int32 [T]) and how many each has (int64 [N])."""
        kind_N = np.fromiter(map(_kind, texts), dtype=np.int8, count=len(texts))
        parts, lengths_N = [], np.zeros(len(texts), dtype=np.int64)
        order = []
        for kind in range(3):
            rows = np.flatnonzero(kind_N == kind)
            if len(rows):
                chosen = [texts[row] for row in rows.tolist()]
                if kind == 2:
                    ids_T, lengths_N[rows] = _flatten(self._encode(chosen))
                else:
                    ids_T, lengths_N[rows] = self._lookup(chosen, (self._ascii, self._any)[kind])
                parts.append(ids_T)
                order.append(rows)
        if len(parts) <= 1:
            return (parts[0] if parts else np.zeros(0, dtype=np.int32)), lengths_N
        # put the three kinds back into the order of the texts
        ids_T, row_N = np.concatenate(parts), np.concatenate(order)
        starts_N = np.empty(len(texts), dtype=np.int64)
        starts_N[row_N] = to_offsets(lengths_N[row_N])[:-1]
        return ids_T[ranges(starts_N, lengths_N)], lengths_N

    def _lookup(self, texts: list[str], word: re.Pattern[str]) -> tuple[np.ndarray, np.ndarray]:
        words = word.findall(END.join([*texts, ""]))
        if len(self._number) > MOST_WORDS:
            self._forget()
        number_W = np.fromiter(map(self._number.get, words, repeat(-1)), dtype=np.int32, count=len(words))
        if len(unknown := np.flatnonzero(number_W < 0)):
            new = [words[at] for at in unknown.tolist()]
            self._learn(list(dict.fromkeys(new)))
            number_W[unknown] = np.fromiter(map(self._number.__getitem__, new), dtype=np.int32, count=len(new))
        count_W = np.diff(self._offsets)[number_W]
        ids_T = self._flat[ranges(self._offsets[number_W], count_W)]
        ends_N = np.flatnonzero(number_W == 0)
        return ids_T, np.diff(to_offsets(count_W)[ends_N], prepend=0)

    def _learn(self, words: list[str]) -> None:
        known = len(self._offsets) - 1
        self._number.update(zip(words, range(known, known + len(words)), strict=True))
        flat, lengths = _flatten(self._encode(words))
        self._flat = np.concatenate([self._flat, flat])
        self._offsets = np.concatenate([self._offsets, self._offsets[-1] + to_offsets(lengths)[1:]])


def _kind(text: str) -> int:
    """0 for plain ASCII, 1 for other text, 2 for text with characters that are neither letters nor space."""
    if ODD.search(text):
        return 2
    return 0 if text.isascii() else 1


def _flatten(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    lengths_N = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    return np.fromiter(chain.from_iterable(rows), dtype=np.int32, count=int(lengths_N.sum())), lengths_N
