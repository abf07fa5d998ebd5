"""Words of scripts without blanks, by ICU's dictionaries: Thai, Lao, Khmer, Burmese, Chinese, Japanese.

The rest of the tokenizer cuts at blanks, so a blank is put between the words that ICU finds; other text stays as it is.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from twotower.core.extras import missing

SCRIPTS = ("Thai", "Lao", "Khmer", "Myanmar", "Han", "Hiragana", "Katakana")
"""The scripts that ICU has dictionaries for, as regular expressions of the Rust tokenizer name them."""
BLOCKS = (
    "\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f\u1780-\u17ff\u19e0-\u19ff"
    "\u2e80-\u2fdf\u3005\u3007\u3021-\u3029\u3038-\u303b\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U000323af"
)
"""The code points of those scripts, as a character class of `re` lists them."""
CLUSTERS = (
    "\u1950-\u19df\u1a00-\u1aaf\u1b00-\u1b7f\u1bc0-\u1bff\u3100-\u312f\u31a0-\u31bf\ua000-\ua4cf\ua930-\ua9df\uaa80-\uaadf"
    "\U00011700-\U0001174f\U00011ee0-\U00011f5f\U00012000-\U0001254f\U00013000-\U0001345f\U00014400-\U0001467f"
    "\U00016fe0-\U00018dff\U0001aff0-\U0001b2ff"
)
"""The code points of the other scripts without blanks, which no dictionary cuts (`twotower.text.pipeline.SCRIPTS`)."""
# Zero-width spaces stand where Khmer and Thai writers part words themselves.
RUN = re.compile(f"[{BLOCKS}][{BLOCKS}\u200b-\u200d]*")


class Segmenter:
    """Puts blanks between the words of texts in scripts without them.

    Raises:
        MissingPackageError: when icu4py is not installed.
    """

    def __init__(self) -> None:
        try:
            from icu4py.breakers import WordBreaker
        except ImportError as error:
            raise missing("text.segmentation=icu", "icu4py") from error
        self._breaker = WordBreaker

    def texts(self, texts: Sequence[str]) -> list[str]:
        """Returns the texts with their words parted."""
        return [self.text(text) for text in texts]

    def text(self, text: str) -> str:
        """Returns one text with its words parted: a blank before and after every word of these scripts."""
        return text if text.isascii() else RUN.sub(lambda run: f" {' '.join(self._words(run[0]))} ", text)

    def _words(self, run: str) -> list[str]:
        return list(self._breaker(run, "en"))  # ICU chooses the dictionary by script, whatever the locale

    def parted(self, text: str) -> tuple[str, Positions]:
        """Returns one text with its words parted, and how places in that are places in the text as it came."""
        inserted: list[int] = []
        for run in [] if text.isascii() else RUN.finditer(text):
            ends = [run.start() + length for length in accumulate(map(len, self._words(run[0])), initial=0)]
            inserted += ends
        pieces = [text[start:end] for start, end in zip([0, *inserted], [*inserted, len(text)], strict=True)]
        return " ".join(pieces), Positions(inserted)


class Positions:
    """Places in a text that blanks were put into, as places in the text without them.

    Args:
        inserted: where the blanks went, places in the text without them, rising.
    """

    def __init__(self, inserted: Sequence[int]) -> None:
        self._blanks = [place + number for number, place in enumerate(inserted)]

    def __call__(self, place: int) -> int:
        """Returns where a place in the text with blanks stands in the one without."""
        return place - bisect_left(self._blanks, place)
