"""What is settled before large libraries are loaded: how their threads wait, what the garbage collector leaves be."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SPINS = "1000"
"""Rounds a waiting thread turns before it sleeps, some microseconds; GNU's OpenMP turns 300,000 by itself."""


def let_threads_wait() -> None:
    """Tells OpenMP, which reads it as it is loaded, how a thread waits for the others; what the user has set stays.

    Spinning for long, its default, slows training to a tenth where other programs want the cores; sleeping at once
    halves it where they do not, as a step meets its threads a thousand times. Pairs a second of the mlp tower on two
    threads, thousands (medians of two or three, an AMD EPYC's two cores):

        rounds       0   300  1000  10000  300000
        idle        11    20    26     28      29
        one busy    17    14    11      6      10
        both busy    7     -    12     12       4
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": SPINS}  # the first for other makers' OpenMP


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
