"""From `data.source` to a collection: one of our readers, or anybody's function that returns a `Collection`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twotower.config.instantiate import instantiate
from twotower.core.errors import UserError
from twotower.data.collection import Collection


def read_collection(settings: Mapping[str, Any]) -> Collection:
    """Calls what `data.source` names with its settings.

    Raises:
        UserError: for a setting it does not take, data it can't read, or when it returns anything but a `Collection`.
    """
    collection = instantiate(settings, "data.source")
    if not isinstance(collection, Collection):
        raise UserError(
            f"data.source._target_={settings.get('_target_')} gave a {type(collection).__name__}, not a "
            "twotower.data.collection.Collection; docs/own_parts.md shows one."
        )
    return collection
