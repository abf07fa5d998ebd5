"""The one exception type for mistakes a user can correct, and the hint that names the nearest valid choice."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in a command, a config value or an input file, told in one line.

    The message says what is wrong, where, and what would work. The command line prints it without a traceback and
    exits with code 2.
    """


class RefusedError(BaseException):
    """A `UserError` on its way through Hydra, which prints a line of its own about any `Exception` of a job."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """Returns " Did you mean 'x'?" for the valid name closest to a misspelt one, or "" when none is close.

    Args:
        name: what the user wrote.
        choices: the names that would have worked.
    """
    close = difflib.get_close_matches(str(name), [str(choice) for choice in choices], n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""
