"""Two comparisons for indexes.py: exact against FAISS flat in batches, and text in, text out against the bare index.

Legend: N documents, D dimension, Q queries, K ranks.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from index_steps import BATCH, DIM, K, identity

WORDS, LENGTH = 30_000, 56
QUERIES, SLOW_QUERIES = 1000, 30
"""Different texts asked of an index; of one that takes tens of milliseconds, fewer."""


def exact(base: Path, folder: Path, count: int) -> dict[str, Any]:
    """Times batches of 100 in turn: `exact`, our FAISS flat, and FAISS flat as it comes, all over the same vectors."""
    from twotower.index.export import open_index

    query_QD = np.load(folder / "queries.npy")
    sides = {name: open_index(folder / "index" / name, identity(count))[0] for name in ("exact", "faiss_flat")}
    flat = sides["faiss_flat"]._index

    def bare(threshold: int) -> Callable[[np.ndarray], Any]:
        def run(part_QD: np.ndarray) -> Any:
            before = faiss.cvar.distance_compute_blas_threshold
            faiss.cvar.distance_compute_blas_threshold = threshold
            try:
                return flat.search(part_QD, K)
            finally:
                faiss.cvar.distance_compute_blas_threshold = before

        return run

    calls: dict[str, Callable[[np.ndarray], Any]] = {
        "exact": lambda part_QD: sides["exact"].search(part_QD, K),
        "faiss_flat": lambda part_QD: sides["faiss_flat"].search(part_QD, K),
        "bare FAISS, BLAS from 20 queries": bare(20),
        "bare FAISS as it comes": bare(128_000),
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(9):
        start = (number * BATCH) % (len(query_QD) - BATCH + 1)
        for name, call in calls.items():
            if number > 1 and "as it comes" in name:
                continue
            started, used = time.perf_counter(), time.process_time()
            call(query_QD[start : start + BATCH])
            seconds[name].append(time.perf_counter() - started)
            cpu[name].append(time.process_time() - used)
    cpu_ms = {name: 1000 * statistics.median(values[1:]) for name, values in cpu.items()}
    medians = {name: 1000 * statistics.median(values[1:]) for name, values in seconds.items()}
    lines = [
        f"batch of {BATCH}: {name} {value:.1f} ms, {cpu_ms[name]:.0f} ms of CPU" for name, value in medians.items()
    ]
    ratio = medians["bare FAISS, BLAS from 20 queries"] / medians["exact"]
    return {"lines": lines, "medians_ms": medians, "cpu_ms": cpu_ms, "speed_against_best_faiss": round(ratio, 3)}


def path(base: Path, folder: Path, count: int) -> dict[str, Any]:
    """Times a whole search, text in and text out, beside the bare call of the same index.

    Every text is asked once before the clock counts, so that its pages are in memory. Then the sides take turns query
    by query, each with another query than the side before it, so that none finds in the processor's caches what another
    has just used for the same query: every query has the whole path first for one half of them, the bare call first for
    the other. A second round goes through the sides the other way about. Told are the ratio of the medians (`ratio`),
    the median of the ratios query by query (`paired`), the ratio where each side runs on its own, one query after
    another (`on its own`), and that to FAISS without our checks around it (`to faiss alone`). The vectors of both sides
    are the same, and so is the number of threads.
    """
    from twotower.search.engine import SearchEngine

    run_dir = _text_run(base, folder, count)
    generator = np.random.default_rng(7)
    texts = list(dict.fromkeys(" ".join(f"w{word}" for word in _words(generator, 6)) for _ in range(QUERIES)))
    lines, found = [], {}
    for name in ("exact", "faiss_flat", "faiss_hnsw", "faiss_ivfpq"):
        if not (run_dir / "index" / name / "manifest.json").is_file():
            continue
        engine = SearchEngine.open(run_dir, name)
        facts = _sides(engine, texts if name in ("faiss_hnsw", "faiss_ivfpq") else texts[:SLOW_QUERIES], generator)
        engine.close()
        facts |= _process(run_dir, name, texts[0])
        found[name] = {key: round(value, 3) for key, value in facts.items()}
        lines.append(f"text in, text out, {name}: " + ", ".join(f"{k} {v:.3f}" for k, v in facts.items()))
    return {"lines": lines, "path": found}


def _sides(engine: Any, texts: list[str], generator: np.random.Generator) -> dict[str, float]:
    """Returns median milliseconds of each side and stage, and the ratios of whole to index.search."""
    index = engine.index
    vectors = [engine.model.encode(engine.model.tokenizer.read(text)[2]) for text in texts]
    sides: dict[str, Callable[[int], Any]] = {
        "whole": lambda at: engine.search(texts[at], K),
        "index.search": lambda at: index.search(vectors[at], K),
    }
    if hasattr(index, "_index") and not index.rerank:
        sides["faiss alone"] = lambda at: index._index.search(vectors[at], K)
    stages: dict[str, list[float]] = {stage: [] for stage in ("tokenise_ms", "encode_ms", "search_ms", "fetch_ms")}
    for text in texts:
        engine.search(text, K)
    turns: dict[str, list[np.ndarray]] = {name: [] for name in sides}
    for names in (list(sides), list(reversed(sides))):
        for name, ms in _in_turn({name: sides[name] for name in names}, len(texts), generator, stages).items():
            turns[name].append(ms)
    times = {name: np.concatenate(rounds) for name, rounds in turns.items()}
    facts = {name: float(np.median(ms)) for name, ms in times.items()}
    facts |= {stage: statistics.median(values) for stage, values in stages.items()}
    alone = {name: np.median([_timed(side, at)[0] for at in range(len(texts))]) for name, side in sides.items()}
    facts["ratio"] = facts["whole"] / facts["index.search"]
    facts["paired"] = float(np.median(times["whole"] / times["index.search"]))
    facts["on its own"] = float(alone["whole"] / alone["index.search"])
    if "faiss alone" in facts:
        facts["to faiss alone"] = facts["whole"] / facts["faiss alone"]
    return facts


def _in_turn(
    sides: dict[str, Callable[[int], Any]], count: int, generator: np.random.Generator, stages: dict[str, list[float]]
) -> dict[str, np.ndarray]:
    """Lets the sides take turns, each at another place of one random order; returns each side's ms by query."""
    order, shift = generator.permutation(count), count // len(sides)
    ms = {name: np.zeros(count) for name in sides}
    for turn in range(count):
        for place, (name, side) in enumerate(sides.items()):
            at = int(order[(turn + place * shift) % count])
            ms[name][at], answer = _timed(side, at)
            if name == "whole":
                for stage, values in stages.items():
                    values.append(getattr(answer.timings, stage))
    return ms


def _timed(side: Callable[[int], Any], at: int) -> tuple[float, Any]:
    started = time.perf_counter_ns()
    answer = side(at)
    return (time.perf_counter_ns() - started) / 1e6, answer


def _process(run_dir: Path, name: str, text: str) -> dict[str, float]:
    """Returns the median seconds of `twotower search --json`, from starting the process to its end."""
    command = [sys.executable, "-m", "twotower.cli.main", "search", "--json", "--run", str(run_dir)]
    wall, cpu = [], []
    for _ in range(5):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run([*command, "--index", name, text], check=True, capture_output=True)
        assert len(json.loads(done.stdout)["hits"]) == K, "the search found nothing, so its time means nothing"
        wall.append(time.perf_counter() - started)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {"process_s": statistics.median(wall), "process_cpu_s": statistics.median(cpu)}


def _words(generator: np.random.Generator, count: int) -> np.ndarray:
    """Draws word numbers as words are distributed: few of them often."""
    return np.minimum((generator.pareto(1.0, count) * 3).astype(int), WORDS - 1)


def _text_run(base: Path, folder: Path, count: int) -> Path:
    """Makes a run whose model is an untrained mlp tower, with 758,553 drawn passages of 56 words, around the indexes.

    The indexes hold the drawn vectors, not vectors of these texts: which passages come back means nothing, how long
    it takes does.
    """
    import torch

    from twotower.data.documents import DocumentStore
    from twotower.index import manifest
    from twotower.model import checkpoint
    from twotower.model.two_tower import TwoTower
    from twotower.runs.find import find_checkpoint
    from twotower.text.tokenizer import Tokenizer

    run_dir = base / f"run-{count}"
    config = {"kind": "words", "lowercase": True, "split_identifiers": True, "min_frequency": 1}
    if not (run_dir / "documents.db").is_file():
        words = {"[PAD]": 0, "[UNK]": 1, **{f"w{number}": number + 2 for number in range(WORDS)}}
        torch.manual_seed(0)
        model_config = {
            "num_layers": 1,
            "output_dim": DIM,
            "hidden_dim": DIM,
            "word_pooling": "weighted",
            "dropout": 0.5,
        }
        sizes = {"vocabulary_size": len(words), "embedding_dim": DIM}
        settings = {"seed": 0, "text": config, "model": model_config, "loss": {}, "optimizer": {"lr": 0.001}}
        settings["data"] = {"name": "drawn", "max_query_length": 32, "max_document_length": 128, "batch_size": 8}
        settings["data"] |= {"num_workers": 0}
        settings |= {"trainer": {"max_epochs": 1}, "callbacks": {}}
        stats = {"config": checkpoint.flat_config(settings, {})}
        parts: dict[str, Any] = {"model": TwoTower(**sizes, **model_config), "model_config": {**model_config, **sizes}}
        parts |= {"tokenizer": Tokenizer.from_vocabulary(words, config), "training_stats": stats, "epoch": 1}
        (run_dir / "checkpoints").mkdir(parents=True, exist_ok=True)
        target = run_dir / "checkpoints" / "two_tower_best_drawn_20260101_000000.pt"
        checkpoint.save(target, **parts, eval_results={}, wandb_run_id=None)
        DocumentStore.write(run_dir / "documents.db", _collection(count)).close()
    (run_dir / "run.json").write_text(json.dumps(_record(run_dir.name)))
    with DocumentStore(run_dir / "documents.db") as documents:
        loaded = checkpoint.load(find_checkpoint(run_dir))
        same = manifest.run_identity(loaded, documents)
    for built in (folder / "index").glob("[!.]*"):
        into = run_dir / "index" / built.name
        shutil.rmtree(into, ignore_errors=True)
        shutil.copytree(built, into, copy_function=_link)
        facts = manifest.read(built)
        (into / manifest.FILE).unlink()
        (into / manifest.FILE).write_text(json.dumps({**facts, **same}))
    return run_dir


def _record(name: str) -> dict[str, Any]:
    """What `twotower search` looks for in a run's record."""
    host = {"name": socket.gethostname(), "pid": os.getpid(), "process_started": 1, "boot_id": ""}
    now = "2026-01-01T00:00:00+00:00"
    facts: dict[str, Any] = {"schema": 1, "status": "finished", "run_name": name, "config_hash": "0" * 16, "host": host}
    facts |= {"config": {"data": {"name": "drawn"}}, "overrides": [], "choices": {}, "seed": 0, "timings": {}}
    return {**facts, "history": [], "started": now, "updated": now, "ended": now}


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


def _collection(count: int) -> Any:
    from twotower.data.collection import Collection

    generator = np.random.default_rng(3)
    names = np.array([f"w{number}" for number in range(WORDS)], dtype=object)
    texts: list[str] = []
    for start in range(0, count, 20_000):
        rows = min(20_000, count - start)
        texts += [" ".join(line) for line in names[_words(generator, rows * LENGTH)].reshape(rows, LENGTH)]
    ids = [str(number) for number in range(count)]
    return Collection(
        name="drawn", document_ids=ids, titles=[""] * count, texts=texts, query_ids=[], query_texts=[], judgements={}
    )
