"""A run as LangChain's retriever, and its model as LangChain's embeddings.

    from twotower.integrations.langchain import TwoTowerRetriever

    documents = TwoTowerRetriever(run="RUN", k=5).invoke("how do I sort a list")

Both need langchain-core.
"""

from __future__ import annotations

import os
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from pydantic import PrivateAttr

from twotower.core.errors import UserError
from twotower.model.checkpoint import load
from twotower.model.encoding import encode
from twotower.runs.find import check_unchanged, find_run, resolve_model
from twotower.search.engine import SearchEngine


class TwoTowerRetriever(BaseRetriever):  # type: ignore[misc]
    """Finds documents of a run's collection.

    Args:
        run: a run (as `train` returns it), its folder, name or config hash.
        index: which of its indexes; None takes the one of highest recall.
        k: documents to return.
        mode: "dense", "lexical" or "hybrid"; None takes the run's best.

    Raises:
        UserError: when the run or its index is missing, damaged, or belongs to another model.
    """

    run: str
    index: str | None = None
    k: int = 10
    mode: str | None = None
    _engine: SearchEngine = PrivateAttr()

    def __init__(self, **settings: Any) -> None:
        if isinstance(settings.get("run"), os.PathLike):
            settings["run"] = os.fspath(settings["run"])
        super().__init__(**settings)
        if self.k < 1:
            raise UserError(f"k={self.k}: ask for at least 1 document.")
        self._engine = SearchEngine.open(find_run(self.run).path, self.index)
        self._engine.check_mode(self.mode)

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        results = self._engine.search(query, k=self.k, mode=self.mode)
        return [
            Document(
                id=hit.doc_id,
                page_content=hit.text,
                metadata={"title": hit.title, "score": hit.score, "rank": hit.rank, "mode": results.mode},
            )
            for hit in results.hits
        ]


class TwoTowerEmbeddings(Embeddings):  # type: ignore[misc]
    """The two towers for a vector store of LangChain's: documents by one, queries by the other.

    Args:
        run: a run (as `train` returns it), its folder, name or config hash, or a .pt file.

    Raises:
        UserError: when there is no such model, or its file is damaged or was changed after the run.
    """

    def __init__(self, run: str | os.PathLike[str]) -> None:
        folder, path = resolve_model(os.fspath(run))
        self._checkpoint = load(path)
        check_unchanged(folder, path, self._checkpoint.sha256)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Returns the unit vector of each text."""
        return self._vectors(texts, "document", self._checkpoint.max_document_length)

    def embed_query(self, text: str) -> list[float]:
        """Returns the unit vector of a query."""
        return self._vectors([text], "query", self._checkpoint.max_query_length)[0]

    def _vectors(self, texts: list[str], side: str, most: int | None) -> list[list[float]]:
        tokens = self._checkpoint.tokenizer.encode(texts, most)
        vectors: list[list[float]] = encode(self._checkpoint.model, tokens, side=side).tolist()
        return vectors
