"""A run as LlamaIndex's retriever.

    from twotower.integrations.llama_index import TwoTowerRetriever

    nodes = TwoTowerRetriever(run="RUN", k=5).retrieve("how do I sort a list")

It needs llama-index-core.
"""

from __future__ import annotations

import os
from typing import Any

from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from twotower.core.errors import UserError
from twotower.runs.find import find_run
from twotower.search.engine import SearchEngine


class TwoTowerRetriever(BaseRetriever):  # type: ignore[misc]
    """Finds documents of a run's collection.

    Args:
        run: a run (as `train` returns it), its folder, name or config hash.
        index: which of its indexes; None takes the one of highest recall.
        k: documents to return.
        mode: "dense", "lexical" or "hybrid"; None takes the run's best.
        settings: what LlamaIndex's own retrievers take, such as `callback_manager`.

    Raises:
        UserError: when the run or its index is missing, damaged, or belongs to another model.
    """

    def __init__(
        self,
        *,
        run: str | os.PathLike[str],
        index: str | None = None,
        k: int = 10,
        mode: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if k < 1:
            raise UserError(f"k={k}: ask for at least 1 document.")
        self._engine, self._k, self._mode = SearchEngine.open(find_run(os.fspath(run)).path, index), k, mode
        self._engine.check_mode(mode)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        results = self._engine.search(query_bundle.query_str, k=self._k, mode=self._mode)
        return [
            NodeWithScore(
                node=TextNode(
                    id_=hit.doc_id,
                    text=hit.text,
                    metadata={"title": hit.title, "rank": hit.rank, "mode": results.mode},
                ),
                score=hit.score,
            )
            for hit in results.hits
        ]
