"""Evaluates a trained model on any collection: tokens, vectors, then `evaluate_vectors`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower.config.trust import admit
from twotower.data.collection import Collection
from twotower.evaluation.bm25 import bm25_of
from twotower.evaluation.evaluate import evaluate_vectors
from twotower.evaluation.hybrid import Hybrid
from twotower.evaluation.ranking import Ranking, rank_full
from twotower.evaluation.results import Evaluation
from twotower.evaluation.settings import EvaluationSettings
from twotower.evaluation.strongest import usual_bm25
from twotower.lexical.fusion import Fusion
from twotower.model.encoding import encode
from twotower.text.settings import parse_text

if TYPE_CHECKING:
    from twotower.model.checkpoint import Checkpoint


def evaluate_checkpoint(
    checkpoint: Checkpoint,
    collection: Collection,
    split: str,
    *,
    untrained: Mapping[str, Mapping[str, float]] | None = None,
    progress: Callable[[int], None] | None = None,
    document_ND: np.ndarray | None = None,
    rank_whole: Callable[..., Ranking] = rank_full,
    **options: Any,
) -> Evaluation:
    """Evaluates an exported model on a split of a collection.

    Args:
        checkpoint: the loaded model with its tokenizer and config.
        collection: any collection; words the model has not met are unknown to it.
        split: whose judgements count; all of its judged queries are evaluated.
        untrained: figures of the untrained model, where known.
        progress: called with the number of documents just encoded.
        document_ND: the model's vectors of all documents, where they are there already.
        rank_whole: ranks the whole collection, taking what `rank_full` takes.
        **options: settings of the config group `evaluation`, which win over the model's own.

    Raises:
        UserError: for an unknown or empty split, a bad setting, or a metric of a package that is not trusted.
    """
    rows = np.unique(collection.split(split).query).astype(np.int64)
    recorded = {**(checkpoint.config.get("evaluation") or {}), **options}
    if recorded.get("metrics") and "metrics" not in options:
        admit(recorded["metrics"], source=checkpoint.path, place="evaluation.metrics")
    if "protocols" not in options:
        recorded["protocols"] = "auto"  # what the training data offered says nothing about this collection
    settings = EvaluationSettings.recorded(recorded)
    texts = [collection.query_texts[row] for row in rows]
    query_tokens = checkpoint.tokenizer.encode(texts, checkpoint.max_query_length)
    query_QD = encode(checkpoint.model, query_tokens, side="query")
    if document_ND is None:
        tokens = checkpoint.tokenizer.encode_cached(collection.document_texts(), checkpoint.max_document_length)
        document_ND = encode(checkpoint.model, tokens, side="document", progress=progress)
    fusion = recorded_fusion(checkpoint)
    if settings.bm25 is not None:
        known = settings.bm25 if fusion is None else settings.bm25.filled(fusion.k1, fusion.b)
        settings = replace(settings, bm25=usual_bm25(known))
    hybrid = None if fusion is None else Hybrid(bm25=bm25_of(collection, **fusion.lexical), fusion=fusion)
    return evaluate_vectors(
        query_QD,
        document_ND,
        collection,
        rows,
        split,
        settings,
        untrained=untrained,
        stem=parse_text(checkpoint.config["text"]).lexical_stem,
        hybrid=hybrid,
        seed=int(checkpoint.config.get("seed", 0)),
        rank_whole=rank_whole,
    )


def recorded_fusion(checkpoint: Checkpoint) -> Fusion | None:
    """Returns how a run fused its model with BM25; None for one that did not, as all from before there was a hybrid."""
    for part in (checkpoint.eval_results or {}).values():
        if isinstance(part, dict) and isinstance(part.get("hybrid"), dict):
            return Fusion(**{key: value for key, value in part["hybrid"].items() if key != "verdict"})
    return None
