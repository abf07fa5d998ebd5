"""One way to make a file name of any name that a user gives. Imports nothing large."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from twotower.core.errors import UserError

LONGEST = 100
"""Bytes of a name made for a file; file systems allow 255, and other words stand around it."""
UNSAFE = re.compile(r"[^\w.+=,@#()\[\]-]+")


def safe_file_name(name: str) -> str:
    """Returns a name that no file system takes for anything but one short file name of a folder.

    Letters and digits of any script stay. A name that was changed ends in a hash of the whole, so that two different
    names never become one.
    """
    plain = unicodedata.normalize("NFC", name)
    clean = UNSAFE.sub("_", plain).strip(".")
    short = clean.encode("utf-8")[: LONGEST - 9].decode("utf-8", "ignore")
    if clean == name and len(clean.encode("utf-8")) <= LONGEST and clean:
        return clean
    return f"{short or 'name'}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"


def check_folder_name(key: str, name: str) -> str:
    """Returns a name that becomes a folder as it is.

    Raises:
        UserError: for one that is no plain name: with a slash, blanks at its ends, dots alone, or too long.
    """
    if safe_file_name(name) != name:
        raise UserError(f"{key}={name[:80]} becomes a folder: letters, digits and - _ . = , only, {LONGEST} at most.")
    return name


def check_run_name(name: str | None) -> None:
    """Checks a name that people read in tables; files get `safe_file_name` of it.

    Raises:
        UserError: for an empty one, or one with line ends or control characters.
    """
    if name is None:
        return
    if not name.strip() or any(unicodedata.category(char) in ("Cc", "Zl", "Zp", "Cs") for char in name):
        raise UserError(f"run_name={name[:80]!r} must be a text of one line that is not empty, or null.")
