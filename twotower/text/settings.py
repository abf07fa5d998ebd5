"""The config group `text` as our tokenizer takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from twotower.config.names import TOKENIZER
from twotower.config.settings import Settings
from twotower.core.errors import UserError
from twotower.core.validators import check_choice, check_count, check_flag
from twotower.text.stem import check_language

KINDS = ("words", "wordpiece")
SEGMENTATIONS = ("unicode", "icu", "plain")
"""`unicode` is what runs use, `icu` knows the words of scripts without blanks (`text.segment`); `plain` is how runs cut
texts before there was a choice, and what theirs still do."""
SHAPING = ("kind", "lowercase", "strip_accents", "split_identifiers", "stem", "segmentation")
"""The settings that, with the vocabulary, decide a text's ids; the others only decide the vocabulary."""


@dataclass(frozen=True, kw_only=True)
class TextSettings(Settings):
    """How texts become tokens.

    Attributes:
        kind: words or wordpiece.
        lowercase: whether capitals are made small.
        strip_accents: whether accents are taken off letters.
        split_identifiers: whether BatchNorm2d and snake_case are read as the words they are made of.
        stem: language of a Snowball stemmer; None keeps words whole.
        segmentation: unicode, icu or plain, see `SEGMENTATIONS`.
        min_frequency: a word seen less often is unknown.
        max_vocabulary: the most words kept, [PAD] and [UNK] included; None for no limit.
        vocabulary_file: a word list to use instead of counting.
    """

    GROUP: ClassVar[str] = "text"

    kind: str = "words"
    lowercase: bool = True
    strip_accents: bool = False
    split_identifiers: bool = True
    stem: str | None = None
    segmentation: str = "plain"
    min_frequency: int = 1
    max_vocabulary: int | None = 100_000
    vocabulary_file: str | None = None

    def __post_init__(self) -> None:
        check_choice("text.kind", self.kind, KINDS)
        check_choice("text.segmentation", self.segmentation, SEGMENTATIONS)
        check_counting(self.min_frequency, self.max_vocabulary)
        for key in ("lowercase", "strip_accents", "split_identifiers"):
            check_flag(f"text.{key}", getattr(self, key))
        if check_language("text.stem", self.stem) and self.kind == "wordpiece":
            raise UserError(
                f"text.stem={self.stem} needs whole words, and text.kind=wordpiece cuts them: set text.stem=null."
            )

    @property
    def lexical_stem(self) -> str:
        """Language of the stems that the lexical baseline reads beside plain words."""
        return self.stem or "english"


COUNTING = ("min_frequency", "max_vocabulary")
"""The settings of `text` that are not the part's own: they decide what becomes of the words it counts."""


@dataclass(frozen=True, kw_only=True)
class OwnTextSettings:
    """The config group `text` where it names somebody else's part.

    Attributes:
        part: the part with its own settings.
        min_frequency: a word seen less often is unknown.
        max_vocabulary: the most words kept, [PAD] and [UNK] included; None for no limit.
    """

    part: dict[str, Any]
    min_frequency: int = 1
    max_vocabulary: int | None = 100_000

    def __post_init__(self) -> None:
        check_counting(self.min_frequency, self.max_vocabulary)

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> OwnTextSettings:
        """Tells the part's own settings from those of the count.

        Raises:
            UserError: for one out of range.
        """
        counting = {key: config[key] for key in COUNTING if key in config}
        return cls(part={key: value for key, value in config.items() if key not in COUNTING}, **counting)

    @property
    def target(self) -> str:
        """What the group names by `_target_`."""
        return str(self.part["_target_"])

    @property
    def stem(self) -> None:
        """Its words are taken as it gives them, whatever it did to them."""
        return None

    @property
    def lexical_stem(self) -> str:
        """Language of the stems that the lexical baseline reads beside plain words."""
        return str(self.part.get("stem") or "english")

    def to_dict(self) -> dict[str, Any]:
        """Returns the group as plain data."""
        return {**self.part, **{key: getattr(self, key) for key in COUNTING}}


def check_counting(min_frequency: int, max_vocabulary: int | None) -> None:
    """Checks what decides which counted words are kept.

    Raises:
        UserError: for one out of range.
    """
    check_count("text.min_frequency", min_frequency)
    if max_vocabulary is not None:
        check_count("text.max_vocabulary", max_vocabulary, at_least=3)


AnyText = TextSettings | OwnTextSettings
"""The settings of our tokenizer, or of somebody else's part."""


def parse_text(config: Mapping[str, Any] | AnyText) -> AnyText:
    """Reads the `text` group.

    Raises:
        UserError: for a setting that is unknown or out of range.
    """
    if isinstance(config, AnyText):
        return config
    if config.get("_target_", TOKENIZER) == TOKENIZER:
        return TextSettings.parse({key: value for key, value in config.items() if key != "_target_"})
    return OwnTextSettings.parse(config)
