"""Names and cut-offs of the metrics; imports nothing, so the ledger and the statistics can use it without torch."""

from __future__ import annotations

PROTOCOLS = ("full", "rerank")
"""Rankings of the whole collection, and of each query's own candidates."""

RECALL_CUTS = (1, 5, 10, 20, 50, 100)
NDCG_CUTS = (1, 5, 10, 20)
METRICS = ("mrr", "mrr_10", "map", *(f"recall_{k}" for k in RECALL_CUTS), *(f"ndcg_{k}" for k in NDCG_CUTS))
"""Names of the metrics, in the order of the columns of every [queries, metrics] array."""

IDEAL_DEPTH = max(NDCG_CUTS)
"""How many of a query's best grades nDCG needs to know."""

LABELS = {
    "mrr": "MRR",
    "mrr_10": "MRR@10",
    "map": "MAP",
    **{f"recall_{k}": f"Recall@{k}" for k in RECALL_CUTS},
    **{f"ndcg_{k}": f"nDCG@{k}" for k in NDCG_CUTS},
}
"""How a metric is written for people."""


TABLE_COLUMNS = (
    *("protocol", "query_id", "query", "pool_size", "num_relevant", "first_relevant_rank"),
    *("relevant_score", "random_score", "top_ids", "top_scores"),
)
"""What the per-query table holds beside metrics."""


def label(name: str) -> str:
    """Returns how a metric is written for people; a user's own goes by its name."""
    return LABELS.get(name, name)
