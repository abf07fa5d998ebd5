"""Files that torch wrote, read as plain data and tensors, with work and memory bounded by the file's own size.

Such a file is a zip archive of a pickle and raw arrays. A hostile one can ask for far more than it holds: compressed
entries, opcodes that name a huge place in the unpickler's memory, one list referred to a million times, a tensor of a
trillion elements over one number. All that is refused before it costs anything.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

from twotower.core.errors import UserError

NO_ARGUMENT = frozenset(b"(N.]})aestuRb0\x81\x85\x86\x87\x88\x89\x8fQ")
FIXED = {ord("K"): 1, ord("M"): 2, ord("J"): 4, ord("G"): 8, ord("h"): 1, ord("j"): 4, ord("q"): 1, 0x80: 1}
COUNTED = {ord("X"): 4, 0x8C: 1, 0x8A: 1, ord("U"): 1, ord("B"): 4, ord("C"): 1}
"""Opcodes that plain data needs: without an argument, with one of fixed length, and with a length before it."""
DEEPEST = 100


def check_archive(path: Path, *, contents: bool = False) -> None:
    """Refuses a file that is none of torch's archives, or whose reading would take more than its size warrants.

    Args:
        path: the file.
        contents: read everything once and compare it with the archive's own checksums.

    Raises:
        UserError: saying what is wrong.
    """
    if not path.is_file():
        raise UserError(f"No checkpoint at {path}.")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            total = sum(entry.file_size for entry in entries)
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or total > path.stat().st_size:
                raise UserError(f"{path} is refused: it is compressed, which no exported model is.")
            if contents and (name := archive.testzip()):
                raise UserError(f"{path} is damaged: {name} is not what was written. Take an earlier checkpoint.")
            for entry in entries:
                if entry.filename.endswith(".pkl"):
                    check_opcodes(archive.read(entry), path)
    except (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, UserError):
            raise
        if _is_pickle(path):
            raise UserError(f"{path} is refused: it is a bare pickle, so loading it could run code.") from error
        raise UserError(f"{path} can't be read as a checkpoint; it may be cut short, or of another kind.") from error


def _is_pickle(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(1) == b"\x80"
    except OSError:
        return False


def check_opcodes(data: bytes, path: Path) -> None:
    """Looks through a pickle, without running it, for anything that plain data does not need.

    Raises:
        UserError: for an unknown opcode, a length beyond the end, or a place in memory beyond what the pickle can fill.
    """
    at, end = 0, len(data)
    while at < end:
        code = data[at]
        at += 1
        if code in NO_ARGUMENT:
            if code == 0x2E:
                return
        elif code in FIXED:
            at += FIXED[code]
        elif code == 0x72:  # LONG_BINPUT: the unpickler makes room for twice as many
            if int.from_bytes(data[at : at + 4], "little") > end:
                break
            at += 4
        elif code in COUNTED:
            width = COUNTED[code]
            at += width + int.from_bytes(data[at : at + width], "little")
        elif code == 0x63:  # GLOBAL: two lines
            at = data.find(b"\n", data.find(b"\n", at) + 1) + 1 or end + 1
        else:
            break
    raise UserError(f"{path} is refused: it holds more than plain data and tensors, so loading it could run code.")


def read_archive(path: Path, *, contents: bool = False) -> Any:
    """Reads a file that torch wrote as plain data and tensors on the CPU, without running any code in it.

    Args:
        path: the file.
        contents: compare everything with the archive's own checksums first.

    Raises:
        UserError: as `check_archive`, or when it holds something else than plain data.
    """
    import torch

    check_archive(path, contents=contents)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remark on a foreign pickle; the refusal says what matters
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is refused: it holds more than plain data and tensors, so loading it could run code."
        ) from error
    except Exception as error:  # torch's reader stumbles over damage in as many ways as there are opcodes
        raise UserError(f"{path} can't be read as a checkpoint; it may be cut short, or of another kind.") from error
    _bounded(content, path, path.stat().st_size)
    return content


def _bounded(content: Any, path: Path, size: int) -> None:
    """Refuses content that, written out, would be larger than its file: lists referred to again and again, views."""
    import torch

    left = size

    def walk(value: Any, depth: int) -> None:
        nonlocal left
        left -= 1
        if left < 0 or depth > DEEPEST:
            raise UserError(f"{path} is refused: its content is nested beyond what a file of its size can hold.")
        if isinstance(value, dict):
            for key, item in value.items():
                walk(key, depth + 1)
                walk(item, depth + 1)
        elif isinstance(value, (list, tuple, set)):
            for item in value:
                walk(item, depth + 1)
        elif isinstance(value, torch.Tensor) and (
            value.layout != torch.strided or value.numel() * value.element_size() > size
        ):
            raise UserError(f"{path} is refused: a tensor of {list(value.shape)} is more than the file holds.")

    walk(content, 0)
