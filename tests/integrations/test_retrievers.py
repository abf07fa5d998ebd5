"""Retrievers used as LangChain and LlamaIndex use them, by the real packages; their hits are those of the engine."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.search.small_run import collection, make_run
from twotower.core.errors import UserError
from twotower.runs.run import read_run
from twotower.search.engine import SearchEngine

EXACT = {"exact": {"_target_": "twotower.index.exact.ExactIndex", "device": "cpu"}}
QUERY = "solve a linear system"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "small", collection(), EXACT)


@pytest.fixture(scope="module")
def hits(run):
    return SearchEngine.open(run).search(QUERY, k=3).hits


def test_langchain_gets_the_hits_of_the_engine(run, hits):
    pytest.importorskip("langchain_core", reason="langchain-core isn't installed")
    from langchain_core.runnables import RunnableLambda

    from twotower.integrations.langchain import TwoTowerRetriever

    retriever = TwoTowerRetriever(run=str(run), k=3)
    documents = retriever.invoke(QUERY)
    assert [(item.id, item.page_content) for item in documents] == [(hit.doc_id, hit.text) for hit in hits]
    assert [item.metadata["score"] for item in documents] == [hit.score for hit in hits]
    assert documents[0].metadata["title"] == hits[0].title
    chain = retriever | RunnableLambda(lambda found: [item.id for item in found])
    assert asyncio.run(chain.ainvoke(QUERY)) == [hit.doc_id for hit in hits]
    assert chain.batch([QUERY, QUERY])[1] == [hit.doc_id for hit in hits]


@pytest.mark.parametrize("form", [str, Path, read_run])
def test_a_run_is_named_in_any_form(run, hits, form):
    pytest.importorskip("langchain_core", reason="langchain-core isn't installed")
    pytest.importorskip("llama_index.core", reason="llama-index-core isn't installed")
    from twotower.integrations import langchain, llama_index

    assert langchain.TwoTowerRetriever(run=form(run), k=3).invoke(QUERY)[0].id == hits[0].doc_id
    assert llama_index.TwoTowerRetriever(run=form(run), k=3).retrieve(QUERY)[0].node.node_id == hits[0].doc_id
    assert len(langchain.TwoTowerEmbeddings(form(run)).embed_query(QUERY)) > 1


def test_langchain_fills_a_vector_store_by_both_towers(run, hits):
    pytest.importorskip("langchain_core", reason="langchain-core isn't installed")
    from langchain_core.vectorstores import InMemoryVectorStore

    from twotower.integrations.langchain import TwoTowerEmbeddings

    store = InMemoryVectorStore(TwoTowerEmbeddings(str(run)))
    documents = collection()
    store.add_texts(documents.document_texts(), ids=documents.document_ids)
    found = store.similarity_search_with_score(QUERY, k=3)
    assert [item.id for item, _ in found] == [hit.doc_id for hit in hits]
    np.testing.assert_allclose([score for _, score in found], [hit.score for hit in hits], atol=1e-5)


def test_llama_index_gets_the_hits_of_the_engine(run, hits):
    pytest.importorskip("llama_index.core", reason="llama-index-core isn't installed")
    from llama_index.core.llms import MockLLM
    from llama_index.core.query_engine import RetrieverQueryEngine

    from twotower.integrations.llama_index import TwoTowerRetriever

    retriever = TwoTowerRetriever(run=str(run), k=3)
    nodes = retriever.retrieve(QUERY)
    assert [(node.node_id, node.text, node.score) for node in nodes] == [
        (hit.doc_id, hit.text, hit.score) for hit in hits
    ]
    assert [node.node_id for node in asyncio.run(retriever.aretrieve(QUERY))] == [hit.doc_id for hit in hits]
    answer = RetrieverQueryEngine.from_args(retriever, llm=MockLLM()).query(QUERY)
    assert [node.node_id for node in answer.source_nodes] == [hit.doc_id for hit in hits]


@pytest.mark.parametrize("name", ["langchain", "llama_index"])
def test_mistakes_are_named(name, run):
    pytest.importorskip({"langchain": "langchain_core", "llama_index": "llama_index.core"}[name])
    from importlib import import_module

    retriever = import_module(f"twotower.integrations.{name}").TwoTowerRetriever
    for settings, message in (
        ({"run": "nobody"}, "nobody"),
        ({"run": str(run), "index": "redis"}, "has no index 'redis'"),
        ({"run": str(run), "mode": "hybrid"}, "no lexical index"),
        ({"run": str(run), "k": 0}, "k=0"),
    ):
        with pytest.raises(UserError, match=message):
            retriever(**settings)


def test_nothing_of_them_is_imported_until_used():
    names = "'mteb', 'langchain_core', 'llama_index', 'sentence_transformers', 'datasets'"
    code = f"import sys, twotower.cli.main, twotower.integrations; sys.exit(any(n in sys.modules for n in ({names})))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
