"""Loading large libraries without the garbage collector looking through them again and again while they load."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def set_aside() -> Iterator[None]:
    """Keeps the collector still in a `with` block of imports, and from ever looking at what was loaded in it.

    Importing torch and Lightning makes some million objects, nearly all of which live as long as the process. The
    collector goes through all of them several times meanwhile, and again during training: a second of processor time
    that frees a few megabytes. Where the collector is off already, it stays off.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if enabled:
            gc.enable()
