"""What a document says of itself in one sentence, read as a question: part of its vector where people search.

Where a text begins with a summary and queries are summaries, as in docstrings, the query tower knows what to make of
it. The indexed vector is the sum of both readings: a question is compared with the text and with its summary at once,
in the same index and at the same speed. Evaluation never does so: there the summary is the query, and withheld.

Shapes: B documents, D dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from twotower.model.encoding import encode
from twotower.text.tokenizer import Tokenizer

END = "\n\n"
"""An empty line ends the summary."""


def add_leads(
    encoder: Any, tokenizer: Tokenizer, texts: Sequence[str], document_BD: np.ndarray, *, max_query_length: int | None
) -> np.ndarray:
    """Returns the vectors of documents and of their summaries, added and brought to length 1, float32 [B, D].

    Args:
        encoder: the towers.
        tokenizer: reads the texts.
        texts: B texts without their titles; one without an empty line has no summary, and keeps its vector.
        document_BD: their vectors, of length 1.
        max_query_length: words that the query tower reads.
    """
    leads = [text.partition(END)[0] if END in text else "" for text in texts]
    rows = np.flatnonzero([bool(lead) for lead in leads])
    if not len(rows):
        return document_BD
    tokens = tokenizer.encode([leads[row] for row in rows], max_query_length)
    sum_BD = np.array(document_BD, dtype=np.float32)
    sum_BD[rows] += encode(encoder, tokens, side="query")
    length_B1 = np.linalg.norm(sum_BD, axis=1, keepdims=True)
    return sum_BD / np.where(length_B1 > 0, length_B1, 1)
