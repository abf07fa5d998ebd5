"""Sizes such as "2GiB" in a config, turned into bytes."""

from __future__ import annotations

import re

from twotower.core.errors import UserError

_UNITS = {"": 1, "b": 1, "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9, "t": 10**12}
_UNITS |= {"tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_FORM = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*([a-zA-Z]*)\s*")


def parse_size(value: str | int | float, key: str = "evaluation.max_memory") -> int:
    """Returns a size in bytes.

    Args:
        value: a number of bytes, or a number with a unit: "512MiB", "2GiB", "1.5 GB".
        key: the config key the value came from, for the message.

    Raises:
        UserError: for anything else, or a size below 1 MiB (too little for any block of scores).

    Example:
        >>> parse_size("2GiB")
        2147483648
    """
    form = _FORM.fullmatch(str(value))
    if form is None or form[2].lower() not in _UNITS:
        raise UserError(f"{key}={value} is not a size; write a number with a unit, such as 512MiB or 2GiB.")
    size = int(float(form[1]) * _UNITS[form[2].lower()])
    if size < 2**20:
        raise UserError(f"{key}={value} is {size} bytes, too little to rank anything; give at least 1MiB.")
    return size
