"""One start of a sweep in the process that leads it: what is checked before, shown meanwhile, and told at the end."""

from __future__ import annotations

import logging
import shlex
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from twotower.core import format as text
from twotower.core.errors import UserError
from twotower.reports.table import groups_table, levels, runs_table
from twotower.runs import ledger
from twotower.sweep.decide import Action
from twotower.sweep.journal import TROUBLE, Journal, Outcome
from twotower.sweep.names import refuse_twins
from twotower.sweep.plan import PlannedJob, grid, parallel_jobs, planned, seconds_left
from twotower.sweep.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Session:
    """A sweep under way, as the leading process sees it."""

    journal: Journal
    progress: Progress
    metric: str
    console: Console


def start(config: DictConfig) -> Session:
    """Checks the sweep and starts its display.

    Args:
        config: the sweep's composed config, Hydra's part included.

    Raises:
        UserError: for settings that can't work, or a folder that can't be written.
        SystemExit: after a dry run, with 0.
    """
    settings = config.sweep
    if settings.name is None or settings.session is None:
        raise UserError(f"A sweep is started with -m on the command line: {text.train_command()} -m ...")
    if settings.seeds is not None and not any(str(item).startswith("seed=") for item in config.hydra.overrides.task):
        raise UserError(f"sweep.seeds={settings.seeds} must stand on the command line, not in a file.")
    console = Console(file=sys.stdout)  # this very stream: jobs exchange sys.stdout for a file of theirs
    sweep_dir = Path(str(config.hydra.sweep.dir))
    jobs = grid(config)
    if jobs is None:
        quiet_optuna()
    different = None if jobs is None else refuse_twins(jobs)
    if settings.dry_run:
        show_plan(config, jobs, sweep_dir, console)
        raise SystemExit(0)
    journal = Journal(sweep_dir, str(settings.session))
    journal.open()
    total = different or config.hydra.sweeper.get("n_trials")
    metric = str(config.evaluation.objective)
    progress = Progress(journal, total=total, metric=metric, console=console, live=not settings.show_jobs)
    console.print(Text(f"Sweep {settings.name}: {total or 'some'} jobs into {sweep_dir}"), soft_wrap=True)
    progress.start()
    return Session(journal=journal, progress=progress, metric=metric, console=console)


def quiet_optuna() -> None:
    """Keeps the sweeper's own lines out of the terminal: they repeat what the sweep shows, failures included."""
    logging.getLogger("hydra_plugins").setLevel(logging.CRITICAL)
    with suppress(ImportError):
        import optuna

        optuna.logging.set_verbosity(logging.ERROR)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def show_plan(config: DictConfig, jobs: list[list[str]] | None, sweep_dir: Path, console: Console) -> None:
    """Prints every job with what would be done with it, and an estimate of the time left. Writes nothing."""
    if jobs is None:
        trials = config.hydra.sweeper.get("n_trials")
        console.print(f"The sweeper chooses its {trials or ''} jobs as it goes; none can be listed before.")
        return
    with console.status("Composing the jobs"):
        plan = planned(config, jobs)
    console.print(plan_table(plan, sweep_dir))
    left = sum(job.left for job in plan)
    roots = [name for name in (*ledger.DEFAULT_FOLDERS, sweep_dir) if Path(name).is_dir()]
    seconds = seconds_left(plan, ledger.load(*roots) if roots else [], parallel=parallel_jobs(config.hydra))
    estimate = "nothing measured yet to estimate the time" if seconds is None else f"about {text.duration(seconds)}"
    failed = sum(job.decision.action is Action.FAILED_BEFORE for job in plan)
    retry = f"{failed} failed before (sweep.retry_failed=true tries again), " if failed else ""
    done = len(plan) - left - failed
    console.print(f"{len(plan)} jobs, {done} need nothing done, {retry}{left} to train: {estimate}.", soft_wrap=True)


def plan_table(plan: Sequence[PlannedJob], sweep_dir: Path) -> Table:
    """Returns the jobs of a dry run as a table; what all of them share is on the command line to be read."""
    title = Text(f"Dry run of {sweep_dir}", style="table.title")  # as text: brackets in values are no markup
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("#", "job", "would", "because"):
        table.add_column(name, justify="right" if name == "#" else "left", overflow="fold")
    shared = set.intersection(*(set(job.overrides) for job in plan)) if len(plan) > 1 else set()
    for number, job in enumerate(plan):
        own = [item for item in job.overrides if item not in shared and not item.startswith(("sweep.", "hydra."))]
        shown = " ".join(own) or "defaults"
        table.add_row(*map(Text, (str(number), shown, job.decision.action.value, job.decision.reason)))
    return table


def end(session: Session, typed: Sequence[str], *, stopped: bool = False) -> int:
    """Ends the display and prints the ranked table and every failure.

    Args:
        session: what `start` returned.
        typed: the command line as the user typed it.
        stopped: the user stopped the sweep before its end.

    Returns:
        The exit code: 0, or 1 when a job failed (130 when stopped).
    """
    session.progress.close()
    outcomes, console = session.journal.outcomes(), session.console
    show_ranking(session.journal.sweep_dir, session.metric, console)
    show_troubles(outcomes, session.journal.sweep_dir, console)
    session.journal.close()
    if stopped:
        command = f"{text.train_command()} {shlex.join(typed)}"
        done = sum(item.outcome in ("finished", "skipped") for item in outcomes)
        of_all = f"{done} of {session.progress.total} jobs" if session.progress.total else f"{done} jobs"
        console.print(
            Text(f"Stopped with {of_all} done. The same command goes on from here: {command}"), soft_wrap=True
        )
        return 130
    return 1 if any(item.outcome in TROUBLE for item in outcomes) else 0


def show_ranking(sweep_dir: Path, metric: str, console: Console) -> None:
    """Prints the runs of a sweep, best first: one row per run, or per config where there are several seeds."""
    runs = ledger.load(sweep_dir) if sweep_dir.is_dir() else ledger.Ledger()
    if not runs.readable:
        return
    with suppress(UserError):  # when nothing was evaluated; the failures below say why
        runs = runs.sorted(metric)
    seeded = any(len(group) > 1 for group in runs.groups().values())
    table = groups_table if seeded else runs_table
    width = console.width if console.is_terminal else None  # a file has room for every column
    console.print(Text(f"\n{sweep_dir}, best first:", style="bold"), soft_wrap=True)
    Console(file=console.file, width=width or 500).print(table(runs, metric=metric, width=width))
    for line in levels(runs.readable, metric):
        console.print(Text(line, style="dim"), soft_wrap=True)


def show_troubles(outcomes: Sequence[Outcome], sweep_dir: Path, console: Console) -> None:
    """Prints each job that did not end well, with its reason and where to read more."""
    troubled = [item for item in outcomes if item.outcome in TROUBLE]
    for item in troubled:
        log = f"  see {sweep_dir / item.folder / 'train.log'}" if item.outcome == "failed" else ""
        style = "yellow" if item.outcome in ("not started", "interrupted") else "red"
        console.print(Text.assemble((item.outcome, style), f"  {item.folder}: {item.reason}{log}"), soft_wrap=True)
    if any(item.outcome == "failed before" for item in troubled):
        console.print("sweep.retry_failed=true tries the failed ones again.")
    elsewhere = [item for item in outcomes if item.outcome == "elsewhere"]
    for item in elsewhere:
        console.print(Text.assemble(("elsewhere", "cyan"), f"  {item.folder}: {item.reason}"), soft_wrap=True)
