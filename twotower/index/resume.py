"""Stopping a build and going on: what is done lies in a hidden folder beside the index until it is finished.

The folder `.NAME.part` notes what is being built (`resume.json`). A process that is stopped or killed leaves it there;
the next build of the same thing goes on in it, one of anything else starts from nothing. Legend: S sampled documents.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from twotower.core.cache import content_key
from twotower.core.errors import UserError
from twotower.core.files import read_json, write_json, write_text
from twotower.core.reading import read_array, read_typed_json

log = logging.getLogger(__name__)

FILE = "resume.json"
SAMPLE_FILE = "random_documents.npy"
SAMPLE_ROWS_FILE = "random_rows.npy"
"""Which rows of the collection those are."""
SAME = 1e-3
"""Difference of vector components above which the vectors are others: a model encoded twice stays far below it."""


@contextmanager
def part_folder(part: Path, key: Mapping[str, Any], sample_SD: np.ndarray | None = None) -> Iterator[Path]:
    """Yields a folder for one build, holding what an interrupted build of the same thing left in it.

    It is removed when the build ends or fails. It stays when the process is stopped (Ctrl-C, a signal, a crash) or the
    error says that going on is possible (`BuildPausedError`).

    Args:
        part: where; only one process at a time works there.
        key: plain data that says what is built.
        sample_SD: some of the vectors, normalised; also kept there as `random_documents.npy`.

    Raises:
        UserError: while another process builds the same.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _lock(part)
    keep = False
    try:
        if not _same(part, content_key(dict(key)), sample_SD):
            _empty(part)
            if sample_SD is not None:
                np.save(part / SAMPLE_FILE, sample_SD)
            write_json(part / FILE, {"key": content_key(dict(key))})
        yield part
    except BaseException as error:
        keep = getattr(error, "resumable", not isinstance(error, Exception))
        raise
    finally:
        if not keep:
            shutil.rmtree(part, ignore_errors=True)
        os.close(descriptor)


def finish(part: Path) -> None:
    """Removes the note of what is being built, before the folder becomes an index."""
    (part / FILE).unlink()


def rows_done(path: Path) -> int:
    """Returns how many rows of a file were safely written, 0 where no count stands beside it."""
    note = path.with_name(f"{path.name}.rows")
    return int(read_typed_json(note, int)) if path.is_file() and note.is_file() else 0


def note_rows(path: Path, rows: int | None) -> None:
    """Notes how many rows of a file are safely written; None removes the note, as the file is whole."""
    note = path.with_name(f"{path.name}.rows")
    if rows is None:
        note.unlink(missing_ok=True)
    else:
        write_text(note, f"{rows}\n")


def _lock(part: Path) -> int:
    while True:
        part.mkdir(exist_ok=True)
        descriptor = os.open(part, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise UserError(f"Another process is building {part.parent / part.name[1:-5]}; wait for it.") from None
        if part.is_dir() and os.fstat(descriptor).st_ino == part.stat().st_ino:
            return descriptor
        os.close(descriptor)  # the one before us finished in between, and its folder is no longer this one


def _same(part: Path, key: str, sample_SD: np.ndarray | None) -> bool:
    if not (part / FILE).is_file():
        return False
    try:
        same = read_json(part / FILE)["key"] == key
        if same and sample_SD is not None:
            before_SD = read_array(part / SAMPLE_FILE, dtype="float32", shape=(None, None))
            same = before_SD.shape == sample_SD.shape and bool(np.allclose(before_SD, sample_SD, rtol=0, atol=SAME))
    except (UserError, KeyError, TypeError):
        same = False
    return same  # type: ignore[no-any-return]


def _empty(part: Path) -> None:
    for item in part.iterdir():
        if item.is_dir():
            shutil.rmtree(item)
        else:
            item.unlink()
