"""The shards of `twotower encode` on a Ray cluster: a task per worker, each taking every n-th shard."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import torch

from twotower.config.trust import trust, trusted_packages
from twotower.core.errors import UserError
from twotower.core.extras import missing
from twotower.model.checkpoint import load
from twotower.model.shards import Plan, encode_shards

CONNECT_SECONDS = 10
LOCAL = "local"
"""The address that starts Ray on this machine for the time of the command."""


def connect(address: str) -> Any:
    """Returns the ray module, connected to a cluster (`auto`, `HOST:6379`, `ray://HOST:10001`) or to one started here.

    Raises:
        UserError: when Ray is not installed or does not answer.
    """
    try:
        import ray
    except ImportError:
        raise missing("--ray", "ray") from None
    options: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {}
    try:
        _check_reachable(address)
        ray.init(log_to_driver=False, logging_level=logging.ERROR, address=address, **options)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"No Ray cluster at --ray {address} ({reason}); `ray start --head` makes one, --ray {LOCAL} needs none."
        ) from None
    return ray


def _check_reachable(address: str) -> None:
    """Fails at once where nothing listens; Ray itself would try for minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()


@contextmanager
def cluster(address: str) -> Iterator[Any]:
    """Yields the ray module, connected to a cluster until the end; what goes wrong in its tasks is one line.

    What Ray prints of workers that it replaces goes to standard error: it is no part of what a command prints.

    Args:
        address: see `connect`.

    Raises:
        UserError: as `connect` and what runs in the tasks, or when a worker died.
    """
    ray = connect(address)
    try:
        with redirect_stdout(sys.stderr):
            yield ray
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise UserError(str(error.cause)) from None
        raise
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"A Ray worker was lost ({reason}); started again, what is finished is kept.") from None
    finally:
        ray.shutdown()


def encode_on_ray(
    checkpoint: Path, plan: Plan, *, address: str, tasks: int, progress: Callable[[int], None] | None = None
) -> int:
    """Encodes a file's shards by tasks of a Ray cluster, whose machines all see the same files under the same paths.

    Args:
        checkpoint: the exported model.
        plan: what and where to.
        address: see `connect`.
        tasks: how many share the shards; each takes a GPU where the cluster has any, else a processor.
        progress: called with the number of tasks that have just ended.

    Returns:
        Number of texts of the whole file.

    Raises:
        UserError: as `cluster` and `encode_shards`.
    """
    with cluster(address) as ray:
        return encode_by_tasks(ray, checkpoint, plan, tasks, progress)


def encode_by_tasks(
    ray: Any, checkpoint: Path, plan: Plan, tasks: int, progress: Callable[[int], None] | None = None
) -> int:
    """Does what `encode_on_ray` says on a cluster that is connected.

    Args:
        ray: from `cluster`.
        checkpoint: as for `encode_on_ray`, as are the others.
        plan: see there.
        tasks: see there.
        progress: see there.
    """
    resources = {"num_gpus": 1} if ray.cluster_resources().get("GPU") else {"num_cpus": 1}
    task = ray.remote(**resources)(_encode_part)
    waiting = [task.remote(checkpoint, plan, rank, tasks, trusted_packages()) for rank in range(tasks)]
    rows = 0
    while waiting:
        ended, waiting = ray.wait(waiting)
        rows = ray.get(ended[0])
        if progress is not None:
            progress(len(ended))
    return rows


def _encode_part(checkpoint: Path, plan: Plan, rank: int, tasks: int, trusted: tuple[str, ...] = ()) -> int:
    """What one task does, in a process of the cluster."""
    trust(trusted)
    loaded = load(checkpoint)
    loaded.model.to("cuda" if torch.cuda.is_available() else "cpu")
    return encode_shards(loaded, plan, rank=rank, world_size=tasks)
