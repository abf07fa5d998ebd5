"""A run's log file, in a folder that may be closed to us, and log lines without secrets. No torch."""

from __future__ import annotations

import logging
import os
import sys
from io import TextIOWrapper

from twotower.core.secrets import mask_text


class ScrubbedFormatter(logging.Formatter):
    """Formats a line, its traceback included, with every secret masked."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line to write."""
        return mask_text(super().format(record))


class LogFile(logging.FileHandler):
    """A log file that, where it can't be opened, says so once in the terminal instead of ending the program.

    Hydra opens the log of a job before anything of ours runs: by an exception there, one closed folder would take down
    a whole sweep. What can't do without the folder refuses it in its own words.
    """

    def _open(self) -> TextIOWrapper:
        try:
            return super()._open()
        except OSError as error:
            sys.stderr.write(f"Cannot write {self.baseFilename}: {error.strerror}; no log is kept there.\n")
            return open(os.devnull, "w", encoding="utf-8")
