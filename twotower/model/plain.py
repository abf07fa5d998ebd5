"""An exported model's file read without torch: its arrays stay on disk, memory-mapped.

Importing torch and filling a model take seconds, which a process that only asks a query need not spend. A .pt file is a
zip archive of a pickle and raw arrays; the pickle is read with nothing allowed in it but plain data and those arrays.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from twotower.core.archive import check_opcodes

STORAGES = {"FloatStorage": np.float32, "HalfStorage": np.float16, "LongStorage": np.int64}
BROKEN = (zipfile.BadZipFile, zlib.error, pickle.UnpicklingError, struct.error, RuntimeError, MemoryError)
LOCAL_HEADER = struct.Struct("<26xHH")
"""Of a file in a zip archive: the lengths of its name and of its extra field, after which its bytes begin."""


def read_plain(path: Path) -> dict[str, Any] | None:
    """Returns a checkpoint's content with arrays for tensors, or None where only `torch.load` can read or judge it."""
    try:
        with zipfile.ZipFile(path) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            data = archive.read(name)
            check_opcodes(data, path)
            content = _Reader(io.BytesIO(data), path, archive, name.removesuffix("data.pkl")).load()
    except (OSError, EOFError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError, *BROKEN):
        return None
    return content if isinstance(content, dict) else None


class _Reader(pickle.Unpickler):
    """Unpickles plain data; a tensor becomes a read-only memory map of its bytes."""

    def __init__(self, file: Any, path: Path, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(file)
        self._path, self._archive, self._folder = path, archive, folder
        self._maps: dict[str, np.ndarray] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not plain data")

    def persistent_load(self, pid: Any) -> np.ndarray:
        _, kind, key, _, count = pid
        if key not in self._maps:
            entry = self._archive.getinfo(f"{self._folder}data/{key}")
            kind = np.dtype(kind)
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != count * kind.itemsize:
                raise ValueError(f"array {key} is compressed or cut short")
            with open(self._path, "rb") as file:
                file.seek(entry.header_offset)
                start = entry.header_offset + LOCAL_HEADER.size + sum(LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size)))
            self._maps[key] = np.memmap(self._path, kind, "r", start, (count,)) if count else np.zeros(0, kind)
        return self._maps[key]


def _tensor(storage: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> np.ndarray:
    count = int(np.prod(size, dtype=np.int64))
    array = np.asarray(storage[offset : offset + count]).reshape(size)
    steps = tuple(step * array.itemsize for step in stride)
    if count and any(have != want for have, want, length in zip(array.strides, steps, size, strict=True) if length > 1):
        raise ValueError("an array that is not stored row after row")
    return array
