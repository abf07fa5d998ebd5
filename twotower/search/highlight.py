"""The part of a text that is worth showing for a query, and which words in it the query has too."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

COMMON = frozenset(
    (
        *("a", "an", "and", "are", "as", "at", "be", "by", "can", "do", "does", "for", "from", "how", "i", "if", "in"),
        *("into", "is", "it", "its", "me", "my", "of", "on", "or", "that", "the", "this", "to", "was", "what", "when"),
        *("where", "which", "who", "why", "will", "with", "you", "your"),
    )
)
"""Words too common to be worth a colour, unless a query has no others."""

ELLIPSIS = "…"
RULE = re.compile(r"([=~*#^_-])\1{2,}")
"""A line under a heading, as plain texts draw it: no words, and long."""


@dataclass(frozen=True, kw_only=True)
class Snippet:
    """A piece of a text, one line, with the spans [start, end) in it to highlight."""

    text: str
    spans: list[tuple[int, int]]

    def parts(self) -> list[tuple[str, bool]]:
        """Returns the text cut into (piece, highlighted?) in order; the pieces joined are the text."""
        pieces, at = [], 0
        for start, end in self.spans:
            pieces += [(self.text[at:start], False), (self.text[start:end], True)]
            at = end
        return [piece for piece in [*pieces, (self.text[at:], False)] if piece[0]]


Spans = Callable[[str], Iterable[tuple[str, int, int]]]
"""Gives the (word, start, end) of a text's words, as the tokenizer of the model does."""


def content_words(words: Iterable[str]) -> set[str]:
    """Returns the words worth highlighting: those that are not common, or all if there are no others."""
    chosen = {word for word in words if any(c.isalnum() for c in word)}
    return {word for word in chosen if word not in COMMON} or chosen


def snippet(text: str, words: Iterable[str], spans: Spans, *, width: int = 240) -> Snippet:
    """Cuts out the window of a text that holds most different query words, the earliest of the best ones.

    Args:
        text: the whole text; line breaks and runs of blanks become one blank, rules under headings are left out.
        words: the query's words.
        spans: finds the words of a text.
        width: most characters, marks of omission aside.
    """
    line = " ".join(word for word in text.split() if not RULE.fullmatch(word))
    wanted = content_words(words)
    spots = merge([(start, end) for word, start, end in spans(line) if word in wanted and end > start])
    named = [line[start:end].lower() for start, end in spots]
    start = _best_start(line, spots, named, width)
    stop = min(len(line), start + width)
    if stop < len(line) and (cut := line.rfind(" ", start + width // 2, stop)) > start:
        stop = cut
    before, after = ELLIPSIS if start else "", ELLIPSIS if stop < len(line) else ""
    shift = len(before) - start
    inside = [(max(a, start) + shift, min(b, stop) + shift) for a, b in spots if b > start and a < stop]
    return Snippet(text=before + line[start:stop] + after, spans=inside)


def marked(text: str, words: Iterable[str], spans: Spans) -> Snippet:
    """Highlights the query's words in a whole short text, such as a title."""
    wanted = content_words(words)
    return Snippet(text=text, spans=merge([(a, b) for word, a, b in spans(text) if word in wanted and b > a]))


def merge(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sorts spans and joins those that overlap."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _best_start(line: str, spots: list[tuple[int, int]], named: list[str], width: int) -> int:
    if len(line) <= width or not spots:
        return 0
    ends = [end for _, end in spots]
    best, best_start = -1, 0
    for number, (start, _) in enumerate(spots[:200]):
        last = bisect.bisect_right(ends, start + width)
        score = len(set(named[number:last]))
        if score > best:
            best, best_start = score, start
    lead = max(0, best_start - width // 6)
    return 0 if lead == 0 else line.find(" ", lead, best_start) + 1 or best_start
