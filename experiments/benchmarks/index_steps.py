"""The steps of indexes.py, each run in a process of its own: build, search, compare.

Legend: N documents, D dimension, Q queries, K ranks.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import threading
import time
from pathlib import Path
from typing import Any

import common
import numpy as np

USERS, DIM, K, BATCH = 758_553, 256, 10, 100


def machine() -> dict[str, Any]:
    """Names processor, cores and versions."""
    from importlib.metadata import version

    cores = len(os.sched_getaffinity(0))
    facts = {"cpu": common.processor(), "cores": cores, "python": platform.python_version()}
    facts |= {package: version(package) for package in ("torch", "faiss-cpu", "redis", "numpy")}
    packages = ", ".join(f"{package} {facts[package]}" for package in ("torch", "faiss-cpu", "redis"))
    return {**facts, "line": f"{facts['cpu']}, {cores} cores, {packages}"}


def prepare(base: Path, count: int) -> None:
    """Draws the vectors if they are not there."""
    from drawn import folder_for

    folder_for(base, count)


def run(options: argparse.Namespace) -> None:
    """Runs one step, `verb:name`, and keeps what it measured."""
    verb, _, name = options.step.partition(":")
    folder = options.folder / f"vectors-{options.count}"
    if verb == "compare":
        import index_compare as compare

        facts = {"exact": compare.exact, "path": compare.path}[name](options.folder, folder, options.count)
        name = f"compare_{name}"
    elif verb == "build":
        facts = build(name, folder, options.overrides)
    else:
        facts = search(name, folder, options.started)
    result = {"name": name, **facts}
    path = options.folder / f"result-{options.count}-{name}-{verb}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result), flush=True)


def identity(count: int) -> dict[str, Any]:
    """Returns what the manifest of these indexes carries."""
    from twotower.index.manifest import identity_of

    given = {"checkpoint": "drawn", "checkpoint_sha256": "0" * 64, "vocabulary_hash": "0", "documents_hash": "0"}
    return identity_of(documents_count=count, **given)


class Memory(threading.Thread):
    """Watches this process's memory every 20 ms; `anonymous` and `resident` are the peaks in MB above the start."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.before = self._read()
        self.anonymous = self.resident = 0.0
        self.start()

    def _read(self) -> tuple[float, float]:
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return tuple(int(lines[key].split()[0]) / 1024 for key in ("RssAnon", "VmRSS"))  # type: ignore[return-value]

    def run(self) -> None:
        """Reads until the process ends."""
        while True:
            anonymous, resident = self._read()
            self.anonymous = max(self.anonymous, anonymous - self.before[0])
            self.resident = max(self.resident, resident - self.before[1])
            time.sleep(0.02)


def config_of(name: str, overrides: list[str]) -> dict[str, Any]:
    """Returns the index config of a benchmark's choice: those of conf/index and some variations."""
    from twotower.config.compose import compose

    base, _, variation = name.partition("_") if name.startswith(("exact", "redis")) else (name, "", "")
    mine = [item for item in overrides if item.startswith((f"{name}.", f"{base}."))]
    config = compose([base], [f"{base}.{item.partition('.')[2]}" for item in mine])
    if variation:
        config[base]["dtype" if base == "exact" else "algorithm"] = variation
    return {name: config[base]}


def build(name: str, folder: Path, overrides: list[str]) -> dict[str, Any]:
    """Builds one index as training does; the seconds of a build that was stopped are added up in a file."""
    import faiss
    from drawn import shards

    from twotower.index.export import export

    spent = folder / f"{name}.seconds"
    if (folder / "index" / name / "manifest.json").is_file():
        raise SystemExit(0)
    before = float(spent.read_text()) if spent.is_file() and (folder / "index" / f".{name}.part").is_dir() else 0.0
    memory, started, told = Memory(), time.perf_counter(), 0.0

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal told
        now = time.perf_counter()
        if now - told > 1 or done == total:
            told = now
            spent.write_text(str(before + now - started))
            print(f"\r{stage} {done}/{total} {before + now - started:.0f} s   ", end="", flush=True)

    vectors, query_QD = shards(folder), np.load(folder / "queries.npy")
    count = vectors.shape[0]
    ids = [str(number) for number in range(count)]
    parts = {"identity": identity(count), "run_dir": folder, "progress": progress}
    facts = export(config_of(name, overrides), vectors, ids, query_QD=query_QD[:200], **parts)[name]
    seconds = before + time.perf_counter() - started
    print()
    originals = facts["files"].get("vectors.npy", {}).get("bytes", 0) if name.startswith("faiss_ivfpq") else 0
    return {
        "build_seconds": round(seconds, 1),
        "sessions": "one" if not before else "several",
        "threads": faiss.omp_get_max_threads(),
        "peak_anonymous_mb": round(memory.anonymous),
        "peak_resident_mb": round(memory.resident),
        "bytes_on_disk": facts["bytes"],
        "originals_bytes": originals,
        "bytes_per_vector": round((facts["bytes"] - originals) / count, 2),
        "settings": facts["settings"],
        "notes": facts["notes"],
        "config": facts["config"],
        "load": os.getloadavg()[0],
    }


def search(name: str, folder: Path, process_started: float) -> dict[str, Any]:
    """Opens an index in this fresh process, then times single queries and batches of 100."""
    from twotower.index.export import open_index

    imported = time.time()
    query_QD = np.load(folder / "queries.npy")
    manifest = json.loads((folder / "index" / name / "manifest.json").read_text())
    count = manifest["count"]
    started = time.perf_counter()
    index, _ = open_index(folder / "index" / name, identity(count))
    opened = time.perf_counter() - started
    index.search(query_QD[:1], K)
    start_s = time.time() - process_started
    first = time.perf_counter() - started - opened
    index.search(query_QD[:200], K)  # pages of the file are in memory from here on
    slow = _seconds(lambda: index.search(query_QD[:1], K)) > 0.02
    alone = 300 if slow else len(query_QD)
    singles = [_seconds(lambda q=q: index.search(query_QD[q : q + 1], K)) for q in range(alone)]
    starts = [(i * BATCH) % (len(query_QD) - BATCH + 1) for i in range(30)]
    batches = [_seconds(lambda s=s: index.search(query_QD[s : s + BATCH], K)) for s in starts]
    truth_QK = np.load(folder / "truth_rows.npy")
    parts: dict[str, Any] = {"recall_at_10": _recall(index, query_QD, truth_QK), "open_ms": round(1000 * opened, 1)}
    parts["one_cpu_p50_ms"] = _cpu_ms(index, query_QD[: 20 if slow else 200])
    parts["curve"] = _curve(index, query_QD[:500], truth_QK[:500])
    parts |= {"first_query_ms": round(1000 * first, 1), "start_s": round(start_s, 2)}
    parts |= {"import_s": round(imported - process_started, 2), "load_average": os.getloadavg()[0]}
    for label, seconds in (("one", singles), ("batch", batches)):
        for point in (50, 95, 99):
            parts[f"{label}_p{point}_ms"] = round(1000 * float(np.percentile(seconds, point)), 3)
    return parts


def _recall(index: Any, query_QD: np.ndarray, truth_QK: np.ndarray) -> float:
    _, rows_QK = index.search(query_QD, K)
    return round(float((rows_QK[:, :, None] == truth_QK[:, None, :]).any(axis=2).mean()), 4)


def _cpu_ms(index: Any, query_QD: np.ndarray) -> float:
    """Median processor milliseconds of one query: what it takes where nothing else runs, if it runs on one thread."""
    spent = []
    for query_D in query_QD:
        started = time.process_time()
        index.search(query_D, K)
        spent.append(time.process_time() - started)
    return round(1000 * float(np.median(spent)), 3)


def _curve(index: Any, query_QD: np.ndarray, truth_QK: np.ndarray) -> list[dict[str, Any]]:
    """Recall and processor time of one query at several values of efSearch or nprobe, where the index has either."""
    value, parameter = getattr(index, "value", None), getattr(index, "_parameter", "")
    points = []
    for factor in (16, 8, 6, 4, 3, 2, 1) if value else ():
        index._set(parameter, max(1, value // factor))
        facts = {"recall_at_10": _recall(index, query_QD, truth_QK), "cpu_p50_ms": _cpu_ms(index, query_QD[:100])}
        points.append({parameter: index.value, **facts})
    return points


def _seconds(action: Any) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started
