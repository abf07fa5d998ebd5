"""What writers that were killed left behind: found by the names that `files` gives, and put back or removed.

A temporary file or folder is `.NAME.PID.RANDOM.tmp`; a folder on its way out is `.NAME.RANDOM.old`; a build that can go
on is `.NAME.part`, held by a lock while somebody works in it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from twotower.core.errors import UserError

TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d+)\.[0-9a-f]{8}\.tmp")
OLD = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.old")
PART = re.compile(r"\.(?P<name>.+)\.part")


def recover(folder: Path) -> None:
    """Puts back what a writer had moved aside in a folder and was killed before it could put the new in its place.

    Only file systems that can't exchange two folders in one step need it. A folder closed to us is left as it is.
    """
    with suppress(OSError):
        for path in folder.glob(".*.old"):
            match = OLD.fullmatch(path.name)
            if match and not (folder / match["name"]).exists():
                os.rename(path, folder / match["name"])


def leftovers(root: Path) -> Iterator[Path]:
    """Yields files and folders below `root` that a writer left and nobody works with any more.

    Temporary ones of a process that is alive on this machine and builds that are under way are not among them.
    """
    for parent, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(parent, name)
            if _is_left(path):
                yield path
                if name in folders:
                    folders.remove(name)  # it goes as a whole


def remove(path: Path) -> None:
    """Removes a file or a folder.

    Raises:
        UserError: when it can't be removed.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"Cannot remove {path}: {error.strerror or error}.") from error


def _is_left(path: Path) -> bool:
    if match := TEMPORARY.fullmatch(path.name):
        return not _alive(int(match["pid"]))
    if match := OLD.fullmatch(path.name):
        return path.with_name(match["name"]).exists()
    return bool(PART.fullmatch(path.name)) and path.is_dir() and not _locked(path)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
