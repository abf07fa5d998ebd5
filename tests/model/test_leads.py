"""Summaries read as questions: the sums, texts without one, and that what is stored says so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from twotower.data import serialize
from twotower.data.collection import Collection
from twotower.data.documents import DocumentStore
from twotower.model.encoding import encode
from twotower.model.leads import add_leads
from twotower.model.two_tower import TwoTower
from twotower.text.tokenizer import Tokenizer

TEXTS = ["Sort a list.\n\nThe list is sorted in place.", "No summary here, one paragraph.", "\n\nan empty one", ""]


@pytest.fixture(scope="module")
def towers():
    torch.manual_seed(0)
    tokenizer = Tokenizer.train(TEXTS, {"kind": "words", "min_frequency": 1})
    towers = {"query_tower": "mlp", "document_tower": "mlp", "shared": False, "num_layers": 0}
    return TwoTower(vocabulary_size=tokenizer.size, embedding_dim=8, output_dim=8, **towers).eval(), tokenizer


def test_a_summary_is_added_as_the_query_tower_reads_it(towers):
    model, tokenizer = towers
    documents = encode(model, tokenizer.encode(TEXTS), side="document")
    made = add_leads(model, tokenizer, TEXTS, documents.copy(), max_query_length=32)
    summary = encode(model, tokenizer.encode(["Sort a list."]), side="query")[0]
    expected = documents[0] + summary
    np.testing.assert_allclose(made[0], expected / np.linalg.norm(expected), atol=1e-6)
    assert not np.allclose(made[0], documents[0], atol=1e-3)
    np.testing.assert_allclose(made[1:], documents[1:], atol=1e-6)
    cut = add_leads(model, tokenizer, TEXTS, documents, max_query_length=1)
    assert not np.allclose(cut[0], made[0], atol=1e-3)


def test_no_summaries_leave_the_vectors_alone(towers):
    model, tokenizer = towers
    documents = encode(model, tokenizer.encode(TEXTS[1:2]), side="document")
    assert add_leads(model, tokenizer, TEXTS[1:2], documents, max_query_length=32) is documents


@pytest.mark.parametrize("leads", [True, False])
def test_the_stored_documents_say_so(tmp_path, leads):
    collection = Collection(
        name="made", document_ids=["a"], titles=[""], texts=["rest"], query_ids=[], query_texts=[], judgements={},
        indexed_texts=["Lead.\n\nrest"], indexed_as="the whole", indexed_leads=leads,
    )  # fmt: skip
    serialize.save(tmp_path, collection)
    assert serialize.load(tmp_path).indexed_leads is leads
    with DocumentStore.write(tmp_path / "documents.db", collection) as store:
        assert store.indexed_leads is leads
