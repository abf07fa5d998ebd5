"""Runs every benchmark and renews the table: `make bench`.

    python experiments/benchmarks/run_all.py [NAME ...] [--threads 1]

Results go to `results/speed.json`, with machine and versions, and the table to `README.md` beside this file. Named
scripts renew their own lines only. `indexes` builds each index once, which takes half an hour, keeps them under
/tmp/twotower-bench (or the folder TWOTOWER_BENCH) and goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from datetime import date
from pathlib import Path

import common

HERE = Path(__file__).parent
RESULTS, TABLE = HERE / "results" / "speed.json", HERE / "README.md"
SCRIPTS: dict[str, list[str]] = {
    "startup": [],
    "training": [],
    "gru": [],
    "gradcache": [],
    "encode": [],
    "sweep": [],
    "metrics": [],
    "ranking": [
        "--queries",
        "7000",
        "--documents",
        "1000000",
        "--only",
        "twotower,sentence-transformers",
        "--repeats",
        "2",
    ],
    "redis_export": [],
    "indexes": ["--compare"],
}
"""Every script and what it is told besides --threads and --json."""

PACKAGES = (
    *("torch", "numpy", "tokenizers", "pytorch-lightning", "faiss-cpu", "redis", "sentence-transformers", "model2vec"),
    *("transformers", "ranx", "pytrec-eval-terrier"),
)


def machine() -> str:
    """Returns processor, cores and versions in one line."""
    sys.path.insert(0, str(common.ROOT))
    from twotower.processor import processor_name

    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name} not installed")
    name = processor_name().split(" fpu")[0]
    return f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}, {', '.join(versions)}"


def table(results: dict) -> str:
    """Returns the table as Markdown."""
    lines = [
        "# Speed", "", "Written by `make bench`; figures are medians over rounds in which the sides take turns.", "",
        "| what | goal | measured | met | what bounds it | when, threads, command |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, entry in results.items():
        met = {True: "yes", False: "no", None: "-"}[entry["met"]]
        how = f"{entry.get('date', '')}, {entry.get('threads', '')}, `{entry.get('command', '')}`"
        cells = (name, entry["goal"], entry["measured"], met, entry.get("bound", ""), how)
        lines.append(f"| {' | '.join(cells)} |")
    machines = sorted({entry["machine"] for entry in results.values() if "machine" in entry})
    return "\n".join([*lines, "", *(f"Machine: {line}" for line in machines), ""])


def main() -> None:
    """Runs the scripts one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(SCRIPTS), help=f"of {', '.join(SCRIPTS)}")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    for name in options.names:
        if name not in SCRIPTS:
            parser.error(f"no benchmark is called {name}; there are: {', '.join(SCRIPTS)}")
    RESULTS.parent.mkdir(exist_ok=True)
    known = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for name in options.names:
        part = RESULTS.with_suffix(".part")
        part.unlink(missing_ok=True)
        arguments = [f"experiments/benchmarks/{name}.py", "--threads", str(options.threads), *SCRIPTS[name]]
        count = str(options.threads)
        environment = {**os.environ, **common.QUIET, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}
        command = [sys.executable, *arguments, "--json", str(part)]
        subprocess.run(command, cwd=common.ROOT, env=environment, check=False)
        if not part.is_file():
            print(f"{name} gave no result: its old line stays", file=sys.stderr)
            continue
        facts = {"date": date.today().isoformat(), "threads": options.threads, "machine": machine()}
        for line, entry in json.loads(part.read_text()).items():
            known[line] = {**entry, **facts, "command": f"python {' '.join(arguments)}"}
        part.unlink()
        RESULTS.write_text(json.dumps(known, indent=1) + "\n")
        TABLE.write_text(table(known))
    print(TABLE.read_text() if TABLE.is_file() else "nothing was measured")


if __name__ == "__main__":
    main()
