"""What suits the processor at hand: memory that is kept, threads, and the precision that suits it.

Nothing in this module changes what is computed, but for `precision_for`, whose answer stands in the run's record.
"""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
BF16_PRODUCTS = frozenset(("amx_bf16", "avx512_bf16"))
"""What a processor that multiplies bfloat16 says it can, one of them or both."""


def prepare_process(threads: int | None = None) -> None:
    """Sets this process up for training: threads as it is told, no denormal numbers, memory kept.

    Args:
        threads: CPU threads; None for torch's own choice.
    """
    # Adam's moments of rare words shrink into denormal numbers, which a CPU multiplies ten times slower
    torch.set_flush_denormal(True)
    # deterministic runs would fill all fresh memory with NaN, to show up reads of it: a tenth of the time of a step
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    keep_freed_memory()
    if threads is not None:
        torch.set_num_threads(threads)


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


def release_freed_memory() -> None:
    """Gives back what was freed but kept: after a stage that needed much once, such as making a vocabulary."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        return  # another C library than glibc


def precision_for(*, recurrent: bool) -> str:
    """Returns the precision that suits this processor and kind of tower: the same in every run of one machine.

    Recurrent towers are matrix products word by word. In a step of a gru (2 layers of 256) bfloat16 took .38 of the
    time of float32 with tiles for it (AMX), .91 with vector products of it alone (AVX512-BF16), and twice the time
    without either. Towers that add up word vectors spend their time on reading memory and gain nothing. Decided by what
    the processor says of itself, never by a stopwatch.

    Args:
        recurrent: whether a tower reads text word by word.
    """
    return "bf16-mixed" if recurrent and not BF16_PRODUCTS.isdisjoint(processor_name().split()) else "32-true"


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
