"""From the `text` config group to a tokenizer: ours, or one around somebody else's way to split texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twotower.config.names import TOKENIZER
from twotower.config.trust import admit
from twotower.text import pipeline
from twotower.text.tokenizer import Tokenizer


def train_tokenizer(texts: Sequence[str], config: dict[str, Any]) -> Tokenizer:
    """Makes a tokenizer with a vocabulary from texts.

    Args:
        texts: documents and training queries.
        config: the `text` group.

    Raises:
        UserError: for a setting that is unknown or out of range, or a part that does not split texts.
    """
    kind, settings = _kind(config)
    return kind.train_cached(texts, settings)


def restore_tokenizer(word_to_index: dict[str, int], config: dict[str, Any], *, source: Any) -> Tokenizer:
    """Rebuilds a tokenizer from what a checkpoint stores.

    Args:
        word_to_index: its vocabulary.
        config: the `text` group of the run that made it.
        source: the file both were read from.

    Raises:
        UserError: as `train_tokenizer`, and for a part that is not trusted.
    """
    admit(config, source=source, place="text")
    kind, settings = _kind(config)
    return kind.from_vocabulary(word_to_index, settings)


def check_text(config: dict[str, Any]) -> None:
    """Checks the `text` group.

    Raises:
        UserError: as `train_tokenizer`.
    """
    kind, settings = _kind(config)
    if kind is Tokenizer:
        pipeline.check_config(settings)
        return
    from twotower.text.own import build_splitter, counting_of

    counting_of(settings)
    build_splitter(settings)


def _kind(config: dict[str, Any]) -> tuple[type[Tokenizer], dict[str, Any]]:
    if config.get("_target_", TOKENIZER) == TOKENIZER:
        return Tokenizer, {key: value for key, value in config.items() if key != "_target_"}
    from twotower.text.own import OwnTokenizer

    return OwnTokenizer, config
