"""Numbers, sizes, times and texts as people read them."""

from __future__ import annotations

import json
import math
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from twotower.core.places import in_checkout

UNSEEN = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"}
UNSEEN |= {0x7F: 0x2421} | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
"""Control characters, and the signs of Unicode that picture them."""


def visible(text: str) -> str:
    """Returns a text whose control characters are signs, so that what data holds can't steer a terminal."""
    return text.translate(UNSEEN)


def search_command(folder: str | Path, question: str, *, index: str | None = None) -> str:
    """Returns the command that searches a run, as it can be pasted into a shell here.

    Args:
        folder: the run's folder.
        question: what to look for; what a shell would read as its own is taken out.
        index: the index to search; None leaves the choice to the command.
    """
    plain = question.translate({ord('"'): "'"} | dict.fromkeys(map(ord, "$`\\!")))
    quoted = visible(" ".join(plain.split())).lstrip("- ") or "anything"  # what is left must not look like an option
    named = f" --index {index}" if index else ""
    return f'{program()} search --run {shlex.quote(str(folder))}{named} "{quoted}"'


def near(path: Path) -> str:
    """Returns a path as one types it here: from the current folder on, where it lies below."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def program() -> str:
    """Returns `twotower` where the shell finds the one of this Python, else the path to it."""
    mine = Path(sys.executable).with_name("twotower")
    installed = shutil.which("twotower")
    if not mine.is_file() or (installed and Path(installed).resolve() == mine.resolve()):
        return "twotower"
    here = Path.cwd()
    return shlex.quote(str(mine.relative_to(here) if mine.is_relative_to(here) else mine))


def train_command() -> str:
    """Returns what starts a training here: `python train.py` in a checkout, `twotower train` elsewhere."""
    at_hand = in_checkout() or Path(sys.argv[0]).name.endswith("train.py")
    return "python train.py" if at_hand else f"{program()} train"


def size(count: float | None) -> str:
    """Returns bytes as `812 B`, `3.4 MB`, `1.2 GB` (powers of 1000)."""
    if count is None:
        return "–"
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float | None) -> str:
    """Returns seconds as `4.2 s`, `3 min 20 s`, `5 h 10 min`, `12 d 3 h`."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for large, small, names in ((86400, 3600, "d h"), (3600, 60, "h min"), (60, 1, "min s")):
        if whole >= large:
            first, second = names.split()
            return f"{whole // large} {first} {whole % large // small} {second}"
    raise AssertionError(seconds)


def age(seconds: float) -> str:
    """Returns how long ago something was, in its largest unit: `now`, `5 min`, `3 h`, `12 d`."""
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return "now"


def number(value: float | None, places: int = 4) -> str:
    """Returns a metric as `.4312`, the way the field writes figures below one."""
    if value is None:
        return "–"
    text = f"{value:.{places}f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 and "0." in text else text


def value(item: Any) -> str:
    """Returns a config value in few characters: numbers short, null as `null`, lists as JSON."""
    if isinstance(item, float):
        return f"{item:g}"
    if isinstance(item, int) and not isinstance(item, bool):
        return str(item)
    return item if isinstance(item, str) else json.dumps(item, default=str)


def shortened(content: str, most: int) -> str:
    """Returns a text as one line of at most so many characters, cut ones marked."""
    line = " ".join(content.split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def id_parts(doc_id: str) -> list[str]:
    """Returns an id in the parts between which a line may break: after dots, slashes, dashes and underscores."""
    return re.findall(r"_*[^./_:-]*[./_:-]|_*[^./_:-]+", doc_id)
