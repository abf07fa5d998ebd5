"""Where the package's own files lie, in a checkout and in an installed wheel."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from twotower.core.errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]


@cache
def conf_dir() -> Path:
    """Returns the folder of the config groups: `conf/` beside the package in a checkout, inside it in a wheel.

    Raises:
        UserError: when neither is there, as in a copy of the package alone.
    """
    places = (PACKAGE / "conf", PACKAGE.parent / "conf")
    for folder in places:
        if (folder / "train.yaml").is_file():
            return folder
    raise UserError(f"The config groups are missing: neither {places[0]} nor {places[1]} is there.")


def in_checkout() -> bool:
    """Says whether the current folder is the checkout this package runs from, so that `python train.py` works."""
    return Path.cwd() == PACKAGE.parent and (PACKAGE.parent / "train.py").is_file()
