"""One group of the config as its room takes it: read once from plain data, then a dataclass with types and checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, ClassVar, Self

from twotower.core.errors import UserError
from twotower.core.validators import check_keys


class Settings:
    """The base of a room's settings, each a frozen dataclass whose fields are the keys of a config group.

    A field's type and the checks in `__post_init__` are the only ones of that key. A default is what a record from
    before there was that key meant, and what Python callers may leave out; runs take their values from conf/.
    """

    GROUP: ClassVar[str]

    @classmethod
    def parse(cls, config: Mapping[str, Any] | Self) -> Self:
        """Reads a config group; settings that are read already come back as they are.

        Raises:
            UserError: for an unknown key or a value out of range.
        """
        if isinstance(config, cls):
            return config
        if not isinstance(config, Mapping):
            raise UserError(f"{cls.GROUP}={config} is a group of settings; set one of its keys: {cls.GROUP}.KEY=...")
        check_keys(cls.GROUP, config, [item.name for item in fields(cls)])  # type: ignore[arg-type]
        return cls(**config)

    @classmethod
    def recorded(cls, config: Mapping[str, Any]) -> Self:
        """Reads a group out of a file; keys of a later version, which this one has no use for, are left out."""
        known = {item.name for item in fields(cls)}  # type: ignore[arg-type]
        return cls(**{key: value for key, value in config.items() if key in known})

    def to_dict(self) -> dict[str, Any]:
        """Returns the group as plain data, every key with its value."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]
