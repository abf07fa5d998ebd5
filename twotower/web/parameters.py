"""What addresses of the pages and of the API may carry, with their limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import Query

MOST_HITS, LONGEST_QUERY = 1000, 10_000
BOTH = ["GET", "HEAD"]

Q = Annotated[str, Query(max_length=LONGEST_QUERY, description="What to look for.")]
DocumentId = Annotated[str, Query(max_length=2000, description="A document's id.")]
K = Annotated[int, Query(ge=1, le=MOST_HITS, description="How many documents.")]
Mode = Annotated[
    Literal["", "dense", "lexical", "hybrid"],
    Query(description="By vectors (dense), words (lexical) or both (hybrid); empty: the run's best."),
]
Beside = Annotated[
    Sequence[str],
    Query(max_length=4, description="Further columns: a way of searching (dense, lexical, hybrid) or a run."),
]
RunKey = Annotated[str, Query(max_length=400, description="A run's key, as in /runs; empty for the one served.")]
