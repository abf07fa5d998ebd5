"""Makes run folders that look like real ones, for tests of what reads them. All numbers in them are invented.

Per-query scores come from drawn ranks of one relevant document per query, so metrics, intervals and tables agree.
"""

from __future__ import annotations

import json
import socket
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

QUERIES = 400
DOCUMENTS = 2000
GONE = {
    "name": socket.gethostname(),
    "platform": "Linux",
    "cpus": 2,
    "pid": 2**22 + 1,
    "process_started": 1,
    "boot_id": "",
}
VERBS = (
    "list",
    "copy",
    "remove",
    "compress",
    "count",
    "rename",
    "search",
    "convert",
    "download",
    "show",
    "sort",
    "merge",
)
NOUNS = ("files", "folders", "archives", "processes", "packages", "images", "lines", "branches", "users", "containers")


def query_text(number: int) -> str:
    return f"{VERBS[number % len(VERBS)]} {NOUNS[number // len(VERBS) % len(NOUNS)]} number {number}"


def config(*, model="mlp", loss="contrastive", lr=0.001, dropout=0.1, seed=0, epochs=6, data="tldr", **extra) -> dict:
    return {
        "seed": seed,
        "run_name": f"{model}-{loss}-{seed}",
        "data": {"name": data, "train_split": "train", "eval_split": "dev", "batch_size": 256, "max_query_length": 32},
        "model": {
            "query_tower": model,
            "document_tower": model,
            "hidden_dim": 256,
            "num_layers": 2,
            "dropout": dropout,
        },
        "loss": {"_target_": f"twotower.loss.{loss}.{loss.title()}Loss", "temperature": 0.05, "margin": 0.2},
        "optimizer": {
            "_target_": "twotower.optimizer.build",
            "lr": lr,
            "weight_decay": 0.01,
            "beta1": 0.9,
            "beta2": 0.999,
        },
        "trainer": {"max_epochs": epochs, "gradient_clip_val": 1.0},
        **extra,
    }


def ranks(quality: float, *, seed: int, queries: int = QUERIES) -> np.ndarray:
    """Draws the rank of each query's document; a query is hard or easy for every run alike."""
    difficulty = np.random.default_rng(7).normal(size=queries)
    noise = np.random.default_rng([seed, int(quality * 1000)]).normal(size=queries)
    return np.clip(np.exp(3.2 - 4.0 * quality + 1.4 * difficulty + 0.7 * noise), 1, DOCUMENTS).astype(int)


def metrics_of(rank: np.ndarray) -> dict[str, np.ndarray]:
    found = {"mrr": 1 / rank, "mrr_10": np.where(rank <= 10, 1 / rank, 0.0), "map": 1 / rank}
    for k in (1, 5, 10, 20, 50, 100):
        found[f"recall_{k}"] = (rank <= k).astype(float)
    for k in (1, 5, 10, 20):
        found[f"ndcg_{k}"] = np.where(rank <= k, 1 / np.log2(rank + 1.0), 0.0)
    return found


def evaluation(rank: np.ndarray) -> dict:
    entries = {}
    baseline = metrics_of(ranks(0.45, seed=99, queries=len(rank)))
    for name, values in metrics_of(rank).items():
        half = 1.96 * values.std() / np.sqrt(len(values))
        mean = float(values.mean())
        entries[name] = {
            "value": mean,
            "low": mean - half,
            "high": mean + half,
            "chance": float(np.mean([1 / r for r in range(1, 11)]) * 10 / DOCUMENTS) if "mrr" in name else 0.001,
            "bm25": float(baseline[name].mean()),
            "untrained": 0.01,
        }
    better = entries["mrr_10"]["value"] - entries["mrr_10"]["bm25"]
    label = "BETTER THAN BM25" if better > 0.02 else "BELOW BM25"
    verdict = {"label": label, "metric": "mrr_10", "difference": better, "low": better - 0.02, "high": better + 0.02}
    return {
        "pool": {"kind": "corpus", "mean_size": float(DOCUMENTS)},
        "num_queries_evaluated": len(rank),
        "num_queries_with_relevance": len(rank),
        "metrics": entries,
        "verdict": {**verdict, "line": f"{label} by {better:.3f}"},
    }


def write_per_query(path: Path, rank: np.ndarray, *, seed: int, query_prefix: str = "q") -> None:
    generator = np.random.default_rng(seed)
    count = len(rank)
    top = generator.integers(0, DOCUMENTS, size=(count, 10))
    scores = np.sort(generator.normal(0.55, 0.06, size=(count, 10)).clip(-1, 1), axis=1)[:, ::-1]
    for query in range(count):
        if rank[query] <= 10:
            top[query, rank[query] - 1] = query  # document n is the right answer to query n
    baseline = metrics_of(ranks(0.45, seed=99, queries=count))
    table = {
        "protocol": ["full"] * count,
        "query_id": [f"{query_prefix}{number}" for number in range(count)],
        "query": [query_text(number) for number in range(count)],
        "pool_size": [DOCUMENTS] * count,
        "num_relevant": [1] * count,
        "first_relevant_rank": [int(item) if item <= 100 else None for item in rank],
        **metrics_of(rank),
        "bm25_mrr_10": baseline["mrr_10"],
        "bm25_ndcg_10": baseline["ndcg_10"],
        "top_ids": [[f"d{item}" for item in row] for row in top.tolist()],
        "top_scores": scores.tolist(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), path)


def write_documents(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE documents(row INTEGER PRIMARY KEY, doc_id TEXT UNIQUE, title, text, metadata)")
        rows = (
            (n, f"d{n}", f"Manual page {n}", f"How to {query_text(n)}, step by step.", "{}") for n in range(DOCUMENTS)
        )
        database.executemany("INSERT INTO documents VALUES (?,?,?,?,?)", rows)


def record(
    *,
    model: str = "mlp",
    loss: str = "contrastive",
    quality: float = 0.6,
    seed: int = 0,
    epochs: int = 6,
    status: str = "finished",
    sweep: str | None = "demo",
    fingerprint: str = "f" * 64,
    queries: int = QUERIES,
    minutes_ago: float = 60.0,
    rank: np.ndarray | None = None,
    **config_keys,
) -> dict:
    """Builds a record; `quality` about .3 (poor) to .9 (good) decides the ranks drawn."""
    rank = ranks(quality, seed=seed, queries=queries) if rank is None else rank
    full = config(model=model, loss=loss, seed=seed, epochs=epochs, **config_keys)
    value = float(metrics_of(rank)["mrr_10"].mean())
    slow = {"mlp": 4.0, "gru": 21.0}.get(model, 9.0)
    done = epochs if status != "interrupted" else epochs // 2
    history = [
        {
            "epoch": epoch,
            "train_loss": 0.6 + 4.2 * float(np.exp(-0.7 * epoch * quality)) + 0.02 * seed,
            "train_accuracy": 1 - float(np.exp(-0.5 * epoch * quality)),
            "learning_rate": 0.001 * (1 - epoch / (epochs + 1)),
            "seconds": slow,
            "metrics": {"full/mrr_10": value * (1 - float(np.exp(-0.9 * epoch))), "full/recall_10": 0.5},
        }
        for epoch in range(1, done + 1)
    ]
    ended = status not in ("running", "interrupted", "failed")
    evaluated = evaluation(rank) if ended else None
    updated = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    return {
        "schema": 1,
        "status": "running" if status == "interrupted" else status,
        "run_name": full["run_name"],
        "config": full,
        "config_hash": f"{abs(hash(json.dumps(full, sort_keys=True))):016x}"[:16],
        "overrides": [f"model={model}", f"loss={loss}", f"seed={seed}"],
        "choices": {"model": model, "loss": loss, "optimizer": "adam", "data": full["data"]["name"]},
        "seed": seed,
        "git": {"commit": "0" * 40, "dirty": False},
        "versions": {"torch": "2.13.0"},
        "host": dict(GONE),
        "device": "cpu",
        "data": {"name": full["data"]["name"], "fingerprint": fingerprint, "report": {}},
        "vocabulary": {"hash": "a" * 16, "size": 9000},
        "timings": {
            "fit_seconds": slow * done,
            "total_seconds": slow * done + 3.0,
            "encode_documents_per_second": 90_000.0 / slow,
        },
        "started": (updated - timedelta(seconds=slow * done)).isoformat(),
        "updated": updated.isoformat(),
        "ended": updated.isoformat() if ended else None,
        "history": history,
        "best_epoch": done,
        "objective": {"name": "full/mrr_10", "value": value, "low": value - 0.03, "high": value + 0.03}
        if done
        else None,
        "evaluation": {"split": "dev", "full": evaluated} if evaluated else None,
        "verdict": evaluated["verdict"]["line"] if evaluated else None,
        "artefacts": [{"path": "index/faiss_flat", "sha256": "0", "bytes": 2_000_000, "kind": "index"}]
        if ended
        else [],
        "wandb": {"run_id": None, "sweep_id": None},
        "sweep": {"name": sweep, "job": None} if sweep else None,
        "error": {"type": "RuntimeError", "message": "loss is not finite"} if status == "failed" else None,
    }


def make_run(
    folder: Path, *, files: bool = True, queries: int = QUERIES, quality: float = 0.6, seed: int = 0, **keys
) -> Path:
    """Writes one run folder; with `files` also per_query.parquet, checkpoints, an index and documents.db."""
    folder.mkdir(parents=True)
    rank = ranks(quality, seed=seed, queries=queries)
    entry = record(quality=quality, seed=seed, queries=queries, rank=rank, **keys)
    (folder / "run.json").write_text(json.dumps(entry))
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "config.yaml").write_text("seed: 0\n")
    if not files:
        return folder
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir()
    for name in ("last.ckpt", "best.ckpt"):
        (checkpoints / name).write_bytes(b"l" * 5000)
    if entry["evaluation"]:
        stem = f"two_tower_best_{entry['run_name']}_20261123_062415"
        (checkpoints / f"{stem}.pt").write_bytes(b"p" * 3000)
        (checkpoints / f"training_history_{stem}.json").write_text("{}")
        write_per_query(folder / "per_query.parquet", rank, seed=seed)
        (folder / "index" / "faiss_flat").mkdir(parents=True)
        (folder / "index" / "faiss_flat" / "manifest.json").write_text("{}")
        (folder / "index" / "faiss_flat" / "index.faiss").write_bytes(b"i" * 4000)
        write_documents(folder / "documents.db")
    return folder


def make_sweep(root: Path, *, seeds: int = 3, files: bool = True) -> Path:
    """Writes gru, mlp x contrastive, triplet with several seeds under `root`/multirun/demo."""
    sweep = root / "multirun" / "demo"
    qualities = {
        ("mlp", "contrastive"): 0.72,
        ("gru", "contrastive"): 0.70,
        ("mlp", "triplet"): 0.60,
        ("gru", "triplet"): 0.42,
    }
    for (model, loss), quality in qualities.items():
        for seed in range(seeds):
            folder = sweep / f"loss={loss},model={model}" / f"seed={seed}"
            make_run(folder, model=model, loss=loss, seed=seed, quality=quality + 0.012 * seed, files=files)
    return sweep
