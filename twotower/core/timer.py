"""How long the parts of a run take, by the clock and of the processor."""

from __future__ import annotations

import time
from types import TracebackType


class Stopwatch:
    """Adds up the time spent in its `with` blocks.

    Attributes:
        seconds: by the clock.
        cpu_seconds: of the processor, all threads of this process: the same however busy the machine is.
    """

    def __init__(self) -> None:
        self.seconds = self.cpu_seconds = 0.0
        self._started = (0.0, 0.0)

    def __enter__(self) -> Stopwatch:
        self._started = (time.perf_counter(), time.process_time())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds += time.perf_counter() - self._started[0]
        self.cpu_seconds += time.process_time() - self._started[1]
