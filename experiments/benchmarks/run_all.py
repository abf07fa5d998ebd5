"""Runs every benchmark and renews the table: `make bench`.

    python experiments/benchmarks/run_all.py [NAME ...] [--threads 1]

Results go to `results/speed.json`, with machine and versions, and the table to `README.md` beside this file. Named
scripts renew their own lines only; `pipeline` has to be named. `indexes` builds each index once, which takes half an
hour, keeps them under /tmp/twotower-bench (or the folder TWOTOWER_BENCH) and goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import common

HERE = Path(__file__).parent
RESULTS, TABLE = HERE / "results" / "speed.json", HERE / "README.md"
SCRIPTS: dict[str, list[str]] = {
    "startup": [],
    "training": [],
    "quality": [],
    "gru": [],
    "gradcache": [],
    "encode": [],
    "shared_encoding": [],
    "sweep": [],
    "metrics": [],
    "lexical": [],
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
    "pipeline": [],
}
"""Every script and what it is told besides --threads and --json."""

PACKAGES = (
    *("torch", "numpy", "tokenizers", "pytorch-lightning", "faiss-cpu", "redis", "sentence-transformers", "model2vec"),
    *("transformers", "ranx", "pytrec-eval-terrier"),
)
ON_DEMAND = ("pipeline",)
"""Run only where they are named: the users' whole collection takes longer than all others together."""
ABSENT = "not installed"


def machine() -> str:
    """Returns processor, cores and versions in one line."""
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name} {ABSENT}")
    return f"{common.processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {', '.join(versions)}"


def merged(machines: Iterable[str]) -> list[str]:
    """Returns the lines of `machine` of several measurements, those as one that differ only in what was installed.

    Two versions of one package make two machines.
    """
    found: list[dict[str, str]] = []
    for line in sorted(set(machines)):
        # as lines were written before: model name, model, stepping
        line = re.sub(r"^(\D+) (\d+) (\d+)(?=, \d+ cores)", r"\1 (model \2, stepping \3)", line)
        processor, _, rest = line.partition(" cores, ")
        parts = {"cores": processor} | dict(item.split(" ", 1) for item in rest.split(", "))
        same = next((other for other in found if _agree(other, parts)), None)
        if same is None:
            found.append(parts)
        else:
            same |= {name: version for name, version in parts.items() if version != ABSENT or name not in same}
    return [
        ", ".join([f"{parts['cores']} cores", *(f"{name} {parts[name]}" for name in parts if name != "cores")])
        for parts in found
    ]


def _agree(one: dict[str, str], other: dict[str, str]) -> bool:
    return all(ABSENT in (one[name], other[name]) or one[name] == other[name] for name in one.keys() & other.keys())


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
    machines = merged(entry["machine"] for entry in results.values() if "machine" in entry)
    return "\n".join([*lines, "", *(f"Machine: {line}" for line in machines), ""])


def main() -> None:
    """Runs the scripts one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", nargs="*", default=[name for name in SCRIPTS if name not in ON_DEMAND], help=f"of {', '.join(SCRIPTS)}"
    )
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
        code = subprocess.run(command, cwd=common.ROOT, env=environment, check=False).returncode
        if code:
            print(f"{name} ended with {code}: some of its lines may be old", file=sys.stderr)
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
