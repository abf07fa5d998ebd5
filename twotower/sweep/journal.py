"""What happened to each job of one start of a sweep, as small files that every process on every machine can write.

Kept under `<sweep folder>/.sweep/<session>/`; each job has its own file, written atomically, so nobody waits for
anybody and a kill leaves no half-written line. The records of the runs stay the truth about results; this says what
they can't: jobs passed over, refused, or not started.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from twotower.core import host
from twotower.core.cache import content_key
from twotower.core.files import write_json
from twotower.core.secrets import masked

OUTCOMES = (
    "running",
    "finished",  # trained to its end in this session
    "skipped",  # was finished before
    "failed",  # failed in this session
    "failed before",  # failed in an earlier session and was not tried again
    "refused",  # its folder can't be used
    "elsewhere",  # another process is at it
    "not started",  # an earlier failure stopped the sweep
    "interrupted",
)
"""Every outcome a job can have in a session."""

TROUBLE = ("failed", "failed before", "refused", "not started", "interrupted")
"""Outcomes that make the sweep's exit code 1."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one job: its folder relative to the sweep's, why, its objective, seconds spent in this session."""

    folder: str
    outcome: str
    reason: str = ""
    value: float | None = None
    seconds: float = 0.0
    epochs: int = 0


class Journal:
    """The outcomes of one session of a sweep.

    Args:
        sweep_dir: the sweep's folder.
        session: the name of this start, from `sweep.session`.
    """

    def __init__(self, sweep_dir: str | Path, session: str) -> None:
        self.sweep_dir = Path(sweep_dir)
        self.folder = self.sweep_dir / ".sweep" / session

    def open(self) -> None:
        """Notes who leads this session, and clears away those whose leader is gone."""
        for other in self.folder.parent.glob("*/session.json"):
            try:
                leader = json.loads(other.read_bytes())
            except (OSError, ValueError):
                leader = {}
            if host.is_alive(leader) is False:
                shutil.rmtree(other.parent, ignore_errors=True)
        write_json(self.folder / "session.json", host.host_facts())

    def close(self) -> None:
        """Removes the session; the runs' records stay."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # another session is at work, or the folder is closed to us
            self.folder.parent.rmdir()

    def note(self, run_dir: Path, outcome: str, **facts: Any) -> None:
        """Writes one job's outcome over what was known before."""
        assert outcome in OUTCOMES, outcome
        item = Outcome(folder=self.name_of(run_dir), outcome=outcome, **facts)
        write_json(self.folder / f"{content_key(item.folder)[:16]}.json", masked(asdict(item)))

    def name_of(self, run_dir: Path) -> str:
        """Returns a job's folder relative to the sweep's."""
        try:
            return run_dir.resolve().relative_to(self.sweep_dir.resolve()).as_posix()
        except ValueError:
            return str(run_dir)

    def outcomes(self) -> list[Outcome]:
        """Returns every job's latest outcome, by folder."""
        outcomes = []
        for path in self.folder.glob("*.json"):
            if path.name != "session.json":
                try:
                    outcomes.append(Outcome(**json.loads(path.read_bytes())))
                except (OSError, ValueError, TypeError):
                    continue  # removed this moment by the end of the session
        return sorted(outcomes, key=lambda item: item.folder)

    def stop(self, reason: str) -> None:
        """Lets no further job of this session start, in whatever process."""
        write_json(self.folder / "stop", {"reason": reason})

    def stopped(self) -> str | None:
        """Returns why no further job should start, or None."""
        try:
            return str(json.loads((self.folder / "stop").read_bytes())["reason"])
        except (OSError, ValueError):
            return None
