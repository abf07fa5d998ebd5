"""Which BM25 a collection is best ranked by: its k1 and b, and plain words or stems, chosen on training queries.

BM25 is not trained, so every training query may decide; the evaluated ones have no say.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from twotower.data.collection import Collection
from twotower.evaluation.bm25 import bm25_rankings
from twotower.evaluation.measures import MetricSet
from twotower.evaluation.pools import build_pools
from twotower.evaluation.relevance import Relevance
from twotower.evaluation.sample import draw_sample
from twotower.evaluation.settings import Bm25Settings
from twotower.lexical.bm25 import K1, B

USUAL = ((K1, B), (1.5, 0.75))
"""k1 and b that `auto` tries: Pyserini's, for short passages, and bm25s's, for texts of unequal length."""
QUERIES, DOCUMENTS = 1000, 50_000
"""How many training queries decide, over how many documents at most."""


def strongest_bm25(
    collection: Collection, split: str | None, settings: Bm25Settings, stem: str | None
) -> tuple[str | None, Bm25Settings]:
    """Returns the stem (None: plain words), and k1 and b in numbers, that rank training queries best by MRR@10.

    Args:
        collection: the collection.
        split: the split trained on; without one the first choice stands: stems, k1 .9 and b .4.
        settings: k1 and b; numbers stay as they are.
        stem: language of the stems that are tried beside plain words; None tries none.
    """
    tried = [settings.filled(*numbers) for numbers in USUAL]
    kinds = list(dict.fromkeys(product((stem, None), tried)))
    rows = collection.split(split).queries
    if len(kinds) == 1 or split is None:
        return kinds[0]
    if len(rows) > QUERIES:
        rows = np.sort(np.random.default_rng(0).choice(rows, QUERIES, replace=False))
    part = draw_sample(collection, split, rows, documents=DOCUMENTS, seed=0).collection
    pools, relevance = build_pools(part, rows, "full"), Relevance.of(part.split(split), rows)
    metrics, reached = MetricSet({}, k=10), []
    for kind, numbers in kinds:
        ranking = bm25_rankings(part, rows, pools, k=10, stem=kind, **numbers.to_dict())[0]
        reached.append(metrics.measure(ranking, relevance, each_query=False).means["mrr_10"])
    return kinds[int(np.argmax(reached))]


def usual_bm25(settings: Bm25Settings | None) -> Bm25Settings:
    """Returns k1 and b in numbers where nothing can be chosen."""
    return (settings or Bm25Settings(k1="auto", b="auto")).filled(*USUAL[0])
