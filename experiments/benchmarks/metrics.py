"""Metrics alone (no search): ours against trec_eval through pytrec_eval, and ranx where it is installed.

    python experiments/benchmarks/metrics.py [--queries 7000] [--repeats 5]

All start from what they take: ours from a ranking (document rows) and judgements, the others from their own prepared
objects (pytrec_eval: dicts and a RelevanceEvaluator; ranx: Qrels and Run, after one call that compiles). All compute
the same measures, which are compared before the clock starts.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable

import common
import numpy as np
import pytrec_eval
import torch

from twotower.evaluation.formulas import query_metrics
from twotower.evaluation.names import METRICS, NDCG_CUTS, RECALL_CUTS
from twotower.evaluation.relevance import Relevance

DEPTH, DOCUMENTS, RELEVANT = 100, 100_000, 3


def make(queries: int) -> tuple[np.ndarray, Relevance]:
    """Random rankings in which most relevant documents are found, grades 1 to 3; seeded."""
    rng = np.random.default_rng(0)
    rows = np.argsort(rng.random((queries, 4 * DEPTH)), axis=1)[:, :DEPTH] + rng.integers(0, DOCUMENTS - 400)
    document = np.concatenate([rows[:, [3, 40]], np.full((queries, 1), DOCUMENTS - 1)], axis=1)
    position = np.repeat(np.arange(queries), RELEVANT)
    return rows, Relevance.build(position, document.ravel(), rng.integers(1, 4, queries * RELEVANT), queries)


def ours(rows: np.ndarray, relevance: Relevance) -> Callable[[], np.ndarray]:
    """Grades at ranks, then every metric."""

    def run() -> np.ndarray:
        parts = relevance.grades_at(rows), relevance.ideal, relevance.num_relevant
        return query_metrics(*(torch.from_numpy(part) for part in parts)).numpy()

    return run


def trec_eval(rows: np.ndarray, relevance: Relevance) -> Callable[[], dict]:
    """The same measures by trec_eval's own code."""
    qrel: dict[str, dict[str, int]] = {}
    for query, document, grade in zip(relevance.position, relevance.document, relevance.grade, strict=True):
        qrel.setdefault(str(query), {})[str(document)] = int(grade)
    ranked = {str(q): {str(row): float(DEPTH - r) for r, row in enumerate(line)} for q, line in enumerate(rows)}
    cuts = {"recall." + ",".join(map(str, RECALL_CUTS)), "ndcg_cut." + ",".join(map(str, NDCG_CUTS))}
    evaluator = pytrec_eval.RelevanceEvaluator(qrel, {"map", "recip_rank", *cuts})
    return lambda: evaluator.evaluate(ranked)


def ranx(rows: np.ndarray, relevance: Relevance) -> Callable[[], dict] | None:
    """The same measures by ranx, compiled; None where it isn't installed."""
    try:
        from ranx import Qrels, Run, evaluate
    except ImportError:
        return None
    qrels: dict[str, dict[str, int]] = {}
    for query, document, grade in zip(relevance.position, relevance.document, relevance.grade, strict=True):
        qrels.setdefault(f"q{query}", {})[f"d{document}"] = int(grade)
    run = {f"q{q}": {f"d{row}": float(DEPTH - r) for r, row in enumerate(line)} for q, line in enumerate(rows)}
    names = ["mrr", "mrr@10", "map", *(f"recall@{k}" for k in RECALL_CUTS), *(f"ndcg@{k}" for k in NDCG_CUTS)]
    objects = Qrels(qrels), Run(run)
    evaluate(*objects, names)  # compiles
    return lambda: evaluate(*objects, names)


def main() -> None:
    """Times them in turn and prints medians and ratios."""
    parser = common.parser(__doc__, repeats=5)
    parser.add_argument("--queries", type=int, default=7000)
    options = parser.parse_args()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    data = make(options.queries)
    sides = {"twotower": ours(*data), "pytrec_eval": trec_eval(*data), "ranx": ranx(*data)}
    mine, theirs = sides["twotower"](), sides["pytrec_eval"]()
    for name, key in {"map": "map", "mrr": "recip_rank", "recall_100": "recall_100", "ndcg_10": "ndcg_cut_10"}.items():
        expected = [theirs[str(query)][key] for query in range(options.queries)]
        np.testing.assert_allclose(mine[:, METRICS.index(name)], expected, atol=1e-6)
    times: dict[str, list[float]] = {name: [] for name, side in sides.items() if side}
    for _ in range(options.repeats):
        for name in times:
            started = time.perf_counter()
            sides[name]()
            times[name].append(time.perf_counter() - started)
    print(
        f"{options.queries} queries x top {DEPTH}, {len(METRICS)} metrics; "
        f"{torch.get_num_threads()} threads, {platform.machine()}, torch {torch.__version__}"
    )
    base = statistics.median(times["twotower"])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:12} median {median * 1000:9.1f} ms   {median / base:7.1f} x ours")
    if sides["ranx"] is None:
        print("ranx         not installed, not compared (pip install ranx)")
    for name, goal in {"ranx": 1, "pytrec_eval": 10}.items():
        if name in times:
            theirs_s = statistics.median(times[name])
            measured = f"{theirs_s / base:.1f} x ({base * 1000:.0f} ms for {options.queries} queries x top {DEPTH})"
            met = theirs_s >= goal * base
            facts = {"ours_seconds": base, "theirs_seconds": theirs_s}
            goal_text = f"at least {goal} x its speed" + (", once compiled" if name == "ranx" else "")
            common.report(options.json, f"metrics against {name}", goal=goal_text, measured=measured, met=met, **facts)


if __name__ == "__main__":
    main()
