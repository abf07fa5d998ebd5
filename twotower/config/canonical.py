"""One spelling for configs that say the same: records of earlier versions name parts by short names alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twotower.config.names import EMBEDDINGS, MODULE, SCHEDULERS, TOKENIZER, TOWERS
from twotower.core.nested import at

USUAL = {"model": MODULE, "text": TOKENIZER}
"""The part of a group whose config names none."""


def canonical(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config as its shortest spelling: usual parts unnamed, towers of ours by their short names.

    Two configs of the same meaning have the same canonical form, whichever version composed them.
    """
    result = dict(config)
    named = {
        "scheduler": SCHEDULERS.get(str(at(config, "scheduler.name"))),
        "embedding": EMBEDDINGS.get(str(at(config, "embedding.kind"))),
    }
    for group, target in {**USUAL, **named}.items():
        if isinstance(result.get(group), Mapping) and result[group].get("_target_") == target:
            result[group] = {key: value for key, value in result[group].items() if key != "_target_"}
    if isinstance(result.get("model"), Mapping):
        result["model"] = {key: _short(value) for key, value in result["model"].items()}
    return result


def _short(value: Any) -> Any:
    names = {target: name for name, target in TOWERS.items()}
    alone = isinstance(value, Mapping) and set(value) == {"_target_"}
    return names.get(value["_target_"], value) if alone else value
