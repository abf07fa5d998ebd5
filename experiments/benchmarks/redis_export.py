"""Export into Redis: ours against a plain redis-py loop on the same server, FLAT and HNSW, in turn.

    python experiments/benchmarks/redis_export.py [--count 20000] [--repeats 3] [--url redis://...]

Both make an index with the same options and send the same hashes, 1,000 to a pipeline, and both are done when Redis
has indexed all of them; ours also locks the name, counts what was sent, and checks the count. An HNSW export is nearly
all the server's own work, so on a busy machine wall time says little: the server's CPU seconds are given as well.
Without --url a server is started (see tools/redis_server.py).
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import redis
from common import parser, report
from drawn import DIM, draw
from index_steps import machine

from tools.redis_server import running
from twotower.index.redis.index import RedisIndex

BATCH = 1000


def bare(client: redis.Redis, vectors_ND: np.ndarray, ids: list[str], algorithm: str) -> float:
    """A plain loop: create, pipelined HSET, wait for the count; returns its seconds."""
    options: list[Any] = ["TYPE", "FLOAT32", "DIM", DIM, "DISTANCE_METRIC", "COSINE"]
    options += ["M", 16, "EF_CONSTRUCTION", 200, "EF_RUNTIME", 128] if algorithm == "HNSW" else []
    options += ["INITIAL_CAP", len(ids)]
    started = time.perf_counter()
    create = ("FT.CREATE", "bare", "ON", "HASH", "PREFIX", 1, "bare:", "SCHEMA", "vector", "VECTOR", algorithm)
    client.execute_command(*create, len(options), *options)
    for start in range(0, len(ids), BATCH):
        pipeline = client.pipeline(transaction=False)
        for row in range(start, min(start + BATCH, len(ids))):
            pipeline.hset(f"bare:{ids[row]}", mapping={"row": row, "vector": vectors_ND[row].tobytes()})
        pipeline.execute()
    while int(dict(zip(*[iter(client.execute_command("FT.INFO", "bare"))] * 2, strict=True))[b"num_docs"]) < len(ids):
        time.sleep(0.01)
    seconds = time.perf_counter() - started
    client.execute_command("FT.DROPINDEX", "bare", "DD")
    return seconds


def ours(client: redis.Redis, vectors_ND: np.ndarray, ids: list[str], algorithm: str) -> float:
    """Our export up to the point where the index may be published."""
    index = RedisIndex(algorithm=algorithm, index_name="bench", batch_size=BATCH)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        index.build(vectors_ND, ids, Path(folder))
        seconds = time.perf_counter() - started
        index.publish()
    index.discard()
    client.execute_command("FT.ALIASDEL", "bench") if "bench" in str(client.execute_command("FT._LIST")) else None
    return seconds


def main() -> None:
    """Times both in turn and prints medians, ratios and a JSON line; keeps results/redis_export.json."""
    made = parser(__doc__, repeats=5)
    made.add_argument("--count", type=int, default=20_000, help="documents for HNSW; FLAT takes five times as many")
    made.add_argument("--url", default="")
    options = made.parse_args()
    counts = {"FLAT": 5 * options.count, "HNSW": options.count}
    blocks = draw(max(counts.values()))
    next(blocks)
    vectors_ND = np.concatenate(list(blocks))
    ids = [str(number) for number in range(len(vectors_ND))]
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="tt-") as folder:
        place = Path(folder)
        with nullcontext(options.url) if options.url else running(place / "r", socket=place / "s") as url:
            os.environ["REDIS_URL"] = url
            client = redis.Redis.from_url(url, protocol=2)
            for algorithm, count in counts.items():
                found[algorithm] = measure(client, vectors_ND[:count], ids[:count], algorithm, options.repeats)
    for algorithm, facts in found.items():
        print(
            f"{algorithm}: ours {facts['ours']['docs_per_second']:.0f}/s, bare redis-py "
            f"{facts['bare']['docs_per_second']:.0f}/s, ratio {facts['ratio']:.2f} by the clock; the server's CPU "
            f"{facts['ours']['server_cpu_seconds']:.2f} s and {facts['bare']['server_cpu_seconds']:.2f} s"
        )
        speed = f"{facts['ours']['docs_per_second']:.0f} documents/s of {DIM} numbers"
        report(
            options.json,
            f"Redis export, {algorithm}",
            goal="at least .9 of bare redis-py",
            measured=f"{facts['ratio']:.2f} ({speed}, {counts[algorithm]} documents)",
            met=facts["ratio"] >= 0.9,
            bound="the server builds its graph on one core" if algorithm == "HNSW" else "one server, one core",
            **facts,
        )
    result = {"name": "redis_export", "counts": counts, "dim": DIM, "machine": machine(), **found}
    result["load_average"] = os.getloadavg()[0]
    path = Path(__file__).resolve().parent / "results" / "redis_export.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


def measure(
    client: redis.Redis, vectors_ND: np.ndarray, ids: list[str], algorithm: str, repeats: int
) -> dict[str, Any]:
    """Runs both sides in turn, the order reversed every round."""
    sides = {"bare": bare, "ours": ours}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    cpu: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(repeats):
        for name in list(sides) if number % 2 else reversed(list(sides)):
            before = _cpu(client)
            seconds[name].append(sides[name](client, vectors_ND, ids, algorithm))
            cpu[name].append(_cpu(client) - before)
    facts: dict[str, Any] = {
        name: {
            "seconds": [round(value, 3) for value in seconds[name]],
            "docs_per_second": len(ids) / statistics.median(seconds[name]),
            "server_cpu_seconds": round(statistics.median(cpu[name]), 2),
        }
        for name in sides
    }
    return {**facts, "ratio": round(statistics.median(seconds["bare"]) / statistics.median(seconds["ours"]), 3)}


def _cpu(client: redis.Redis) -> float:
    info = client.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


if __name__ == "__main__":
    main()
