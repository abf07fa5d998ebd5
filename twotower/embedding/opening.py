"""Opening a file of word vectors: packed or not, text or binary, named where it is something else.

Shapes: D dimension.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from twotower.core.errors import UserError
from twotower.core.validators import check_choice

FORMATS = ("text", "binary")
HEAD = 1 << 18
"""Bytes read to see what a file is; a line of a thousand numbers takes some ten thousand."""
BOM = b"\xef\xbb\xbf"
BLANKS = b" \t\r\x0b\x0c"
NO_VECTORS = {
    b"\xba\x16\x4f\x2f": "fastText's own model, not its vectors; take the .vec file that fastText writes beside it",
    b"\x80\x02": "a pickle (gensim's own format?); write it anew by save_word2vec_format",
    b"\x80\x03": "a pickle (gensim's own format?); write it anew by save_word2vec_format",
    b"\x80\x04": "a pickle (gensim's own format?); write it anew by save_word2vec_format",
    b"\x80\x05": "a pickle (gensim's own format?); write it anew by save_word2vec_format",
    b"\x93NUMPY": "a numpy array, which holds no words; write word2vec text or binary",
    b"PAR1": "a parquet file; write word2vec text or binary",
    b"\x89HDF": "an HDF5 file; write word2vec text or binary",
    b"\x28\xb5\x2f\xfd": "packed by zstd; unpack it first (gzip, bz2, xz and zip are read as they are)",
    b"7z\xbc\xaf": "packed by 7z; unpack it first (gzip, bz2, xz and zip are read as they are)",
    b"Rar!": "packed by rar; unpack it first (gzip, bz2, xz and zip are read as they are)",
    b"\xff\xfe": "UTF-16 text; convert it to UTF-8",
    b"\xfe\xff": "UTF-16 text; convert it to UTF-8",
}
"""What other files begin with, and what is said of them."""


@dataclass(frozen=True, kw_only=True)
class VectorFile:
    """What the head of a file says.

    Attributes:
        path: the file.
        dim: numbers in a vector.
        promised: words that a header line promises; None without such a line.
        binary: whether vectors are bytes, not text.
        start: where the first record begins, in bytes of the unpacked file.
        member: which file of a zip archive it is.
    """

    path: Path
    dim: int
    promised: int | None
    binary: bool
    start: int
    member: str | None = None

    def open(self) -> IO[bytes]:
        """Opens the unpacked bytes at the first record."""
        file = unpacked(self.path, self.member)
        remaining = self.start
        while remaining:
            remaining -= len(file.read(remaining)) or remaining
        return file


def open_file(name: str | None, *, dim: int, format: str | None = None) -> VectorFile:
    """Reads the head of a file of word vectors.

    Args:
        name: the file.
        dim: numbers in a vector.
        format: text or binary; None: seen from the content.

    Raises:
        UserError: when the file is missing, does not begin as such a file does, or has another dimension.
    """
    if not name:
        raise UserError("embedding=file needs embedding.path=FILE (word2vec text or binary, or GloVe text).")
    path = Path(name).expanduser()
    if format is not None:
        check_choice("embedding.format", format, FORMATS)
    try:
        with open(path, "rb") as raw:
            magic = raw.read(8)
        member = _member(path, dim) if magic[:4] == b"PK\x03\x04" else None
        with unpacked(path, member) as file:
            head = file.read(HEAD)
    except (OSError, EOFError, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError) as error:
        raise UserError(
            f"embedding.path={path} cannot be read: {getattr(error, 'strerror', None) or error}."
        ) from error
    for start, what in NO_VECTORS.items():
        if head.startswith(start):
            raise UserError(f"embedding.path={path} is {what}.")
    width, promised, binary, begin = _understand(path, head, format)
    if width != dim:
        raise UserError(f"embedding.dim={dim} does not fit {path}, whose vectors have {width}; set {width}.")
    return VectorFile(path=path, dim=dim, promised=promised, binary=binary, start=begin, member=member)


def unpacked(path: Path, member: str | None = None) -> IO[bytes]:
    """Opens a file's bytes, unpacked where its first bytes say that it is packed (gzip, bz2, xz, zip)."""
    if member is not None:
        return zipfile.ZipFile(path).open(member)
    with open(path, "rb") as file:
        magic = file.read(6)
    if magic[:2] == b"\x1f\x8b":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if magic[:3] == b"BZh":
        return bz2.open(path, "rb")
    if magic == b"\xfd7zXZ\x00":
        return lzma.open(path, "rb")
    return open(path, "rb")


def _member(path: Path, dim: int) -> str:
    """Returns the one file of a zip archive, or the one whose name says the dimension (glove.6B.100d.txt)."""
    with zipfile.ZipFile(path) as archive:
        names = [item.filename for item in archive.infolist() if not item.is_dir() and "__MACOSX" not in item.filename]
    chosen = names if len(names) == 1 else [name for name in names if f".{dim}d." in name]
    if len(chosen) != 1:
        raise UserError(
            f"embedding.path={path} holds {len(names)} files, {len(chosen)} of them named for embedding.dim={dim}; "
            f"unpack the one you mean: {', '.join(names[:8]) or 'none'}."
        )
    return chosen[0]


def _understand(path: Path, head: bytes, asked: str | None) -> tuple[int, int | None, bool, int]:
    """Returns the dimension, the words a header promises, whether it is binary, and where the first record begins."""
    begin = len(BOM) if head.startswith(BOM) else 0
    line, _, rest = head[begin:].partition(b"\n")
    fields = line.split()
    header = len(fields) == 2 and all(part.isdigit() for part in fields) and int(fields[1]) > 0
    body = begin + len(line) + 1
    if asked == "binary" or (asked is None and header and _is_binary(rest)):
        if not header:
            raise UserError(f"{path}:1: a word2vec binary file starts with a line '<words> <dimension>'.")
        return int(fields[1]), int(fields[0]), True, body
    lines = (rest if header else head[begin:]).split(b"\n")
    dim = _text_dim(lines[:-1] if len(head) == HEAD and len(lines) > 1 else lines)
    if header and dim in (0, 1) and int(fields[1]) != dim and not rest.strip():
        raise UserError(f"{path} has a header line and no vector.")
    if dim < 2:
        raise UserError(
            f"embedding.path={path} does not look like word vectors, which have a word and its numbers on each line "
            f"(word2vec or GloVe text) or begin with '<words> <dimension>' (word2vec binary)."
        )
    if header and int(fields[1]) != dim:
        raise UserError(f"{path}:1: the header promises vectors of {fields[1].decode()} numbers, its lines hold {dim}.")
    return dim, int(fields[0]) if header else None, False, body if header else begin


def _is_binary(rest: bytes) -> bool:
    """Tells binary from text by what follows the header: in a text file the line's last field is a number."""
    fields = rest.split(b"\n", 1)[0].split()
    try:
        float(fields[-1])
    except (IndexError, ValueError):
        return bool(rest.strip())
    return b"\x00" in rest


def _text_dim(lines: list[bytes]) -> int:
    """Returns how many numbers most of the first lines end in, a word before them; 0 for none."""
    counts = Counter(count for line in lines[:500] if (count := _numbers_at_end(line.split())))
    return counts.most_common(1)[0][0] if counts else 0


def _numbers_at_end(fields: list[bytes]) -> int:
    count = 0
    for field in reversed(fields[1:]):
        try:
            float(field)
        except ValueError:
            break
        count += 1
    return count
