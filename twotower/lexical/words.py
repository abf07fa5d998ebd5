"""The words that BM25 counts: runs of word characters, and Unicode's words for scripts where that rule falls apart.

Words of one letter or digit count too, as they do in Lucene (bm25s leaves them out): "vitamin c", "type 2", the
language R. No combining mark is one of Python's word characters, which would cut Hindi and Khmer at every vowel, and
take a Chinese or Thai sentence for one word. Runs of such scripts are cut by the tokenizer instead; where no blank
parts words, every letter and every two neighbours count (as Lucene's CJK analyser does with `outputUnigrams`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from unicodedata import normalize

from twotower.text.segment import BLOCKS, CLUSTERS
from twotower.text.tokenizer import PAD, UNKNOWN, UNKNOWN_ID, Tokenizer

WORD = re.compile(r"\w+")
# Combining marks, and the blocks from Hebrew on without Latin, Greek and punctuation.
_OTHER = (
    "\u0300-\u036f\u0483-\u0489\u0590-\u1dff\u200b-\u200f\u2060\u20d0-\u20ff\u2de0-\u2dff\u2e80-\ua63f\ua66f-\ua69f"
    "\ua6a0-\ua6ff\ua800-\uab2f\uabc0-\ud7ff\uf900-\ufaff\ufb1d-\ufe0f\ufe20-\ufe2f\ufe70-\ufeff\uff66-\uffdc"
    "\U00010800-\U0001cfff\U0001e000-\U0001efff\U00020000-\U000323af"
)
MARK = re.compile(f"[{_OTHER}]")
OTHER = re.compile(rf"\w*[{_OTHER}][\w{_OTHER}]*")
UNSPACED = re.compile(f"[{BLOCKS}{CLUSTERS}]")


def falls_apart(texts: Iterable[str]) -> bool:
    """Returns whether any text holds a script that the rule of word characters cuts wrongly."""
    return any(MARK.search(text) for text in texts if not text.isascii())


def words_of(text: str) -> list[str]:
    """Returns the words of one text in order, of any script, in small letters, stop words included."""
    text = text.lower()
    if text.isascii() or not MARK.search(text):  # a tenth of the time of looking for whole runs
        return WORD.findall(text)
    text = normalize("NFC", text)
    words, end = [], 0
    for run in OTHER.finditer(text):
        words += WORD.findall(text[end : run.start()])
        words += _of_other_scripts(run[0])
        end = run.end()
    return words + WORD.findall(text[end:])


def _of_other_scripts(run: str) -> list[str]:
    words: list[str] = []
    before: tuple[str, int] | None = None
    for word, start, end in _cutter().token_spans(run):
        alone = bool(UNSPACED.match(word))
        if alone and before and before[1] == start:
            words.append(before[0] + word)
        if alone or word.isalnum() or len(word) > 1:
            words.append(word)
        before = (word, end) if alone else None
    return words


@cache
def _cutter() -> Tokenizer:
    return Tokenizer.from_vocabulary(
        {PAD: 0, UNKNOWN: UNKNOWN_ID}, {"segmentation": "unicode", "split_identifiers": False}
    )
