"""How long commands take before they do anything: showing the config, and the ledger.

python experiments/benchmarks/startup.py [--repeats 3]

"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

import common

GOALS = {"train.py --cfg job": 1.0, "twotower runs": 1.0}


def timed(command: list[str], folder: str) -> float:
    """Returns the seconds a command takes; one that prints nothing has done nothing, and is no measurement."""
    started = time.perf_counter()
    environment = {**os.environ, **common.QUIET}
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, env=environment)
    seconds = time.perf_counter() - started
    if not done.stdout.strip():
        raise SystemExit(f"{' '.join(command)} printed nothing")
    return seconds


def main() -> None:
    """Times every command in turn."""
    parser = common.parser(__doc__)
    options = parser.parse_args()
    train = [sys.executable, str(common.ROOT / "train.py")]
    commands = {
        "train.py --cfg job": [*train, "--cfg", "job"],
        "twotower runs": [sys.executable, "-m", "twotower.commands.main", "runs"],
    }
    with tempfile.TemporaryDirectory() as folder:
        rounds = [{name: timed(command, folder) for name, command in commands.items()} for _ in range(options.repeats)]
    for name, goal in GOALS.items():
        seconds = statistics.median(times[name] for times in rounds)
        common.report(
            options.json,
            name,
            goal=f"under {goal:.0f} s",
            measured=f"{seconds:.2f} s",
            met=seconds < goal,
            seconds=seconds,
        )


if __name__ == "__main__":
    main()
