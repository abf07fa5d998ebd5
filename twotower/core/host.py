"""Where and with what a run ran: host, process, package versions, git; and whether that process is still there.

Nothing here imports the packages it names: versions come from their metadata, the git state from the git command.
"""

from __future__ import annotations

import os
import platform
import socket
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "twotower",
    "torch",
    "pytorch-lightning",
    "hydra-core",
    "omegaconf",
    "torchmetrics",
    "numpy",
    "scipy",
    "tokenizers",
    "gensim",
    "bm25s",
    "faiss-cpu",
    "faiss-gpu",
    "redis",
    "wandb",
    "pyarrow",
)
"""Packages whose version can change a run's numbers or files."""


def host_facts() -> dict[str, Any]:
    """Returns this machine and process: name, platform, cpus, pid, process_started (clock ticks), boot_id."""
    pid = os.getpid()
    return {
        "name": socket.gethostname(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "pid": pid,
        "process_started": process_started(pid),
        "boot_id": boot_id(),
    }


def boot_id() -> str | None:
    """Returns the kernel's identifier of this boot, or None where there is none (not Linux)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def process_started(pid: int) -> int | str | None:
    """Returns when a process began, in a unit that a jump of the clock does not touch.

    On Linux these are clock ticks since boot; elsewhere the text `ps` shows; None when there is no such process.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        fields = text.rpartition(")")[2].split()  # the command's name, in brackets, may hold spaces and brackets
        return None if fields[0] in ("Z", "X") else int(fields[19])
    except (OSError, IndexError, ValueError):
        if Path("/proc/self/stat").exists():
            return None
    return _run("ps", "-o", "lstart=", "-p", str(pid)) or None


def is_alive(host: Mapping[str, Any]) -> bool | None:
    """Says whether the process that a record's `host` describes still runs; None when it can't be known from here.

    A process identifier alone proves nothing, as it is given out again: the start time and the boot must agree too.
    """
    if host.get("name") != socket.gethostname():
        return None
    if host.get("boot_id") and host["boot_id"] != boot_id():
        return False
    pid, started = host.get("pid"), host.get("process_started")
    if not isinstance(pid, int):
        return None
    now = process_started(pid)
    return now is not None and (started is None or now == started)


@lru_cache(maxsize=1)
def versions() -> Mapping[str, str]:
    """Returns the installed versions of `PACKAGES` and of Python, without importing them.

    Read once per process, as what it has imported stays the same.
    """
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@lru_cache(maxsize=1)
def git_state() -> dict[str, Any]:
    """Returns the commit of twotower's own source and whether it was changed since; nulls outside a checkout.

    Asked once per process, as the code that runs was read at its start.
    """
    source = Path(__file__).resolve().parents[1]
    if not _run("git", "-C", str(source), "ls-files", "--error-unmatch", "__init__.py"):
        return {"commit": None, "dirty": None}
    commit = _run("git", "-C", str(source), "rev-parse", "HEAD")
    changed = _run("git", "-C", str(source), "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit or None, "dirty": None if changed is None else bool(changed)}


def _run(*command: str) -> str | None:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() if result.returncode == 0 else None
