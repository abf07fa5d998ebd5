"""What a sweep costs beside its jobs: the time of a 16-job sweep over the sum of its jobs' training and evaluation.

    python experiments/benchmarks/sweep.py [--epochs 10] [--threads 1]

The whole process counts above the line: start, imports, reading the data, composing, writing models and indexes, the
table at the end. Below it stand training steps and evaluation alone, or with the writing of Lightning's checkpoints,
which `Trainer.fit` does too. The data is the default one, and should be in the cache already: run it twice.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common

GOAL = 1.1
SPACE = ("optimizer.lr=1e-3,2e-3,3e-3,4e-3", "loss.temperature=.05,.07,.1,.2")
PARTS = ("fit", "evaluate", "checkpoint")


def sweep(folder: str, *, epochs: int, threads: int) -> tuple[float, float]:
    """Runs the sweep and returns its seconds by the clock and of the processor."""
    command = [sys.executable, str(common.ROOT / "train.py"), "-m", *SPACE, f"trainer.max_epochs={epochs}"]
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, **common.QUIET, "OMP_NUM_THREADS": str(threads)}
    subprocess.run([*command, f"trainer.threads={threads}"], cwd=folder, check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, cpu


def overhead(folder: str, whole: tuple[float, float]) -> dict[str, float]:
    """Returns the ratios, by the clock and of the processor, with and without the checkpoints below the line."""
    timings = [json.loads(path.read_text())["timings"] for path in Path(folder).glob("multirun/*/*/*/run.json")]
    found = {}
    for name, kind, total in zip(("clock", "processor"), ("seconds", "cpu_seconds"), whole, strict=True):
        sums = [sum(item[f"{part}_{kind}"] for item in timings) for part in PARTS]
        found[name] = total / sum(sums[:2])
        found[f"{name}, checkpoints counted as training"] = total / sum(sums)
    return {name: round(value, 3) for name, value in found.items()}


def main() -> None:
    """Runs the sweep in a folder of its own and prints the ratios."""
    parser = common.parser(__doc__, repeats=1)
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        whole = sweep(folder, epochs=options.epochs, threads=options.threads or 1)
        ratios = overhead(folder, whole)
    common.report(
        options.json,
        f"16-job sweep of {options.epochs} epochs, over its jobs' training and evaluation",
        goal=f"at most {GOAL} x",
        measured=", ".join(f"{value:.3f} x ({name})" for name, value in ratios.items()),
        met=ratios["clock"] <= GOAL,
        bound="start and imports once; for each job composing it, model and trainer set-up, writing model and index",
        seconds=round(whole[0], 1),
        cpu_seconds=round(whole[1], 1),
        **ratios,
    )


if __name__ == "__main__":
    main()
