"""Reading and writing files so that a reader never sees half of one: temporary name, fsync, rename."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twotower.core.errors import UserError
from twotower.core.nested import changed

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a write that has no room left (the last: more than `ulimit -f` allows)."""
CLOSED_TO_US = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, *NO_ROOM)
"""Errors of the file system that the user can do something about; others are ours and keep their traceback."""
AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""Linux's numbers for "relative to the working folder" and "exchange the two"."""
SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")
"""What numpy says, without an error number, when a disk takes only part of an array."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is fsynced and renamed over it, on failure removed.

    The caller may create a file or a folder there. An existing folder at `path` is replaced as a whole.

    Raises:
        UserError: when the disk is full or the folder can't be written.
    """
    final = Path(path)
    temporary = final.with_name(f".{final.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        _replace(temporary, final)
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno is None:
            if not SHORT_WRITE.fullmatch(reason):
                raise
            reason = os.strerror(errno.ENOSPC)
        raise UserError(f"Cannot write {final}: {reason}. Free space or choose another folder.") from error
    except RuntimeError as error:  # what compiled writers make of it, FAISS for one
        cause = next((text for text in map(os.strerror, NO_ROOM) if text in str(error)), None)
        if cause is None:
            raise
        raise UserError(f"Cannot write {final}: {cause}. Free space or choose another folder.") from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    for item in [path, *path.rglob("*")] if path.is_dir() else [path]:
        descriptor = os.open(item, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _replace(temporary: Path, final: Path) -> None:
    if temporary.is_dir() and final.is_dir() and exchange(temporary, final):
        shutil.rmtree(temporary, ignore_errors=True)  # the old one, which has its name now
    elif temporary.is_dir() and final.is_dir():  # `leftovers.recover` puts the old one back after a kill in between
        old = final.with_name(f".{final.name}.{secrets.token_hex(4)}.old")
        os.replace(final, old)
        try:
            os.replace(temporary, final)
        except OSError:
            os.replace(old, final)
            raise
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.replace(temporary, final)
    descriptor = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def exchange(first: Path, second: Path) -> bool:
    """Exchanges two files or folders in one step, which a kill can't part; False where the system can't (renameat2)."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    done: int = call(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE)
    if done != 0 and ctypes.get_errno() not in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(second))
    return done == 0


def write_link(source: str | Path, path: str | Path) -> None:
    """Gives a file a second name, atomically; where the file system knows no hard links, a copy is made.

    For files that are only ever replaced as a whole: what is written into one shows in the other.
    """
    with atomic_path(path) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def refuse_links_out(folder: Path) -> None:
    """Refuses to write in a run's folder that holds a link out of it: what goes through it is written elsewhere.

    W&B's own folder has such links, to its log, and writes nothing through them.

    Raises:
        UserError: naming the link and where it leads.
    """
    root = folder.resolve()
    for parent, folders, names in os.walk(folder):
        for path in (Path(parent, name) for name in [*folders, *names]):
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                raise UserError(
                    f"{path} is a link to {os.readlink(path)}, outside the run's folder, which alone is written to: "
                    "put what it leads to in its place, or remove it."
                )
        folders[:] = [name for name in folders if name != "wandb"]


def write_bytes(path: str | Path, data: bytes | memoryview) -> None:
    """Writes bytes atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8 text atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, value: Any, *, escaped: bool = False) -> None:
    """Writes JSON atomically; NaN and infinities become null, since strict JSON has no word for them.

    Args:
        path: the file.
        value: plain data.
        escaped: in ASCII, other characters by number: a long text with few of them is read in half the time.
    """
    write_text(path, json.dumps(changed(value, _finite), indent=2, ensure_ascii=escaped, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Reads a JSON file.

    Raises:
        UserError: when the file is missing or is not JSON.
    """
    try:
        # bytes: opened as a text file, all of it would be looked through for ends of lines
        return json.loads(Path(path).read_bytes().decode("utf-8"))
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON ({error}); it may be cut short.") from error


def sha256_file(path: str | Path) -> str:
    """Returns the hex sha256 of a file's content, or of a folder's files in name order."""
    digest = hashlib.sha256()
    path = Path(path)
    for item in sorted(part for part in path.rglob("*") if part.is_file()) if path.is_dir() else [path]:
        if item != path:
            digest.update(item.relative_to(path).as_posix().encode())
        with open(item, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def _finite(value: Any) -> Any:
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
