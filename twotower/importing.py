"""Loading large libraries without the garbage collector looking through them again and again while they load."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def set_aside(module: str) -> Iterator[None]:
    """Keeps the collector still in a `with` block of imports, and from ever looking at what was loaded in it.

    Importing torch and Lightning makes some million objects, nearly all of which live as long as the process. The
    collector goes through all of them several times meanwhile, and again during training: a second of processor time
    that frees a few megabytes. Where the collector is off already, it stays off.

    Args:
        module: the one that brings the others with it; once it is loaded nothing is done, so that what later jobs of
            the same process leave behind is collected.
    """
    if module in sys.modules:
        yield
        return
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if enabled:
            gc.enable()
