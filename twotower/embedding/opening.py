"""Opening a file of word vectors: packed or not, text or binary, named where it is something else.

Shapes: D dimension.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from twotower.core.errors import UserError
from twotower.core.packed import READ_ERRORS, ZIP, members, open_packed
from twotower.core.validators import check_choice
from twotower.embedding.mistaken import something_else

FORMATS = ("text", "binary")
HEAD = 1 << 18
"""Bytes read to see what a file is; a line of a thousand numbers takes some ten thousand."""
BOM = b"\xef\xbb\xbf"
BLANKS = b" \t\r\x0b\x0c"


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
        file = open_packed(self.path, self.member)
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
        member = _member(path, dim) if magic.startswith(ZIP) else None
        with open_packed(path, member) as file:
            head = file.read(HEAD)
    except READ_ERRORS as error:
        raise UserError(
            f"embedding.path={path} cannot be read: {getattr(error, 'strerror', None) or error}."
        ) from error
    if what := something_else(head):
        raise UserError(f"embedding.path={path} is {what}.")
    width, promised, binary, begin = _understand(path, head, format)
    if width != dim:
        raise UserError(f"embedding.dim={dim} does not fit {path}, whose vectors have {width}; set {width}.")
    return VectorFile(path=path, dim=dim, promised=promised, binary=binary, start=begin, member=member)


def _member(path: Path, dim: int) -> str:
    """Returns the one file of a zip archive, or the one whose name says the dimension (glove.6B.100d.txt) or vectors.

    fastText's archives hold wiki.en.bin, its own model, beside wiki.en.vec.
    """
    names = members(path)
    kinds = (lambda name: len(names) == 1, lambda name: f".{dim}d." in name, lambda name: name.endswith(".vec"))
    chosen = next((some for kind in kinds if (some := [name for name in names if kind(name)])), [])
    if len(chosen) != 1:
        raise UserError(
            f"embedding.path={path} holds {len(names)} files, {len(chosen)} of them named for embedding.dim={dim} (or "
            f".vec); unpack the one you mean: {', '.join(names[:8]) or 'none'}."
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
            f"embedding.path={path} does not look like word vectors, which have a word and its numbers on each line, "
            f"parted by blanks or tabs (word2vec or GloVe text), or begin with '<words> <dimension>' (word2vec binary)."
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
