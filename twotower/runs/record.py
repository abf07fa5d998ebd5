"""`run.json`: what a run is, how far it got and what came of it, on disk from its first second on.

Every change rewrites the file atomically, so a reader (or a kill at any moment) never meets half a record.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from twotower.core import host
from twotower.core.errors import UserError
from twotower.core.files import read_json, sha256_file, write_json
from twotower.core.secrets import mask_override, masked, remember_secrets
from twotower.runs.schema import FILE_NAME, SCHEMA, STATUSES


class RunRecord:
    """The record of one run, kept in step with `<run folder>/run.json`.

    Made by `open`; only one process (rank zero) writes it.
    """

    def __init__(self, path: Path, data: dict[str, Any]) -> None:
        self.path = path
        self.data = data
        self._opened, self._opened_cpu = time.monotonic(), time.process_time()
        self._held = False
        before = data.get("timings") or {}
        self._seconds_before = float(before.get("total_seconds") or 0.0)
        self._cpu_before = float(before.get("total_cpu_seconds") or 0.0)

    @property
    def run_dir(self) -> Path:
        """The run folder."""
        return self.path.parent

    @classmethod
    def open(
        cls,
        run_dir: str | Path,
        *,
        run_name: str,
        config: Mapping[str, Any],
        config_hash: str,
        overrides: Sequence[str] = (),
        choices: Mapping[str, str] | None = None,
        seed: int | None = None,
    ) -> RunRecord:
        """Starts the record of a run, or goes on with the one in the folder if it is of the same config.

        Args:
            run_dir: the run folder; created if missing.
            run_name: the run's name in tables and file names.
            config: the full resolved config as plain data; secrets in it are masked before writing.
            config_hash: `twotower.config.instantiate.config_hash` of it.
            overrides: what the user typed.
            choices: config group -> choice ({"model": "gru"}).
            seed: the run's seed.

        Raises:
            UserError: if the folder holds a run of another config, one that is still running, or an unreadable record,
                or can't be written.
        """
        path = Path(run_dir).resolve() / FILE_NAME
        _make_folder(path.parent)
        remember_secrets(config)
        begun = {
            "run_name": run_name,
            "config": masked(config),
            "config_hash": config_hash,
            "overrides": [mask_override(str(item)) for item in overrides],
            "choices": {str(key): value for key, value in (choices or {}).items()},
            "seed": seed,
        }
        with FileLock(str(path.parent / ".run.lock")):
            data = _resumed(path, begun) if path.exists() else _skeleton(begun)
            for left in path.parent.glob(f".{FILE_NAME}.*.tmp"):  # by a writer that was killed
                left.unlink(missing_ok=True)
            record = cls(path, data)
            record._write()
        return record

    def update(self, **fields: Any) -> None:
        """Merges fields into the record and rewrites it; dicts merge key by key, everything else is replaced.

        Called without fields it only renews `updated`, which tells other machines that the run lives.
        """
        _merge(self.data, fields)
        self._write()

    @contextmanager
    def one_write(self) -> Iterator[None]:
        """Lets several changes in a `with` block reach the file together, at its end."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            self._write()

    def add_epoch(self, entry: Mapping[str, Any]) -> None:
        """Adds one epoch's numbers to the history (one entry per `epoch`: a repeated one takes the old one's place)."""
        assert "epoch" in entry, "a history entry names its epoch"
        others = [item for item in self.data["history"] if item["epoch"] != entry["epoch"]]
        self.data["history"] = sorted([*others, dict(entry)], key=lambda item: item["epoch"])
        self._write()

    def truncate_history(self, epoch: int) -> None:
        """Drops the epochs after `epoch`, which a resumed run will train again."""
        self.data["history"] = [item for item in self.data["history"] if item["epoch"] <= epoch]
        self._write()

    def add_artefact(self, path: str | Path, kind: str) -> None:
        """Notes a file or folder of the run with its sha256 and size; the same path noted again is replaced.

        Args:
            path: absolute, or relative to the run folder.
            kind: checkpoint, history, per_query, index or documents.

        Raises:
            UserError: if there is nothing at `path`.
        """
        full = self.run_dir / path
        if not full.exists():
            raise UserError(f"Cannot record {full} as {kind}: there is no such file.")
        files = [item for item in full.rglob("*") if item.is_file()] if full.is_dir() else [full]
        entry = {
            "path": Path(os.path.relpath(full.resolve(), self.run_dir)).as_posix(),
            "sha256": sha256_file(full),
            "bytes": sum(item.stat().st_size for item in files),
            "kind": kind,
        }
        self.data["artefacts"] = [item for item in self.data["artefacts"] if item["path"] != entry["path"]] + [entry]
        self._write()

    def close(self, status: str, error: BaseException | Mapping[str, str] | str | None = None) -> None:
        """Ends the record.

        Args:
            status: one of `STATUSES` but not `running`.
            error: what went wrong, for a run that failed.
        """
        assert status in STATUSES[1:], status
        self.data.update(status=status, ended=_now(), error=_error(error))
        self.data["timings"] |= {
            "total_seconds": round(self._seconds_before + time.monotonic() - self._opened, 3),
            "total_cpu_seconds": round(self._cpu_before + time.process_time() - self._opened_cpu, 3),
        }
        self._write()

    def _write(self) -> None:
        if self._held:
            return
        self.data["updated"] = _now()
        write_json(self.path, masked(self.data))


def _skeleton(begun: Mapping[str, Any]) -> dict[str, Any]:
    now = _now()
    return {
        "schema": SCHEMA,
        "status": "running",
        **begun,
        "git": host.git_state(),
        "versions": dict(host.versions()),
        "host": host.host_facts(),
        "device": None,
        "data": {},
        "vocabulary": {},
        "timings": {},
        "started": now,
        "updated": now,
        "ended": None,
        "resumed": [],
        "history": [],
        "best_epoch": None,
        "objective": None,
        "evaluation": None,
        "verdict": None,
        "artefacts": [],
        "wandb": {"run_id": None, "sweep_id": None},
        "sweep": None,
        "error": None,
    }


def _resumed(path: Path, begun: Mapping[str, Any]) -> dict[str, Any]:
    old = read_json(path)
    if not isinstance(old, dict) or old.get("schema") != SCHEMA:
        raise UserError(f"{path} is not a run record of schema {SCHEMA}: choose another folder, or move the file away.")
    if old.get("config_hash") != begun["config_hash"]:
        raise UserError(
            f"{path.parent} already holds run '{old.get('run_name')}' of another config "
            f"(hash {old.get('config_hash')}, this one has {begun['config_hash']}): "
            "choose another run folder (hydra.run.dir=...)."
        )
    there = old.get("host") or {}
    if old.get("status") == "running" and there.get("pid") != os.getpid() and host.is_alive(there):
        raise UserError(f"{path.parent} is in use: process {there['pid']} is running this very job there.")
    return {
        **_skeleton(begun),
        **deepcopy(old),
        **begun,
        "status": "running",
        "git": host.git_state(),
        "versions": dict(host.versions()),
        "host": host.host_facts(),
        "resumed": [*old.get("resumed", []), _now()],
        "ended": None,
        "error": None,
    }


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot create {folder}: {error.strerror}. Choose a run folder you can write.") from error
    if not os.access(folder, os.W_OK):
        raise UserError(f"Cannot write into the run folder {folder}: permission denied. Choose one you can write.")


def _merge(target: dict[str, Any], fields: Mapping[str, Any]) -> None:
    for key, value in fields.items():
        if isinstance(value, Mapping) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = deepcopy(dict(value)) if isinstance(value, Mapping) else value


def _error(error: BaseException | Mapping[str, str] | str | None) -> dict[str, str] | None:
    if error is None:
        return None
    if isinstance(error, BaseException):
        return {"type": type(error).__name__, "message": str(error)}
    return {"type": "Error", "message": error} if isinstance(error, str) else dict(error)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class SilentRecord(RunRecord):
    """The record as processes other than the first see it: kept in memory, never written.

    Args:
        run_dir: the run folder.
        **fields: what a record starts with.
    """

    def __init__(self, run_dir: Path, **fields: Any) -> None:
        empty: dict[str, Any] = {"history": [], "timings": {}, "artefacts": [], "wandb": {"run_id": None}}
        super().__init__(run_dir / "run.json", {**empty, **fields})

    def add_artefact(self, path: str | Path, kind: str) -> None:
        """Does nothing."""

    def _write(self) -> None:
        """Does nothing."""
