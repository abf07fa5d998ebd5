"""Reading line-based data files so that every complaint names the file and the line."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twotower.core.errors import UserError, nearest
from twotower.core.packed import ENDINGS, READ_ERRORS, open_packed

BLANKS = " \t\u00a0\u2002\u2003\u2009\u202f\u3000\u200b\u2060\ufeff"
"""Blanks, and characters that show nothing, around an id that are no part of it, wherever ids are read."""

Place = tuple[Path, int]
"""A file and a line number in it, counted from 1."""
Row = tuple[Place, dict[str, Any]]
"""A row of a table with its place."""


def complain(place: Place, message: str) -> UserError:
    """Returns (for raising) the error that names file, line and what is wrong there."""
    return UserError(f"{place[0]}:{place[1]}: {message}")


def find_file(folder: Path, name: str) -> Path | None:
    """Returns `folder/name`, or its packed form (`name.gz`, ...), or None."""
    return next((path for end in ("", *ENDINGS) if (path := folder / f"{name}{end}").is_file()), None)


def read_lines(path: Path, *, blank: str = "refuse") -> Iterator[tuple[Place, str]]:
    """Yields each line with its place, the line end removed; empty lines at the end of the file are passed over.

    Args:
        path: the file, packed or not.
        blank: `keep` yields empty lines too, which belong to a quoted field.

    Raises:
        UserError: for a missing file, a line that is not UTF-8, an empty line with data after it, or damage.
    """
    empty_at = 0
    number = 0
    try:
        with open_packed(path) as file:
            for number, raw in enumerate(file, start=1):
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                if not line.strip() and blank == "refuse":
                    empty_at = empty_at or number
                    continue
                if empty_at:
                    raise complain((path, empty_at), "empty line in the middle of the data.")
                yield (path, number), line
    except UnicodeDecodeError as error:
        coding = "it looks like UTF-16; " if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else ""
        reason = f"not UTF-8 text ({error.reason} at byte {error.start}); {coding}convert it to UTF-8"
        raise complain((path, number), f"{reason}.") from error
    except READ_ERRORS as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path}: cannot be read after line {number}: {reason}.") from error


def read_objects(path: Path, *, lists: bool = False) -> Iterator[Row]:
    """Yields each line of a JSON-lines file as a dict with its place.

    Args:
        path: the file.
        lists: a line may be a list too; it comes as {"": the list}.

    Raises:
        UserError: for a line that is not a JSON object, besides what `read_lines` raises.
    """
    for place, line in read_lines(path):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            several = ": a list over several lines? Such a file's name ends in .json" if line.strip() == "[" else ""
            raise complain(place, f"not valid JSON ({error}){several}.") from error
        if lists and isinstance(value, list):
            value = {"": value}
        elif not isinstance(value, dict):
            raise complain(place, f"expected a JSON object, found {type(value).__name__}.")
        yield place, value


def take_id(value: dict[str, Any], key: str, place: Place) -> str:
    """Returns an id as text; whole numbers are taken as they are written, blanks around it are no part of it.

    Raises:
        UserError: when it is missing, empty, neither text nor a whole number, or holds a control character.
    """
    content = value.get(key)
    content = content.strip(BLANKS) if isinstance(content, str) else content
    if isinstance(content, bool) or not isinstance(content, (str, int)) or content == "":
        raise complain(place, f"needs '{key}', a text that is not empty; found {shown(content)}.{_instead(value, key)}")
    item = clean(str(content), key, place)
    if not is_one_line(item):
        raise complain(place, f"'{key}' holds a control character, which no id may: {shown(item)}.")
    return item


def take_text(value: dict[str, Any], key: str, place: Place, default: str | None = None) -> str:
    """Returns a text field; a default stands in where the field is missing or null.

    Raises:
        UserError: when it is not text, or missing without a default.
    """
    content = value.get(key)
    if content is None and default is not None:
        return default
    if not isinstance(content, str):
        raise complain(place, f"needs '{key}', a text; found {shown(content)}.{_instead(value, key)}")
    return clean(content, key, place)


def _instead(value: dict[str, Any], key: str) -> str:
    """Returns what a row without a key holds in its place, for a message."""
    if key in value:
        return ""
    names = [str(name) for name in value]
    there = ", ".join(names)[:200]
    return f" It has: {there}.{nearest(key, names)} data.source.columns={{{key}: NAME}} names the column meant."


def clean(text: str, key: str, place: Place) -> str:
    """Returns a text that can be written as UTF-8.

    Raises:
        UserError: for half of a surrogate pair, which JSON can hold and UTF-8 cannot.
    """
    if not is_utf8(text):
        raise complain(place, f"'{key}' holds half of a surrogate pair, which is no text.")
    return text


def is_utf8(text: str) -> bool:
    """Says whether a text can be written as UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def is_one_line(item: str) -> bool:
    """Says whether an id is free of control characters and line ends, which break tables and steer terminals."""
    return item.isprintable() or not any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in item)


def take_number(text: str, what: str, place: Place) -> float:
    """Returns a finite number.

    Raises:
        UserError: when the text is not one.
    """
    number = to_number(text)
    if number is None:
        raise complain(place, f"{what} must be a number; found {shown(text)}.")
    return number


def to_number(text: str) -> float | None:
    """Returns a finite number, or None where the text is not one."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def shown(value: Any) -> str:
    """Returns a value as it is put into a message, cut short."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
