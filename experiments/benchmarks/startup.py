"""How long commands take before they do anything: showing the config, the ledger, and training's first step.

    python experiments/benchmarks/startup.py [--repeats 5]

The first step is that of `python train.py` with its defaults and everything in the cache (a run before sees to that).
Its clock starts before the process does and stops when the second batch is asked for, so the update counts too; nothing
is imported for it that train.py would not import at that moment. Processor time is that of the process and what it
waited for. The ledger reads 1,000 runs of 50 hyper-parameters each, copies of that run's record with other values.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common

GOALS = {"train.py --cfg job": 1.0, "twotower runs, 1,000 of them": 2.0, "first training step, all cached": 6.0}
TO_FIRST_STEP = """
import importlib.util, os, resource, runpy, sys, time

class Finder:  # adds to the module as soon as train.py itself imports it
    def find_spec(self, name, path, target=None):
        if name != "twotower.model.module":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (execute(module), watch(module.TwoTowerModule))
        return spec

def watch(module):
    step, steps = module.training_step, []
    def timed(self, batch, number):
        if steps:
            uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
            cpu = sum(use.ru_utime + use.ru_stime for use in uses)
            print(time.time() - float(os.environ["STARTED"]), cpu, flush=True)
            os._exit(0)
        steps.append(number)
        return step(self, batch, number)
    module.training_step = timed

sys.meta_path.insert(0, Finder())
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def timed(command: list[str], folder: str, threads: int) -> tuple[float, float]:
    """Returns a command's seconds and processor seconds; one that prints nothing has done nothing: no measurement."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    environment = {**os.environ, **common.QUIET, "STARTED": str(started), "PYTHONPATH": str(common.ROOT)}
    if threads:
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), str(threads))
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, env=environment)
    seconds, after = time.time() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if not done.stdout.strip():
        raise SystemExit(f"{' '.join(command)} printed nothing")
    if TO_FIRST_STEP in command:
        wall, cpu = done.stdout.split()[-2:]
        return float(wall), float(cpu)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def many_runs(folder: Path, count: int = 1000) -> None:
    """Lays down copies of a finished run's record, each with a seed, a rate and 50 values of its own."""
    (path,) = folder.glob("outputs/*/*/run.json")
    record = json.loads(path.read_text())
    for number in range(count):
        record["seed"] = record["config"]["seed"] = number
        record["config"]["more"] = {f"parameter_{at}": number * at for at in range(50)}
        copy = folder / "multirun" / "many" / f"job{number}" / "run.json"
        copy.parent.mkdir(parents=True)
        copy.write_text(json.dumps(record))


def main() -> None:
    """Times every command in turn."""
    options = common.parser(__doc__, repeats=5).parse_args()
    train = str(common.ROOT / "train.py")
    commands = {
        "train.py --cfg job": [sys.executable, train, "--cfg", "job"],
        "twotower runs, 1,000 of them": [sys.executable, "-m", "twotower.cli.main", "runs", "multirun"],
        "first training step, all cached": [sys.executable, "-c", TO_FIRST_STEP, train],
    }
    with tempfile.TemporaryDirectory() as folder:
        timed([sys.executable, train, "trainer.max_epochs=1", "index=none"], folder, options.threads)
        many_runs(Path(folder))
        rounds = [
            {name: timed(command, folder, options.threads) for name, command in commands.items()}
            for _ in range(options.repeats)
        ]
    for name, goal in GOALS.items():
        seconds, cpu = (statistics.median(times[name][part] for times in rounds) for part in (0, 1))
        common.report(
            options.json,
            name,
            goal=f"under {goal:.0f} s",
            measured=f"{seconds:.2f} s ({cpu:.2f} s of CPU)",
            met=seconds < goal,
            bound="importing torch and Lightning" if "step" in name else "importing what reads and shows",
            seconds=seconds,
            cpu_seconds=cpu,
        )


if __name__ == "__main__":
    main()
