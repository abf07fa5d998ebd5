"""Every index at the users' scale: 758,553 x 256 drawn vectors (see drawn.py), built, opened and searched.

    python experiments/benchmarks/indexes.py                        # everything; half an hour on two cores
    python experiments/benchmarks/indexes.py --count 100000         # quick
    python experiments/benchmarks/indexes.py --only exact,faiss_hnsw faiss_hnsw.factory=HNSW32

Every build runs in a process of its own, through the same `export` as training uses, from memory-mapped shards. Its
peak memory is counted twice: `anonymous` is what it allocates, `resident` adds the file pages it happens to hold, which
the system takes back at need. A build stopped by Ctrl-C goes on when the command is given again; what is already built
is not built again (remove --folder for that). Searches run in a fresh process each, which also gives the time from its
start to the first answer. Recall@10 is against exact search with products added up in float64.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import index_steps as steps
from index_goals import goals

from twotower.kernels.threads import let_threads_wait

CHOICES = ("exact", "exact_float16", "faiss_flat", "faiss_hnsw", "faiss_ivfpq", "redis_flat", "redis_hnsw", "auto")
RESULTS = Path(__file__).resolve().parent / "results"
NUMBERS = (
    *(("build s", "build_seconds", "{:.0f}"), ("anon MB", "peak_anonymous_mb", "{:.0f}")),
    *(("RSS MB", "peak_resident_mb", "{:.0f}"), ("B/vector", "bytes_per_vector", "{:.1f}")),
    *(
        ("recall@10", "recall_at_10", "{:.3f}"),
        ("CPU ms", "one_cpu_p50_ms", "{:.2f}"),
        ("p50 ms", "one_p50_ms", "{:.3f}"),
        ("p95", "one_p95_ms", "{:.3f}"),
    ),
    *(("p99", "one_p99_ms", "{:.3f}"), ("100: p50 ms", "batch_p50_ms", "{:.1f}"), ("p95", "batch_p95_ms", "{:.1f}")),
    *(("p99", "batch_p99_ms", "{:.1f}"), ("open ms", "open_ms", "{:.0f}"), ("start s", "start_s", "{:.2f}")),
)


def main() -> None:
    """Runs the steps asked for, each in its own process, and writes the table and results/indexes.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=steps.USERS)
    parser.add_argument("--only", default=",".join((*CHOICES[:5], "auto")), help=f"of {', '.join(CHOICES)}")
    parser.add_argument("--folder", type=Path, default=Path(os.environ.get("TWOTOWER_BENCH", "/tmp/twotower-bench")))
    parser.add_argument("--compare", action="store_true", help="also exact against FAISS flat, and text in, text out")
    parser.add_argument("--table", action="store_true", help="only print what was measured before")
    parser.add_argument("--threads", type=int, default=0, help="OpenMP threads of every step; 0: as many as cores")
    parser.add_argument("--json", type=Path, help="add what was reached to this file")
    parser.add_argument("--step", default="", help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, default=0.0, help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    options = parser.parse_args()
    if options.step:
        steps.run(options)
        return
    steps.prepare(options.folder, options.count)
    names = [name for name in options.only.split(",") if name] if not options.table else []
    for name in names:
        if child(options, f"build:{name}") == 0:
            child(options, f"search:{name}")
    if options.compare:
        child(options, "compare:exact")
        child(options, "compare:path")
    goals(report(options.folder, options.count), options.count, options.json)


def child(options: argparse.Namespace, step: str) -> int:
    """Runs one step in a fresh process and returns its exit code."""
    command = [sys.executable, __file__, "--count", str(options.count), "--folder", str(options.folder)]
    command += ["--step", step, "--started", repr(time.time()), *options.overrides]
    let_threads_wait()
    environment = dict(os.environ)
    if options.threads:
        environment["OMP_NUM_THREADS"] = str(options.threads)
    return subprocess.run(command, env=environment, check=False).returncode


def report(folder: Path, count: int) -> dict[str, Any]:
    """Prints a table of everything measured at this size, keeps it as results/indexes[-COUNT].json and as last line.

    Returns:
        What was measured, by name.
    """
    found: dict[str, Any] = {}
    for path in sorted(folder.glob(f"result-{count}-*.json")):
        facts = json.loads(path.read_text())
        found.setdefault(facts["name"], {}).update(facts)
    print(f"{count} x {steps.DIM} vectors, float32, 1000 queries, top 10; {steps.machine()['line']}")
    print("  ".join([f"{'index':14}", *(f"{head:>11}" for head, _, _ in NUMBERS)]))
    for name, facts in found.items():
        if "recall_at_10" in facts:
            cells = (form.format(facts[key]) if facts.get(key) is not None else "-" for _, key, form in NUMBERS)
            print("  ".join([f"{name:14}", *(f"{cell:>11}" for cell in cells)]) + f"  {facts.get('settings', '')}")
    for name in ("compare_exact", "compare_path"):
        for line in found.get(name, {}).get("lines", []):
            print(line)
    result = {"name": "indexes", "count": count, "dim": steps.DIM, "machine": steps.machine(), "indexes": found}
    RESULTS.mkdir(exist_ok=True)
    name = "indexes" if count == steps.USERS else f"indexes-{count}"
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))
    return found


if __name__ == "__main__":
    main()
