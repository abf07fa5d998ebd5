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


def nearest(name: str, choices: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Returns " Did you mean 'x'?" for the valid name closest to a misspelt one, or "" when none is close.

    Args:
        name: what the user wrote.
        choices: the names that would have worked.
        cutoff: how alike they are at the least, from 0 to 1.
    """
    close = difflib.get_close_matches(str(name), [str(choice) for choice in choices], n=1, cutoff=cutoff)
    return f" Did you mean '{close[0]}'?" if close else ""


def first_line(error: BaseException, *, limit: int = 200) -> str:
    """Returns the first line of what another library says, without its full stop: some add a stack of their own.

    Args:
        error: what it raised; one without words gives the name of its type.
        limit: characters at most.
    """
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return line[:limit].rstrip(".")


def in_one_line(error: BaseException, *, limit: int = 500) -> str:
    """Returns all that another library says, in one line, without the stack of C++ that torch may add to it.

    Args:
        error: what it raised.
        limit: characters at most.
    """
    return " ".join(str(error).split("Exception raised from")[0].split())[:limit]
