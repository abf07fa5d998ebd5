"""How far a sweep is, shown while it runs: jobs done, running and failed, the best so far, the time left.

It only reads the journal and the records, so it is the same for jobs in this process, in others and on other machines.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from twotower.core import format as text
from twotower.runs.schema import FILE_NAME
from twotower.sweep.journal import Journal, Outcome

STYLES = {"finished": "green", "skipped": "dim", "elsewhere": "cyan", "running": "cyan"}


class Progress(threading.Thread):
    """Shows the state of a session about once a second: a live panel in a terminal, else a line per ended job.

    Args:
        journal: the session's outcomes.
        total: how many jobs there are; None when the sweeper will not say.
        metric: name of the objective, as shown.
        console: where to show it.
        live: a panel that renews itself; needs a terminal and jobs that keep silent.
    """

    def __init__(self, journal: Journal, *, total: int | None, metric: str, console: Console, live: bool) -> None:
        super().__init__(daemon=True, name="sweep-progress")
        self.journal, self.total, self.metric, self.console = journal, total, metric, console
        self.live = live and console.is_terminal
        self.started = time.monotonic()  # not the time of day, which may jump
        self._latest = (0, self.started)
        self._ended = threading.Event()
        self._shown: set[str] = set()
        self._mutex = threading.Lock()

    def run(self) -> None:
        """Shows until `close` is called."""
        if not self.live:
            while not self._ended.wait(1.0):
                self.show_lines()
            return
        display = Live(
            console=self.console, transient=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        with display as live:
            while not self._ended.wait(0.5):
                live.update(self.panel(self.journal.outcomes()), refresh=True)

    def close(self) -> None:
        """Ends the display; jobs that ended since the last look still get their line."""
        self._ended.set()
        if self.is_alive():
            self.join(timeout=5)
        if not self.live:
            self.show_lines()

    def show_lines(self) -> None:
        """Prints a line for every job that ended since the last look."""
        with self._mutex:
            outcomes = self.journal.outcomes()
            new = [item for item in outcomes if item.outcome != "running" and item.folder not in self._shown]
            for item in new:
                self._shown.add(item.folder)
                self.console.print(self.line(item, len(self._shown)), soft_wrap=True)
            if new:
                self.console.print(Text(self.summary(outcomes), style="dim"), soft_wrap=True)

    def line(self, item: Outcome, number: int) -> Text:
        """Returns what is printed when a job ends."""
        value = "" if item.value is None else f"  {self.metric} {text.number(item.value)}"
        reason = f"  ({item.reason})" if item.reason else ""
        seconds = f"  in {text.duration(item.seconds)}" if item.seconds else ""
        place = f"[{number}/{self.total or '?'}] "
        return Text.assemble(
            place, (item.outcome, STYLES.get(item.outcome, "red")), f"  {item.folder}{value}{seconds}{reason}"
        )

    def summary(self, outcomes: Sequence[Outcome]) -> str:
        """Returns the state in one line."""
        count = {name: sum(item.outcome == name for item in outcomes) for name in {item.outcome for item in outcomes}}
        done = count.get("finished", 0) + count.get("skipped", 0)
        failed = sum(count.get(name, 0) for name in ("failed", "failed before", "refused"))
        parts = [f"{done} of {self.total or '?'} done", f"{count.get('running', 0)} running"]
        parts += [f"{failed} failed"] if failed else []
        parts += [f"{count['elsewhere']} in other processes"] if "elsewhere" in count else []
        valued = [(item.value, item.folder) for item in outcomes if item.value is not None]
        if valued:
            value, folder = max(valued)
            parts.append(f"best {self.metric} {text.number(value)} ({folder})")
        left = self.seconds_left(outcomes)
        return " · ".join([*parts, f"about {text.duration(left)} left"] if left is not None else parts)

    def seconds_left(self, outcomes: Sequence[Outcome]) -> float | None:
        """Estimates the time left from the jobs that ended in this session; None before the first, after the last."""
        measured = sum(item.outcome == "finished" and item.seconds > 0 for item in outcomes)
        over = sum(item.outcome != "running" for item in outcomes)
        if not measured or self.total is None or over >= self.total:
            return None
        now = time.monotonic()
        if measured != self._latest[0]:
            self._latest = (measured, now)
        passed = sum(item.outcome not in ("finished", "running") for item in outcomes)
        rate = (self._latest[1] - self.started) / measured  # seconds of the clock per job, however many at a time
        jobs = max(0, self.total - passed - measured)
        # counts down while the next job runs, and waits at what the others need when that one takes longer
        return max(jobs * rate - (now - self._latest[1]), (jobs - 1) * rate, 0.0)

    def panel(self, outcomes: Sequence[Outcome]) -> Table:
        """Returns the live panel: a bar, the summary, and each running job with its epoch."""
        over = sum(item.outcome != "running" for item in outcomes)
        table = Table.grid(padding=(0, 1))
        table.add_row(ProgressBar(total=self.total or max(len(outcomes), 1), completed=over, width=40))
        table.add_row(Text(self.summary(outcomes)))
        for item in outcomes:
            if item.outcome == "running":
                table.add_row(Text(f"  {item.folder}  {self._epoch(item)}", style="cyan"))
        return table

    def _epoch(self, item: Outcome) -> str:
        try:
            record: dict[str, Any] = json.loads((self.journal.sweep_dir / item.folder / FILE_NAME).read_bytes())
            epochs = record["config"]["trainer"]["max_epochs"]
            latest = (record["history"] or [{}])[-1]
            value = (latest.get("metrics") or {}).get(self.metric)
        except (OSError, ValueError, KeyError, TypeError):
            return "starting"
        figure = "" if value is None else f", {self.metric} {text.number(value)}"
        return f"epoch {latest.get('epoch', 0)} of {epochs}{figure}"
