"""Files as they come: plain, or packed by gzip, bzip2, xz, zstd or as the one file of a zip archive.

How a file is packed is seen from its first bytes, not from its name: names are often wrong.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zipfile
import zlib
from pathlib import Path
from typing import IO

from twotower.core.errors import UserError

ENDINGS = (".gz", ".bz2", ".xz", ".lzma", ".zst", ".zip")
"""What the names of packed files end in."""
READ_ERRORS = (OSError, EOFError, lzma.LZMAError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)
"""What reading a damaged or encrypted packed file raises."""
BESIDE = re.compile(r"__MACOSX|(^|/)\.(?!/)|(^|/)(README|LICEN[CS]E)[^/]*$", re.IGNORECASE)
"""Files of an archive that are never the one meant."""
ZIP, GZIP, XZ, ZSTD = b"PK\x03\x04", b"\x1f\x8b", (b"\xfd7zXZ\x00", b"\x5d\x00\x00"), b"\x28\xb5\x2f\xfd"
BZIP2 = tuple(b"BZh%d%s" % (level, mark) for level in range(1, 10) for mark in (b"1AY&SY", b"\x17rE8P\x90"))
PACKED = (ZIP, GZIP, *XZ, ZSTD, *BZIP2)
"""What packed files begin with."""


def bare_name(name: str) -> str:
    """Returns a file's name in small letters, without the ending that says how it is packed."""
    name = name.lower()
    return next((name.removesuffix(ending) for ending in ENDINGS if name.endswith(ending)), name)


def open_packed(path: Path, member: str | None = None) -> IO[bytes]:
    """Opens a file's bytes, unpacked where it is packed.

    Args:
        path: the file.
        member: which file of a zip archive; None: the only one it holds.

    Raises:
        UserError: for an archive of several files, or of none.
        OSError: where it can't be read; the other errors of `READ_ERRORS` come while it is read.
    """
    file = open(path, "rb")  # noqa: SIM115 - given back where it is as it comes: a pipe can be read once only
    magic = file.peek(16)
    if not magic.startswith(PACKED):
        return file
    file.close()
    if magic.startswith(ZIP):
        return zipfile.ZipFile(path).open(member or _only_member(path))
    if magic.startswith(GZIP):
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if magic.startswith(BZIP2):
        return bz2.open(path, "rb")
    if magic.startswith(XZ):
        return lzma.open(path, "rb")
    import pyarrow as pa

    return io.BufferedReader(pa.input_stream(str(path), compression="zstd"))


def members(path: Path) -> list[str]:
    """Returns the files of a zip archive, without those that only lie beside."""
    with zipfile.ZipFile(path) as archive:
        return [item.filename for item in archive.infolist() if not item.is_dir() and not BESIDE.search(item.filename)]


def _only_member(path: Path) -> str:
    names = members(path)
    if len(names) != 1:
        raise UserError(f"{path} holds {len(names)} files; unpack the one you mean: {', '.join(names[:8]) or 'none'}.")
    return names[0]
