"""Typed readers of what lies on disk: right in kind, or refused in one line that names file, place and what was there.

A shape says what plain data must be like: a type, a tuple of types, `[shape]` for a list of such, `{"key": shape}` for
a dict with that key (`"key?"` where it may be missing or null; others may be there as well), `Each(shape)` for a dict
whose values are all alike. A bool is no int, an int is a float.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twotower.core.errors import UserError, first_line
from twotower.core.files import read_json
from twotower.core.finite import all_finite

WRITE_AGAIN = "it is damaged or not one of ours"
WORDS = {dict: "a dict", list: "a list", str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


@dataclass(frozen=True)
class Each:
    """The shape of a dict with any text keys, whose values all have one shape."""

    shape: Any


def conform(value: Any, shape: Any, where: str) -> Any:
    """Returns `value` if it has a shape.

    Args:
        value: plain data out of a file.
        shape: see above.
        where: the file, which begins the message.

    Raises:
        UserError: naming the first place that is otherwise.
    """
    if problem := _problem(value, shape, ""):
        raise UserError(f"{where}: {problem}; {WRITE_AGAIN}.")
    return value


def _problem(value: Any, shape: Any, key: str) -> str | None:
    if isinstance(shape, Mapping):
        if not isinstance(value, Mapping):
            return f"{key or 'it'} is {_named(value)}, not a dict"
        for name, inner in shape.items():
            plain, place = name.removesuffix("?"), f"{key}.{name.removesuffix('?')}" if key else name.removesuffix("?")
            if value.get(plain) is None and name.endswith("?"):
                continue
            if plain not in value:
                return f"it lacks {place}"
            if problem := _problem(value[plain], inner, place):
                return problem
        return None
    if isinstance(shape, (Each, list)):
        kind = Mapping if isinstance(shape, Each) else Sequence
        if not isinstance(value, kind) or isinstance(value, (str, bytes)):
            return f"{key or 'it'} is {_named(value)}, not a {'dict' if kind is Mapping else 'list'}"
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        inner = shape.shape if isinstance(shape, Each) else shape[0]
        if isinstance(shape, Each) and not all(isinstance(name, str) for name in value):
            return f"{key or 'it'} has a key that is no text"
        return next((fault for name, item in items if (fault := _problem(item, inner, f"{key}.{name}"))), None)
    kinds = shape if isinstance(shape, tuple) else (shape,)
    return None if _is_one(value, kinds) else f"{key or 'it'} is {_named(value)}, not {_kinds(kinds)}"


def _is_one(value: Any, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in kinds or object in kinds
    if isinstance(value, int) and float in kinds:
        return True
    return isinstance(value, kinds)


def _kinds(kinds: tuple[type, ...]) -> str:
    return " or ".join(WORDS.get(kind, "null" if kind is type(None) else kind.__name__) for kind in kinds)


def _named(value: Any) -> str:
    if value is None or isinstance(value, (bool, int, float)):
        return str(value)[:40]
    return f"a {type(value).__name__}"


def read_typed_json(path: str | Path, shape: Any) -> Any:
    """Reads a JSON file of a shape.

    Raises:
        UserError: when it is missing, not JSON, or of another shape.
    """
    return conform(read_json(path), shape, str(path))


def read_array(
    path: str | Path,
    *,
    dtype: str | Sequence[str],
    shape: Sequence[int | None],
    mapped: bool = False,
    finite: bool = False,
) -> np.ndarray:
    """Reads a .npy file of known kind; its header is held against the file's size before anything is allocated.

    Args:
        path: the file.
        dtype: name of its numbers' type ("float32"), or several that will do.
        shape: its axes; None for any length.
        mapped: leave the numbers on disk, read-only.
        finite: refuse NaN and infinities.

    Raises:
        UserError: when it is missing, damaged, or of another kind.
    """
    names = (dtype,) if isinstance(dtype, str) else tuple(dtype)
    try:
        size = Path(path).stat().st_size
        array = np.load(path, mmap_mode="r")  # nothing is allocated: the header decides nothing yet
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from error
    except Exception as error:  # numpy parses the header as Python, and stumbles over it in as many ways
        raise UserError(f"{path} can't be read as an array ({first_line(error)}); {WRITE_AGAIN}.") from error
    if not isinstance(array, np.ndarray) or array.dtype.name not in names or array.dtype.byteorder == ">":
        kind = f"{array.dtype}" if isinstance(array, np.ndarray) else "an archive"
        raise UserError(f"{path} holds {kind}, not {' or '.join(names)}; {WRITE_AGAIN}.")
    fits = array.ndim == len(shape) and all(
        want in (None, have) for have, want in zip(array.shape, shape, strict=False)
    )
    if not fits or math.prod(array.shape) * array.itemsize > size:
        wanted = " x ".join("any" if item is None else str(item) for item in shape)
        raise UserError(f"{path} holds {' x '.join(map(str, array.shape))} numbers, not {wanted}; {WRITE_AGAIN}.")
    if finite and not all_finite(np.asarray(array)):
        raise UserError(f"{path} holds numbers that are not finite; {WRITE_AGAIN}.")
    return array if mapped else np.array(array)


def read_table(path: str | Path, columns: Mapping[str, str] | None = None, *, only: bool = False) -> Any:
    """Reads a parquet file whose columns have known types.

    Args:
        path: the file.
        columns: a column's name to its Arrow type ("string", "float", "int64"), "number" for any kind of number.
        only: read these columns alone.

    Raises:
        UserError: when it is missing, damaged, or lacks a column of that type.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = columns or {}
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            lacking = [name for name in columns if name not in names]
            table = None if lacking else file.read(columns=list(columns) if only else None)
        if table is not None:
            table.validate(full=True)
    except FileNotFoundError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from error
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, MemoryError, OverflowError) as error:
        raise UserError(f"{path} can't be read ({first_line(error)}); it may be cut short or damaged.") from error
    if table is None:
        raise UserError(f"{path} lacks the column {lacking[0]}; it has: {', '.join(names)[:200]}.")
    for name, wanted in columns.items():
        kind = table.schema.field(name).type
        number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        text = wanted == "string" and pa.types.is_large_string(kind)
        if not (number if wanted == "number" else text or str(kind) == wanted):
            raise UserError(f"{path}: the column {name} holds {kind}, not {wanted}; {WRITE_AGAIN}.")
    return table
