"""Work that runs share, done once: folders named by the hash of what went into them, safe with several processes.

The root is the user's cache folder (`~/.cache/twotower`, or `XDG_CACHE_HOME`); `TWOTOWER_CACHE` overrides it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from twotower.core.errors import UserError, nearest
from twotower.core.files import atomic_path

if TYPE_CHECKING:
    import numpy as np

NUMPY_THREADS = [
    *(os.environ.get(name) for name in ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")),
    len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
]
"""What decides how many threads numpy's linear algebra has, as it was when this module was loaded.

A matrix decomposition differs in its last bits with their number, so this belongs in the key of one that is cached.
"""


class CacheClosedError(UserError):
    """The cache holds no such entry yet and can't be written."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One cached folder: its kind, its key, its size in bytes and when it was last used (seconds since the epoch)."""

    kind: str
    key: str
    path: Path
    bytes: int
    used: float


def cache_root() -> Path:
    """Returns the folder that holds every cache; it need not exist yet."""
    if chosen := os.environ.get("TWOTOWER_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "twotower"


def content_key(*parts: Any) -> str:
    """Returns the sha256 hex of plain data, strings, bytes and numpy arrays; equal content gives an equal key.

    Every part is framed by its kind and length, so ("ab", "c") and ("a", "bc") differ. A list or tuple of strings is
    hashed string by string; other plain data as canonical JSON.
    """
    digest = hashlib.sha256()
    for part in parts:
        for tag, data in _chunks(part):
            digest.update(f"{tag}{len(data)}:".encode())
            digest.update(data)
    return digest.hexdigest()


def _chunks(part: Any) -> Iterator[tuple[str, bytes | memoryview]]:
    if isinstance(part, bytes):
        yield "b", part
    elif isinstance(part, str):
        yield "s", part.encode("utf-8", "surrogatepass")
    elif _is_array(part):
        yield f"a{part.dtype.str}{part.shape}", _bytes(part)
    elif isinstance(part, (list, tuple)) and part and all(isinstance(item, str) for item in part):
        encoded = [item.encode("utf-8", "surrogatepass") for item in part]
        yield "l", array("q", map(len, encoded)).tobytes()
        yield "t", b"".join(encoded)
    else:
        yield "j", json.dumps(part, sort_keys=True, ensure_ascii=True, default=str).encode()


def _is_array(part: Any) -> bool:
    """Says whether a part is a numpy array; where nobody has loaded numpy, which takes a while, none can be."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(part, numpy.ndarray)


def _bytes(numbers: np.ndarray) -> memoryview:
    """Returns the bytes of an array in C order, not copied where they lie so."""
    import numpy as np

    return np.ascontiguousarray(numbers).reshape(-1).view(np.uint8).data


def cached_folder(kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """Returns the finished folder `<root>/<kind>/<key>`, building it first if nobody has.

    Args:
        kind: what is cached ("tokens", "word_vectors", ...), a folder name.
        key: the content key of everything the result depends on.
        build: fills an empty folder. It runs under a lock; a failure leaves nothing behind.

    Raises:
        CacheClosedError: when it has to be built and the cache can't be written.
    """
    final = cache_root() / kind / key
    if not final.is_dir():
        _make(final.parent)
        with _locked(final):
            if not final.is_dir():
                with atomic_path(final) as temporary:
                    temporary.mkdir()
                    build(temporary)
    with suppress(OSError):  # a read-only shared cache is still good to read; only the last-used time is lost
        os.utime(final)
    return final


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _closed("create", folder, error) from error


@contextmanager
def _locked(final: Path) -> Iterator[None]:
    lock = FileLock(str(final) + ".lock")
    try:
        lock.acquire()
    except OSError as error:
        raise _closed("write into", final.parent, error) from error
    try:
        yield
    finally:
        lock.release()


def _closed(what: str, folder: Path, error: OSError) -> CacheClosedError:
    return CacheClosedError(
        f"Cannot {what} the cache folder {folder}: {error.strerror}. Set TWOTOWER_CACHE to a folder you can write."
    )


def entries() -> list[Entry]:
    """Lists every finished cached folder, the most recently used first."""
    listed = []
    for path in cache_root().glob("*/*"):
        if path.is_dir() and not path.name.startswith("."):
            size = sum(item.stat().st_size for item in path.rglob("*") if item.is_file())
            listed.append(Entry(kind=path.parent.name, key=path.name, path=path, bytes=size, used=path.stat().st_mtime))
    return sorted(listed, key=lambda entry: -entry.used)


def clear(kind: str | None = None) -> list[Entry]:
    """Removes every cached folder, or those of one kind, and returns what was removed.

    Raises:
        UserError: for a kind that holds nothing.
    """
    present = entries()
    kinds = sorted({entry.kind for entry in present})
    if kind is not None and kind not in kinds:
        raise UserError(f"No cache of kind '{kind}'; there are: {', '.join(kinds) or 'none'}.{nearest(kind, kinds)}")
    removed = [entry for entry in present if kind in (None, entry.kind)]
    for entry in removed:
        with FileLock(str(entry.path) + ".lock"):
            shutil.rmtree(entry.path)
        Path(str(entry.path) + ".lock").unlink(missing_ok=True)
    return removed
