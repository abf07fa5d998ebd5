"""One job after another in one process, as if each had a process of its own."""

from __future__ import annotations

import gc
import io
import logging
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


@contextmanager
def isolated() -> Iterator[None]:
    """Puts the process back afterwards as it was: random states, torch's switches, environment, loggers, W&B's run."""
    environment = dict(os.environ)
    loggers = {name: _logger_state(name) for name in ("", "pytorch_lightning", "lightning", "twotower", "wandb")}
    states = (random.getstate(), _numpy_state(), _torch_state())
    try:
        yield
    finally:
        _end_wandb()
        random.setstate(states[0])
        _restore_numpy(states[1])
        _restore_torch(states[2])
        for name, state in loggers.items():
            _restore_logger(name, state)
        for name in set(os.environ) - set(environment):
            del os.environ[name]
        os.environ.update(environment)
        gc.collect()  # modules and trainers point at each other: only this frees a job's memory


class Outlet(io.TextIOBase):
    """A stream that passes on to another, which can be exchanged.

    Libraries keep the stream they found when they were loaded: through this they never write to a file long closed.
    """

    def __init__(self, target: TextIO) -> None:
        self.target = target

    def write(self, text: str) -> int:
        """Writes to the present target."""
        return self.target.write(text)

    def flush(self) -> None:
        """Flushes the present target."""
        self.target.flush()

    def isatty(self) -> bool:
        """Says whether the present target is a terminal."""
        return self.target.isatty()

    def fileno(self) -> int:
        """Returns the present target's file descriptor."""
        return self.target.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The present target's encoding."""
        return self.target.encoding


OUTLETS: dict[str, Outlet] = {}
"""The process's outlets by name of the stream they stand in for."""


@contextmanager
def output_to(path: Path, *, show: bool) -> Iterator[None]:
    """Sends what a job prints into a file instead of the terminal; with `show` nothing is changed."""
    if show:
        yield
        return
    before = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    handlers = [(handler, handler.stream) for handler in _stream_handlers() if handler.stream in before.values()]
    with open(path, "a", encoding="utf-8", errors="replace", buffering=1) as file:
        try:
            for name, stream in before.items():
                outlet = OUTLETS.setdefault(name, Outlet(stream))
                outlet.target = file
                setattr(sys, name, outlet)
            for handler, stream in handlers:
                handler.setStream(OUTLETS["stdout" if stream is before["stdout"] else "stderr"])
            yield
        finally:
            for name, stream in before.items():
                setattr(sys, name, stream)
                OUTLETS[name].target = stream
            for handler, stream in handlers:
                handler.setStream(stream)


def share_threads(jobs: int) -> None:
    """Divides this machine's processor cores among so many processes, for the libraries not loaded yet and for torch.

    Numbers of threads that stand in the environment already (the user's, or the launcher's) stay.
    """
    if jobs < 2:
        return
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, str(max(1, (os.cpu_count() or 1) // jobs)))
    torch = sys.modules.get("torch")
    if torch is not None and os.environ["OMP_NUM_THREADS"].isdigit():
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def _stream_handlers() -> list[logging.StreamHandler[Any]]:
    names = [None, *logging.root.manager.loggerDict]
    handlers = [handler for name in names for handler in logging.getLogger(name).handlers]
    return [
        handler
        for handler in handlers
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler)
    ]


def _logger_state(name: str) -> tuple[int, list[logging.Handler], bool]:
    logger = logging.getLogger(name)
    return logger.level, list(logger.handlers), logger.propagate


def _restore_logger(name: str, state: tuple[int, list[logging.Handler], bool]) -> None:
    logger = logging.getLogger(name)
    for handler in set(logger.handlers) - set(state[1]):
        handler.close()
    logger.level, logger.handlers, logger.propagate = state[0], state[1], state[2]


def _numpy_state() -> Any:
    return np.random.get_state()  # noqa: NPY002 - libraries draw from the global generator: it is what leaks


def _restore_numpy(state: Any) -> None:
    np.random.set_state(state)  # noqa: NPY002


def _torch_state() -> dict[str, Any] | None:
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    return {
        "threads": torch.get_num_threads(),
        "random": torch.get_rng_state(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "grad": torch.is_grad_enabled(),
        "dtype": torch.get_default_dtype(),
        "precision": torch.get_float32_matmul_precision(),
        "benchmark": torch.backends.cudnn.benchmark,
    }


def _restore_torch(state: dict[str, Any] | None) -> None:
    torch = sys.modules.get("torch")
    if torch is None or state is None:
        return
    torch.set_num_threads(state["threads"])
    torch.set_rng_state(state["random"])
    torch.use_deterministic_algorithms(state["deterministic"])
    torch.set_grad_enabled(state["grad"])
    torch.set_default_dtype(state["dtype"])
    torch.set_float32_matmul_precision(state["precision"])
    torch.backends.cudnn.benchmark = state["benchmark"]


def _end_wandb() -> None:
    wandb = sys.modules.get("wandb")
    if wandb is not None and getattr(wandb, "run", None) is not None:
        wandb.finish(exit_code=1)  # an orderly end has closed it: whoever left it open did not come to one
