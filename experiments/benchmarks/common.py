"""What the benchmarks share: sides in processes of their own, run in turn; medians, ratios, and a file of results."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
QUIET = {
    "TOKENIZERS_PARALLELISM": "true",
    "HF_HUB_OFFLINE": "1",
    "WANDB_MODE": "disabled",
    "PYTHONWARNINGS": "ignore",
}
"""The environment of every side: nothing is fetched, nothing is told on the way."""


def processor() -> str:
    """Returns the processor's name as the system gives it, with model and stepping: some give but a maker's name."""
    path = Path("/proc/cpuinfo")
    facts: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    if "model name" not in facts:
        return platform.processor() or platform.machine()
    return f"{facts['model name']} (model {facts.get('model', '?')}, stepping {facts.get('stepping', '?')})"


def parser(doc: str, *, repeats: int = 3) -> argparse.ArgumentParser:
    """Returns a parser with the options that every benchmark takes."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--repeats", type=int, default=repeats, help="rounds; each runs every side once, in turn")
    made.add_argument("--threads", type=int, default=0, help="CPU threads of each side; 0: as many as there are cores")
    made.add_argument("--json", type=Path, help="add the results to this file")
    made.add_argument("--side", help=argparse.SUPPRESS)
    made.add_argument("--round", type=int, default=0, help=argparse.SUPPRESS)
    return made


def collections_parser(doc: str, *, data: str, repeats: int = 3) -> argparse.ArgumentParser:
    """Returns a parser with what benchmarks that train on collections take: which ones, a seed, overrides of our side.

    Args:
        doc: the script's docstring.
        data: the collections it takes unless told otherwise, divided by commas.
        repeats: rounds it takes unless told otherwise.
    """
    made = parser(doc, repeats=repeats)
    made.add_argument("--data", default=data, help="collections, divided by commas")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("overrides", nargs="*", help="config overrides of our side")
    return made


def run_side(script: str, side: str, arguments: list[str], threads: int) -> dict[str, Any]:
    """Runs one side of a script in a process of its own and returns the JSON object of its last line of output."""
    count = str(threads or os.cpu_count() or 1)
    threads_of = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), count)
    environment = {**os.environ, **QUIET, **threads_of}  # tokenizers' threads are Rayon's
    command = [sys.executable, script, "--side", side, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{script} --side {side} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def alternate(
    script: str, sides: list[str], arguments: list[str], *, repeats: int, threads: int
) -> dict[str, list[dict[str, Any]]]:
    """Runs the sides in turn, `repeats` times each, and returns what each reported; a side is told the round."""
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for number in range(repeats):
        for side in sides if number % 2 == 0 else reversed(sides):
            found[side].append(run_side(script, side, [*arguments, "--round", str(number)], threads))
            print(f"  {side}: {found[side][-1]}", file=sys.stderr, flush=True)
    return found


class Clock:
    """Seconds and processor seconds since it was made, less those for which it was stopped."""

    def __init__(self) -> None:
        self.started = self._now()

    def _now(self) -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    def read(self) -> list[float]:
        """Returns [seconds, processor seconds]."""
        return [round(now - then, 2) for now, then in zip(self._now(), self.started, strict=True)]

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """What happens inside does not count."""
        before = self._now()
        yield
        spent = (now - then for now, then in zip(self._now(), before, strict=True))
        self.started = tuple(then + passed for then, passed in zip(self.started, spent, strict=True))


def median(reports: list[dict[str, Any]], key: str) -> float:
    """Returns the median of one figure over the rounds."""
    return float(statistics.median(report[key] for report in reports))


def report(
    path: Path | None, name: str, *, goal: str, measured: str, met: bool | None, bound: str = "", **details: Any
) -> None:
    """Prints one result and, where a file is given, puts it there under its name.

    Args:
        path: the JSON file, or None.
        name: what was measured.
        goal: what should be reached.
        measured: what was reached, in words with units.
        met: whether that is enough; None where nothing can be said.
        bound: what keeps it from being better, in words.
        **details: medians, sizes and settings.
    """
    entry = {"goal": goal, "measured": measured, "met": met, "bound": bound, **details}
    print(f"{name}: {measured} (goal: {goal}; {'met' if met else 'no verdict' if met is None else 'NOT met'})")
    if path is not None:
        known = json.loads(path.read_text()) if path.is_file() else {}
        known[name] = entry
        path.write_text(json.dumps(known, indent=1) + "\n")
