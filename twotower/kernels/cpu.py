"""What suits the processor at hand: memory that is kept, threads, and the precision that is faster here.

Nothing in this module changes what is computed, but for `faster_precision`, which says so in the run's record.
"""

from __future__ import annotations

import ctypes
import logging
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from twotower.core.cache import cached_folder, content_key
from twotower.core.files import write_json
from twotower.core.reading import read_typed_json

logger = logging.getLogger(__name__)

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
WORTH_IT = 0.9
"""bf16 is taken where a step needs less than this share of the time in float32."""


def prepare_process(config: dict[str, Any]) -> None:
    """Sets this process up for training: threads as the config says, no denormal numbers, memory kept.

    Args:
        config: the full resolved config; `trainer.threads` is read.
    """
    # Adam's moments of rare words shrink into denormal numbers, which a CPU multiplies ten times slower
    torch.set_flush_denormal(True)
    # deterministic runs would fill all fresh memory with NaN, to show up reads of it: a tenth of the time of a step
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    keep_freed_memory()
    if config["trainer"].get("threads"):
        torch.set_num_threads(int(config["trainer"]["threads"]))


def keep_freed_memory() -> bool:
    """Lets the C library keep freed blocks of up to 1 GiB for the next step; returns whether it could be told.

    A step frees and allocates the same dozens of megabytes again. By default glibc hands blocks this large back to the
    kernel at once, and every step then pays for fresh pages: a third of the time of a step of the mlp tower. Memory in
    use does not grow; what was used once stays with the process until it ends.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False  # another C library than glibc
    return bool(mallopt(M_MMAP_THRESHOLD, 1 << 30) and mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1))


def faster_precision(step: Callable[[], None], *described: Any, rounds: int = 3) -> str:
    """Returns "bf16-mixed" if a training step is clearly faster with it on this CPU, else "32-true".

    Measured in processor time, which other programs disturb little, and remembered for this processor and these sizes,
    so that a run and its repetition take the same.

    Args:
        step: forward and backward pass of one batch, without an update; it is called under both precisions.
        *described: plain data on which the time depends (model, batch size).
        rounds: times each is measured, the quickest counts.
    """
    key = content_key("precision 1", processor_name(), torch.__version__, *described)

    def measure(folder: Path) -> None:
        seconds: dict[bool, list[float]] = {False: [], True: []}
        for number in range(rounds + 1):
            for low in (False, True):
                with torch.autocast("cpu", torch.bfloat16, enabled=low):
                    started = time.process_time()
                    step()
                if number:  # the first round only warms up
                    seconds[low].append(time.process_time() - started)
        write_json(folder / "seconds.json", {"32-true": min(seconds[False]), "bf16-mixed": min(seconds[True])})

    path = cached_folder("precision", key, measure) / "seconds.json"
    found = read_typed_json(path, {"bf16-mixed": float, "32-true": float})
    chosen = "bf16-mixed" if found["bf16-mixed"] < WORTH_IT * found["32-true"] else "32-true"
    times = {name: f"{1000 * value:.1f} ms" for name, value in found.items()}
    logger.info("trainer.precision=auto: %s (a step takes %s)", chosen, times)
    return chosen


def processor_name() -> str:
    """Returns the processor's model with what it can compute, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    wanted: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        wanted.setdefault(name.strip(), value.strip())
    return " ".join(wanted.get(name, "") for name in ("model name", "model", "stepping", "flags"))
