"""A process with one thread more than it has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread_more() -> Iterator[None]:
    """Gives torch one thread more inside."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        yield
    finally:
        torch.set_num_threads(threads)
