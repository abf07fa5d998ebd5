"""The users' real size, from text to search: 758,553 passages and 84,000 judged queries through the whole of a run.

    python experiments/benchmarks/pipeline.py [--passages 758553] [--epochs 2] [--override KEY=VALUE ...]

Makes the collection (see passages.py), trains on it with every default, evaluates each epoch and in the end with BM25
and the hybrid, writes documents.db and the index, and searches: dense, by words, and both. Told are the seconds by the
clock and of the processor, the peak of memory and what lies on the disk. All caches are the run's own and empty at the
start, so nothing is read that it has not made. It is kept under /tmp/twotower-bench (or the folder TWOTOWER_BENCH).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import common
import passages

BASE = Path(os.environ.get("TWOTOWER_BENCH", "/tmp/twotower-bench"))
MODES, ASKED = ("dense", "lexical", "hybrid"), 60
LIMIT_S, LIMIT_GB, EVALUATION_SHARE = 900, 5.0, 0.05
"""The goals: seconds and peak memory of the default run of ten epochs, and the share its evaluations may take."""


def options_of() -> argparse.Namespace:
    """Reads the command line."""
    parser = common.parser(__doc__, repeats=1)
    parser.add_argument("--passages", type=int, default=passages.PASSAGES)
    parser.add_argument("--queries", type=int, help="as many to a passage as the users have, unless given")
    parser.add_argument("--epochs", type=int, default=10, help="10 is the default run's number")
    parser.add_argument("--override", action="append", default=[], help="for the run, as on its command line")
    parser.add_argument("--keep", action="store_true", help="keep the caches that an earlier run filled")
    options = parser.parse_args()
    options.queries = options.queries or max(100, round(options.passages * passages.QUERIES / passages.PASSAGES))
    return options


def run_side(folder: Path, run_dir: Path, overrides: list[str], report: Path) -> None:
    """Trains in this process with every stage watched, and writes the account."""
    from stages import Watch, wrap

    watch = Watch(report)
    from twotower.cli.train import main
    from twotower.kernels.threads import let_threads_wait

    let_threads_wait()  # before `wrap` loads torch, as `train.py` does
    wrap(watch)
    try:
        main([f"data.path={folder}", f"hydra.run.dir={run_dir}", *overrides])
    finally:
        watch.write()


def search_side(run_dir: Path, folder: Path) -> dict[str, Any]:
    """Times queries of the dev split, text in, text out, in every mode, and opening the engine."""
    from twotower.search.engine import SearchEngine

    started = time.perf_counter()
    engine = SearchEngine.open(run_dir)
    opened = time.perf_counter() - started
    asked = {line.split("\t")[0] for line in (folder / "qrels" / "dev.tsv").read_text().splitlines()[1:]}
    rows = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
    texts = [row["text"] for row in rows if row["_id"] in asked][:ASKED]
    figures: dict[str, Any] = {"open_ms": round(1000 * opened, 1), "index": engine.index.name}
    times: dict[str, list[float]] = {mode: [] for mode in MODES}
    for text in texts:  # pages and caches are warm afterwards
        for mode in MODES:
            engine.search(text, 10, mode=mode)
    for number, text in enumerate(texts):
        for mode in MODES if number % 2 else reversed(MODES):
            started = time.perf_counter()
            engine.search(text, 10, mode=mode)
            times[mode].append(1000 * (time.perf_counter() - started))
    figures |= {f"{mode}_ms": round(statistics.median(values), 2) for mode, values in times.items()}
    return figures


def disk(folder: Path) -> dict[str, float]:
    """Returns megabytes of every file and folder right below a folder."""
    sizes = {}
    for item in sorted(folder.iterdir()):
        files = [item] if item.is_file() else [path for path in item.rglob("*") if path.is_file()]
        sizes[item.name] = round(sum(path.stat().st_size for path in files) / 1e6, 1)
    return {name: size for name, size in sizes.items() if size >= 0.1}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Runs the whole way and returns every figure."""
    home = BASE / f"pipeline-{options.passages}"
    started = time.perf_counter()
    folder = passages.write(home / "collection", passages=options.passages, queries=options.queries)
    generated = time.perf_counter() - started
    run_dir, cache, account = home / "run", home / "cache", home / "stages.json"
    for old in (run_dir, *(() if options.keep else (cache,))):
        shutil.rmtree(old, ignore_errors=True)
    threads = str(options.threads or os.cpu_count() or 1)
    environment = {**os.environ, **common.QUIET, "TWOTOWER_CACHE": str(cache)}
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), threads)
    overrides = ["data=beir", f"trainer.max_epochs={options.epochs}", *options.override]
    command = [sys.executable, __file__, "--passages", str(options.passages)]
    started = time.perf_counter()
    subprocess.run(
        [*command, "--side", "run", *(f"--override={item}" for item in overrides)], env=environment, check=True
    )
    wall = time.perf_counter() - started
    done = subprocess.run([*command, "--side", "search"], env=environment, check=True, capture_output=True, text=True)
    stages, record = json.loads(account.read_text())["stages"], json.loads((run_dir / "run.json").read_text())
    return {
        "passages": options.passages,
        "queries": options.queries,
        "epochs": options.epochs,
        "generate_seconds": round(generated, 1),
        "wall_seconds": round(wall, 1),
        "cpu_seconds": round(sum(item["cpu_seconds"] for item in stages.values()), 1),
        "stages": stages,
        "search": json.loads(done.stdout.strip().splitlines()[-1]),
        "disk_mb": {"collection": disk(folder), "run": disk(run_dir), "cache": disk(cache)},
        "objective": record["objective"],
        "verdict": record["verdict"],
        "load": os.getloadavg()[0],
    }


def tell(facts: dict[str, Any], path: Path | None) -> None:
    """Prints the stages as a table and puts the goals' lines into the results."""
    print("\n| stage | seconds | of the processor | peak memory, anonymous / resident MB |\n|---|---|---|---|")
    for name, item in facts["stages"].items():
        memory = f"{item['anonymous_mb']:.0f} / {item['resident_mb']:.0f}"
        print(f"| {name} | {item['seconds']:.1f} | {item['cpu_seconds']:.1f} | {memory} |")
    stages, search, size = facts["stages"], facts["search"], f"{facts['passages']:,} passages"
    peak = max(item["resident_mb"] for item in stages.values()) / 1024
    between = stages["evaluation of epochs"]
    share = between["seconds"] / facts["wall_seconds"]
    longest = sorted(stages, key=lambda name: -stages[name]["seconds"])[:4]
    common.report(
        path,
        f"the whole way, {size}, {facts['epochs']} epochs",
        goal=f"within {LIMIT_S // 60} minutes and {LIMIT_GB:g} GiB on 2 cores",
        measured=f"{facts['wall_seconds'] / 60:.1f} min ({facts['cpu_seconds'] / 60:.1f} min of CPU), {peak:.2f} GiB; "
        + ", ".join(f"{name} {stages[name]['seconds']:.0f} s" for name in stages if stages[name]["seconds"] >= 1),
        met=facts["wall_seconds"] <= LIMIT_S and peak <= LIMIT_GB,
        bound="the longest: " + ", ".join(longest),
        **facts,
    )
    common.report(
        path,
        f"evaluation between epochs, {size}",
        goal=f"under {EVALUATION_SHARE:.0%} of the run",
        measured=f"{share:.1%} ({between['seconds']:.0f} s in {between['calls']:.0f} turns)",
        met=share < EVALUATION_SHARE,
        bound="encoding the sampled passages",
    )
    ratio = search["hybrid_ms"] / search["dense_ms"]
    common.report(
        path,
        f"hybrid search, text in, text out, {size}",
        goal="within 2 x the dense search",
        measured=f"{ratio:.2f} x (dense {search['dense_ms']} ms, by words {search['lexical_ms']} ms, both "
        f"{search['hybrid_ms']} ms, {search['index']}; opened in {search['open_ms']} ms)",
        met=ratio <= 2,
        bound="reading the lists of the query's words",
    )


def main() -> None:
    """Measures, or is one of the processes measured."""
    options = options_of()
    home = BASE / f"pipeline-{options.passages}"
    if options.side == "run":
        run_side(home / "collection", home / "run", options.override, home / "stages.json")
    elif options.side == "search":
        print(json.dumps(search_side(home / "run", home / "collection")))
    else:
        facts = measure(options)
        (home / "facts.json").write_text(json.dumps(facts, indent=1) + "\n")
        tell(facts, options.json)


if __name__ == "__main__":
    main()
