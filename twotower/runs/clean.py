"""Making room: which files of which finished runs can go, and why the others stay.

Never touched: records (run.json, .hydra, histories, per-query scores, logs), unfinished or unreadable runs, and the
best run of every data set. Document stores that a kept index points to stay as well.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from twotower.core.errors import UserError
from twotower.core.nested import leaves
from twotower.runs.ledger import Ledger
from twotower.runs.run import ENDED, Run, file_bytes, folder_bytes, read_run

KINDS = ("lightning", "index", "documents", "exported")
"""What can be removed: Lightning's checkpoints (needed to resume), indexes, document stores, exported models."""


@dataclass(frozen=True, kw_only=True)
class Removal:
    """One file or folder that can go."""

    run: Run
    path: Path
    kind: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What would be removed, and for every run that is left whole the reason."""

    removals: list[Removal]
    kept: list[tuple[Run, str]]

    @property
    def bytes(self) -> int:
        """Bytes that removing would free."""
        return sum(item.bytes for item in self.removals)


def plan(runs: Ledger, *, kinds: Collection[str], keep: int = 1, metric: str | None = None) -> Plan:
    """Decides what can go.

    Args:
        runs: all runs, those to keep included.
        kinds: of `KINDS`.
        keep: how many of the best configs' runs per data set are left whole.
        metric: the metric that decides the best; None takes what most runs were judged by.

    Raises:
        UserError: for an unknown kind, or a metric that no run has.
    """
    if unknown := set(kinds) - set(KINDS):
        raise UserError(f"Nothing called {', '.join(sorted(unknown))} to clean; there are: {', '.join(KINDS)}.")
    best = _best(runs, keep, runs.metric(metric))
    kept, candidates = [], []
    for run in runs:
        reason = f"is {run.status}" if run.status not in ENDED else best.get(run.path.resolve())
        if reason:
            kept.append((run, reason))
        else:
            candidates.append(run)
    protected = set() if "documents" not in kinds else _linked_documents([run for run, _ in kept])
    if "index" not in kinds:
        protected |= _linked_documents(candidates)
    removals = [item for run in candidates for item in _removable(run, kinds) if item.path.resolve() not in protected]
    return Plan(removals=removals, kept=kept)


def carry_out(decided: Plan) -> int:
    """Removes what was planned and returns the bytes freed; a run that came alive meanwhile is left alone.

    Raises:
        UserError: for a file that can't be removed.
    """
    freed = 0
    for item in decided.removals:
        if read_run(item.run.path).status not in ENDED:
            continue
        try:
            if item.path.is_dir() and not item.path.is_symlink():
                shutil.rmtree(item.path)
            else:
                item.path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"Cannot remove {item.path}: {error.strerror or error}.") from error
        freed += item.bytes
    return freed


def _best(runs: Ledger, keep: int, metric: str) -> dict[Path, str]:
    reasons: dict[Path, str] = {}
    ended = runs.ended
    for data in {run.data_key for run in ended}:
        ranked = [run for run in ended.sorted(metric) if run.data_key == data and run.score(metric)]
        for rank, run in enumerate(ranked[:keep], start=1):
            name = (run.record.get("data") or {}).get("name") or "its data"
            reasons[run.path.resolve()] = f"is number {rank} on {name} by {metric}"
    return reasons


def _removable(run: Run, kinds: Collection[str]) -> Iterator[Removal]:
    models = run.path / "checkpoints"
    places = {
        "lightning": sorted(models.glob("*.ckpt")),
        "exported": [path for name in ("*.pt", "*.safetensors") for path in sorted(models.glob(f"two_tower_{name}"))],
        # a Redis index lives on its server: without its manifest here nobody could find or drop it again
        "index": [item for item in sorted((run.path / "index").glob("*")) if not item.name.startswith("redis")],
        "documents": sorted(run.path.glob("documents.db*")),
    }
    root, seen = run.path.resolve(), set[int]()
    for kind in KINDS:
        for path in places[kind] if kind in kinds else ():
            if not path.parent.resolve().is_relative_to(root):
                continue  # through a linked folder: what lies there is not the run's
            if path.is_symlink() or path.is_file():
                yield Removal(run=run, path=path, kind=kind, bytes=file_bytes(path.lstat(), seen))
            elif path.is_dir():
                yield Removal(run=run, path=path, kind=kind, bytes=folder_bytes(path))


def _linked_documents(runs: Collection[Run]) -> set[Path]:
    """Returns the files that the index manifests of some runs point to, wherever in the manifest they are named."""
    linked = {(run.path / "documents.db").resolve() for run in runs}
    for run in runs:
        for manifest in (run.path / "index").glob("*/manifest.json"):
            try:
                content = json.loads(manifest.read_bytes())
            except (OSError, ValueError):
                continue
            for _, text in leaves(content):
                if isinstance(text, str) and text.endswith(".db"):
                    linked |= {(base / text).resolve() for base in (manifest.parent, run.path, Path.cwd())}
    return linked
