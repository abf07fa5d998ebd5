"""What kind of thing stands under each key of a config, looked at before anything reads it.

A group that was replaced by a number, or taken out, is named with the way to write it, instead of failing wherever it
happens to be read first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from twotower.core.errors import UserError, in_one_line

GROUPS = ("callbacks", "data", "embedding", "evaluation", "loss", "model", "optimizer", "scheduler", "text", "trainer")
"""Groups that every run needs."""
MAPPINGS = ("data.source", "data.negatives", "paths")
SEVERAL = ("callbacks", "index", "logger")
"""Groups whose members are mappings of their own; null takes a member out."""
OPTIONAL = ("index", "logger", "sweep")
NEEDED = {
    "callbacks.early_stopping": ("monitor", "patience", "mode"),
    "data": ("source", "train_split", "eval_split", "batch_size", "max_query_length", "max_document_length"),
    "evaluation": ("protocols", "objective", "k", "max_memory", "bm25", "confidence", "resamples"),
    "optimizer": ("lr",),
    "paths": ("run",),
    "trainer": ("max_epochs",),
}
"""Keys that are read without a default."""
TEXTS = ("run_name", "ckpt_path", "data.train_split", "data.eval_split", "evaluation.objective", "paths.run")


def check_shape(config: Any) -> None:
    """Refuses a config in which something else stands where a group, a list or a text is needed.

    Args:
        config: the full resolved config, plain data.

    Raises:
        UserError: naming the key, what stands there and how to write it.
    """
    if not isinstance(config, Mapping):
        raise UserError(f"The config is {_kind(config)}, not a mapping of groups.")
    for key in (*GROUPS, *MAPPINGS, *OPTIONAL):
        value = _at(config, key)
        if value is None and (key in OPTIONAL or key == "data.negatives"):
            continue
        if not isinstance(value, Mapping):
            raise UserError(f"{key}={_shown(value)}: {key} is a group of settings. {_way_out(key, value)}")
    for group in SEVERAL:
        for name, value in (config.get(group) or {}).items():
            if value is not None and not isinstance(value, Mapping):
                way_out = f"set one of its keys, as in {group}.{name}.KEY=..., or take it out: ~{group}.{name}."
                raise UserError(f"{group}.{name}={_shown(value)}: it is a mapping of settings; {way_out}")
    _check_needed(config)
    for key in TEXTS:
        value = _at(config, key)
        if not isinstance(value, (str, type(None))):
            raise UserError(f"{key}={_shown(value)} is {_kind(value)}; a text is needed.")
    tags = config.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, (str, int, float)) for tag in tags):
        raise UserError(f"tags={_shown(config['tags'])} must be a list of words, as in tags=[first,baseline].")


def _check_needed(config: Mapping[str, Any]) -> None:
    for group, keys in NEEDED.items():
        settings = _at(config, group)
        for key in keys if isinstance(settings, Mapping) else ():
            if key not in settings:
                raise UserError(f"{group}.{key} is missing; every run needs it. Leave ~{group}.{key} out.")
    if "seed" not in config:
        raise UserError("seed is missing; every run needs one. Leave ~seed out.")


@contextmanager
def checking(what: str) -> Iterator[None]:
    """Names the part of a config in whose check a value of the wrong kind, or a missing one, was met.

    Args:
        what: a group's key.

    Raises:
        UserError: in place of a KeyError, TypeError, AttributeError or ValueError without a key's name.
    """
    try:
        yield
    except UserError:
        raise
    except KeyError as error:
        raise UserError(f"{what} lacks the key {error.args[0]!s}.") from error
    except (TypeError, AttributeError, ValueError, ArithmeticError, IndexError) as error:
        problem = in_one_line(error, limit=200)
        raise UserError(f"{what} holds a value of the wrong kind: {problem}.") from error


def _at(config: Mapping[str, Any], key: str) -> Any:
    node: Any = config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def _way_out(key: str, value: Any) -> str:
    if value is None:
        return f"It was taken out or emptied; every run needs it. Leave ~{key} out."
    if "." in key:
        return f"Set one of its keys, as in {key}.KEY=..."
    return f"Choose one of conf/{key}, as in {key}=NAME, or set one of its keys, as in {key}.KEY=..."


def _kind(value: Any) -> str:
    return "null" if value is None else f"a {type(value).__name__}"


def _shown(value: Any) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
