"""Full-corpus ranking on the same vectors: ours against plain numpy, FAISS flat, and sentence-transformers' evaluator.

    python experiments/benchmarks/ranking.py [--queries 2900] [--documents 100000] [--dimensions 256] [--repeats 3]

Vectors are drawn around 1,000 seeded centres, so that neighbours exist. numpy: one product, argpartition, sort. FAISS:
IndexFlatIP, as it comes and with its BLAS threshold lowered to 20 (as it comes, batches never use BLAS). The evaluator
of sentence-transformers, where installed, is given the vectors through a stand-in model, so only its search and its
metrics are timed; ours then counts its metrics too. Each repeat runs every side once, in turn.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import faiss
import numpy as np
import torch

from twotower.evaluation.formulas import query_metrics
from twotower.evaluation.ranking import rank_full
from twotower.evaluation.relevance import Relevance

K = 100


def make(count: int, dimensions: int, seed: int) -> np.ndarray:
    """Clustered unit vectors, float32, filled block by block."""
    centres = np.random.default_rng(0).standard_normal((1000, dimensions)).astype(np.float32)
    rng = np.random.default_rng(seed)
    vectors = np.empty((count, dimensions), dtype=np.float32)
    for start in range(0, count, 50_000):
        part = vectors[start : start + 50_000]
        rng.standard_normal(out=part, dtype=np.float32)
        part += centres[rng.integers(0, 1000, len(part))]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def by_numpy(query_QD: np.ndarray, document_ND: np.ndarray) -> np.ndarray:
    """The straightforward way, in blocks of queries so that it fits in memory."""
    rows = np.empty((len(query_QD), K), dtype=np.int64)
    for start in range(0, len(query_QD), 256):
        scores = query_QD[start : start + 256] @ document_ND.T
        top = np.argpartition(-scores, K, axis=1)[:, :K]
        order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1)
        rows[start : start + 256] = np.take_along_axis(top, order, axis=1)
    return rows


def by_faiss(query_QD: np.ndarray, index: Any, threshold: int) -> np.ndarray:
    """FAISS flat inner product with a given BLAS threshold."""
    before = faiss.cvar.distance_compute_blas_threshold
    faiss.cvar.distance_compute_blas_threshold = threshold
    try:
        return index.search(query_QD, K)[1]
    finally:
        faiss.cvar.distance_compute_blas_threshold = before


def by_evaluator(query_QD: np.ndarray, document_ND: np.ndarray) -> Callable[[], Any] | None:
    """InformationRetrievalEvaluator's search and metrics on given vectors; None where it isn't installed."""
    try:
        from sentence_transformers.evaluation import InformationRetrievalEvaluator
    except ImportError:
        return None
    queries = {str(at): "" for at in range(len(query_QD))}
    corpus = {str(at): "" for at in range(len(document_ND))}
    evaluator = InformationRetrievalEvaluator(
        queries, corpus, {query: {"0"} for query in queries}, mrr_at_k=[10], ndcg_at_k=[10], map_at_k=[K],
        accuracy_at_k=[1], precision_recall_at_k=[K], show_progress_bar=False,
        score_functions={"dot": lambda query_BD, document_ND: query_BD @ document_ND.T}, main_score_function="dot",
    )  # fmt: skip
    vectors = torch.from_numpy(query_QD), torch.from_numpy(document_ND)

    class Model:
        """Answers with vectors made before."""

        similarity_fn_name = "dot"
        model_card_data = None

        def similarity(self, query_BD: torch.Tensor, document_ND: torch.Tensor) -> torch.Tensor:
            """Returns the inner products [B, N]."""
            return query_BD @ document_ND.T

    position = {"at": 0}

    def embed(model: Any, sentences: list[str], encode_fn_name: str | None = None, **_: Any) -> torch.Tensor:
        """Returns the vectors of the queries, or of as many documents as come next."""
        if encode_fn_name == "query":
            position["at"] = 0
            return vectors[0]
        start = position["at"]
        position["at"] += len(sentences)
        return vectors[1][start : position["at"]]

    evaluator.embed_inputs = embed
    return lambda: evaluator.compute_metrices(Model())


def peak_kib() -> int:
    """Returns the most memory the process held since the last call, in KiB, and starts over where Linux lets it."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    Path("/proc/self/clear_refs").write_text("5")
    return int(status["VmHWM"].split()[0])


def main() -> None:
    """Times them in turn and prints medians and ratios."""
    parser = common.parser(__doc__)
    parser.add_argument("--queries", type=int, default=2900)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--dimensions", type=int, default=256)
    parser.add_argument("--only", default="", help="comma-separated sides to run")
    options = parser.parse_args()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    sides = all_sides(options)
    chosen = options.only.split(",") if options.only else list(sides)
    if "numpy" in chosen:
        agreement = (np.sort(sides["twotower"](), axis=1) == np.sort(sides["numpy"](), axis=1)).mean()
        print(f"same documents in the top {K} as numpy: {agreement:.4%}")
    peak_kib()  # the most until here was that of drawing the vectors
    before = peak_kib()
    if chosen[0] == "twotower":
        sides["twotower"]()
    above = (peak_kib() - before) / 2**20
    tell(timed({name: sides[name] for name in chosen if sides[name]}, options.repeats), chosen, above, options)


def all_sides(options: argparse.Namespace) -> dict[str, Any]:
    """Returns what ranks the drawn vectors, by the side's name; None for what is not installed."""
    query_QD = make(options.queries, options.dimensions, 1)
    document_ND = make(options.documents, options.dimensions, 2)
    index = faiss.IndexFlatIP(options.dimensions)
    index.add(document_ND)
    relevance = Relevance.build(
        np.arange(len(query_QD)), np.zeros(len(query_QD), int), np.ones(len(query_QD)), len(query_QD)
    )

    def ours() -> np.ndarray:
        """Ranks, and counts every metric."""
        ranking = rank_full(query_QD, document_ND, k=K)
        parts = relevance.grades_at(ranking.rows), relevance.ideal, relevance.num_relevant
        query_metrics(*(torch.from_numpy(part) for part in parts))
        return ranking.rows

    return {
        "twotower": ours,
        "numpy": lambda: by_numpy(query_QD, document_ND),
        "faiss": lambda: by_faiss(query_QD, index, faiss.cvar.distance_compute_blas_threshold),
        "faiss+blas": lambda: by_faiss(query_QD, index, 20),
        "sentence-transformers": by_evaluator(query_QD, document_ND),
    }


def timed(sides: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Returns the seconds of every round of every side, which take turns."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            started = time.perf_counter()
            side()
            times[name].append(time.perf_counter() - started)
    return times


def tell(times: dict[str, list[float]], chosen: list[str], above: float, options: argparse.Namespace) -> None:
    """Prints medians and ratios, and reports them.

    Args:
        times: seconds by side.
        chosen: the sides that were asked for; those without times are not installed.
        above: GiB that ours held above the vectors.
        options: the command line.
    """
    shape = f"{options.queries} queries x {options.documents} documents x {options.dimensions} dimensions, top {K}"
    print(
        f"{shape}; {torch.get_num_threads()} threads, {platform.machine()}, "
        f"torch {torch.__version__}, faiss {faiss.__version__}"
    )
    base = statistics.median(times["twotower"]) if "twotower" in times else float("nan")
    for name, values in times.items():
        print(f"{name:22} median {statistics.median(values):8.3f} s   {statistics.median(values) / base:6.2f} x ours")
    for name in chosen:
        if name not in times:
            print(f"{name:22} not installed, not compared")
    print(f"peak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    if "sentence-transformers" in times and "twotower" in times:
        ratio = statistics.median(times["sentence-transformers"]) / base
        goal = "at least 3 x, within 2 GiB above the vectors"
        measured = f"{ratio:.1f} x ({base:.0f} s), {above:.2f} GiB ({shape})"
        name = "full-corpus ranking against InformationRetrievalEvaluator"
        common.report(
            options.json, name, goal=goal, measured=measured, met=ratio >= 3 and above <= 2, bound="the matrix product",
            ours_seconds=base,
        )  # fmt: skip


if __name__ == "__main__":
    main()
