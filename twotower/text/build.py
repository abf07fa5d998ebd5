"""From the `text` config group to a tokenizer: ours, or one around somebody else's way to split texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twotower.config.trust import admit
from twotower.text.own import OwnTokenizer, build_splitter
from twotower.text.settings import AnyText, TextSettings, parse_text
from twotower.text.tokenizer import Tokenizer

# `text.own` is imported where it is needed: it brings Hydra's config library, which searching does without.


def train_tokenizer(
    texts: Sequence[str], config: Mapping[str, Any] | AnyText, *, documents: int = 0, max_length: int | None = None
) -> Tokenizer:
    """Makes a tokenizer with a vocabulary from texts.

    Args:
        texts: documents and training queries.
        config: the `text` group.
        documents: how many of the texts are documents; see `Tokenizer.train_cached`.
        max_length: the most tokens that will be kept of a document.

    Raises:
        UserError: for a setting that is unknown or out of range, or a part that does not split texts.
    """
    settings = parse_text(config)
    kind = Tokenizer if isinstance(settings, TextSettings) else OwnTokenizer
    return kind.train_cached(texts, settings, documents=documents, max_length=max_length)  # type: ignore[arg-type]


def restore_tokenizer(word_to_index: dict[str, int], config: Mapping[str, Any], *, source: Any) -> Tokenizer:
    """Rebuilds a tokenizer from what a checkpoint stores.

    Args:
        word_to_index: its vocabulary.
        config: the `text` group of the run that made it.
        source: the file both were read from.

    Raises:
        UserError: as `train_tokenizer`, and for a part that is not trusted.
    """
    admit(config, source=source, place="text")
    settings = parse_text(config)
    if isinstance(settings, TextSettings):
        return Tokenizer(word_to_index=word_to_index, settings=settings)

    return OwnTokenizer(word_to_index=word_to_index, settings=settings)


def check_text(settings: AnyText) -> None:
    """Tries a part of somebody else's; our own settings are checked as they are read.

    Raises:
        UserError: as `train_tokenizer`.
    """
    if not isinstance(settings, TextSettings):
        build_splitter(settings)
