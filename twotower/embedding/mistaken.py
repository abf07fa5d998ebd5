"""What a file is that holds no word vectors, by its first bytes: said to whoever took it for one."""

from __future__ import annotations

PICKLE = "a pickle (gensim's own format?); write it anew by save_word2vec_format"
UNPACK = "unpack it first (gzip, bz2, xz, zstd and zip are read as they are)"
NO_VECTORS = {
    b"\xba\x16\x4f\x2f": "fastText's own model, not its vectors; take the .vec file that fastText writes beside it",
    b"\x80\x02": PICKLE,
    b"\x80\x03": PICKLE,
    b"\x80\x04": PICKLE,
    b"\x80\x05": PICKLE,
    b"\x93NUMPY": "a numpy array, which holds no words; write word2vec text or binary",
    b"PAR1": "a parquet file; write word2vec text or binary",
    b"\x89HDF": "an HDF5 file; write word2vec text or binary",
    b"7z\xbc\xaf": "packed by 7z; " + UNPACK,
    b"Rar!": "packed by rar; " + UNPACK,
    b"\xff\xfe\x00\x00": "UTF-32 text; convert it to UTF-8",
    b"\xff\xfe": "UTF-16 text; convert it to UTF-8",
    b"\xfe\xff": "UTF-16 text; convert it to UTF-8",
    b"\x1f\x8b": "packed twice; unpack it once",
    b"\x28\xb5\x2f\xfd": "packed twice; unpack it once",
    b"BZh": "packed twice; unpack it once",
    b"\xfd7zXZ": "packed twice; unpack it once",
    b"PK\x05\x06": "a zip archive without a file",
    b"PK\x03\x04": "packed twice; unpack it once",
    b"version https://git-lfs": "a pointer of Git LFS, not the file it stands for; fetch that by git lfs pull",
    b"<!DOCTYPE": "a web page, not what was to be downloaded",
    b"<html": "a web page, not what was to be downloaded",
}
"""What other files begin with, and what is said of them."""


def something_else(head: bytes) -> str | None:
    """Returns what a file is that holds no word vectors, by its first bytes (unpacked); None where it may hold some."""
    if not head.strip():
        return "empty"
    for start, what in NO_VECTORS.items():
        if head.startswith(start):
            return what
    if head[257:262] == b"ustar":
        return "an archive of tar; " + UNPACK
    lines = head.split(b"\n", 2)
    for coding in ("utf-16-le", "utf-16-be"):
        text = head[:400].decode(coding, errors="replace")
        if sum(char.isascii() and (char.isprintable() or char.isspace()) for char in text) > 0.9 * len(text):
            return "UTF-16 text; convert it to UTF-8"
    if len(lines) == 1 and head.count(b"\r") > 1 and b"\x00" not in head:
        return "text whose lines end in a carriage return alone; convert its line ends"
    return None
