"""Queries that are documents themselves, as in ArguAna, Quora and duplicate detection."""

from dataclasses import replace

import numpy as np
import pytest

from twotower.core.errors import UserError
from twotower.data.collection import Candidates, Collection, Judgements
from twotower.evaluation.evaluate import evaluate_means, evaluate_vectors
from twotower.evaluation.own_document import own_documents
from twotower.evaluation.settings import EvaluationSettings

COUNT = 12
IDS = [f"p{number}" for number in range(COUNT)]
TEXTS = [f"argument number{number} about topic{number // 2}" for number in range(COUNT)]
ROWS = np.arange(COUNT)


def arguments(**changes):
    """Each document is a query too; its answer is its neighbour in the same topic."""
    base = {
        "name": "arguments",
        "document_ids": IDS,
        "titles": [""] * COUNT,
        "texts": TEXTS,
        "query_ids": IDS,
        "query_texts": [text.upper() for text in TEXTS],
        "judgements": {"dev": Judgements.of(ROWS, ROWS ^ 1, np.ones(COUNT))},
    }
    return Collection(**{**base, **changes})


def vectors():
    """A query is its own document; its neighbour is the next best."""
    topic = np.repeat(np.eye(COUNT // 2), 2, axis=0)
    found = np.concatenate([topic, 0.5 * np.eye(COUNT)], axis=1).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_a_query_is_not_ranked_against_itself():
    collection, found = arguments(), vectors()
    means, rankings = evaluate_means(found, found, collection, ROWS, "dev")
    assert means["full"]["recall_1"] == 1.0
    assert not (rankings["full"].rows == ROWS[:, None]).any()
    assert rankings["full"].pool_size.tolist() == [COUNT - 1] * COUNT
    blind, _ = evaluate_means(found, found, collection, ROWS, "dev", EvaluationSettings(exclude_self=False))
    assert blind["full"]["recall_1"] == 0.0


def test_bm25_and_chance_leave_it_out_too_and_the_table_says_so():
    from twotower.evaluation.report import title

    collection, found = arguments(), vectors()
    result = evaluate_vectors(found, found, collection, ROWS, "dev", EvaluationSettings(resamples=20))
    full = result.protocols["full"]
    assert full.metrics["recall_1"]["bm25"] == 1.0
    assert full.metrics["recall_1"]["chance"] == pytest.approx(1 / (COUNT - 1))
    assert full.to_dict()["own_documents_left_out"] == COUNT
    assert "12 of them without the document that they are themselves" in title(full, result).plain
    blind = evaluate_vectors(
        found, found, collection, ROWS, "dev", EvaluationSettings(resamples=20, exclude_self=False)
    ).protocols["full"]
    assert blind.metrics["recall_1"]["bm25"] == 0.0
    assert blind.metrics["recall_1"]["chance"] == pytest.approx(1 / COUNT)


def test_candidate_lists_lose_it_too():
    every = np.repeat(ROWS, COUNT), np.tile(ROWS, COUNT)
    collection, found = arguments(candidates=Candidates.of(*every)), vectors()
    _, rankings = evaluate_means(found, found, collection, ROWS, "dev", EvaluationSettings(protocols="rerank"))
    assert rankings["rerank"].pool_size.tolist() == [COUNT - 1] * COUNT
    assert not (rankings["rerank"].rows == ROWS[:, None]).any()


def test_numbers_that_are_ids_of_both_by_accident_are_left_alone():
    other = arguments(query_texts=[f"question {number}" for number in range(COUNT)])
    assert own_documents(other, ROWS, "dev", "auto") is None
    assert own_documents(other, ROWS, "dev", True).tolist() == ROWS[:, None].tolist()
    assert own_documents(arguments(), ROWS, "dev", False) is None


def test_the_title_may_be_part_of_the_query_or_not():
    titled = arguments(titles=["T"] * COUNT)
    assert own_documents(titled, ROWS, "dev", "auto").tolist() == ROWS[:, None].tolist()
    whole = replace(titled, query_texts=[f"T {text}" for text in TEXTS])
    assert own_documents(whole, ROWS, "dev", "auto").tolist() == ROWS[:, None].tolist()


def test_a_document_that_is_judged_relevant_to_itself_stays():
    judged = {"dev": Judgements.of([0, 0, 1], [0, 1, 0], [1, 1, 1])}
    assert own_documents(arguments(judgements=judged), ROWS[:2], "dev", "auto").tolist() == [[-1], [1]]


def test_the_same_text_under_other_ids_is_left_out_too():
    collection = arguments(
        query_ids=[f"q{number}" for number in range(COUNT)],
        document_ids=[*IDS, "copy"],
        titles=[""] * (COUNT + 1),
        texts=[*TEXTS, f"{TEXTS[3]}!"],
    )
    own_QM = own_documents(collection, ROWS, "dev", "auto")
    assert own_QM[:, 0].tolist() == ROWS.tolist()
    assert own_QM[3].tolist() == [3, COUNT]
    assert (own_QM[np.arange(COUNT) != 3, 1] == -1).all()
    found = np.concatenate([vectors(), vectors()[3:4]])
    _, rankings = evaluate_means(vectors(), found, collection, ROWS, "dev")
    assert not np.isin(rankings["full"].rows[3], [3, COUNT]).any()
    assert rankings["full"].pool_size.tolist() == [COUNT + 1 - 1 - (row == 3) for row in ROWS]
    judged = {"dev": Judgements.of([3, 4], [COUNT, 5], [1, 1])}  # one copy is the answer: to find that text is the task
    assert own_documents(replace(collection, judgements=judged), ROWS[3:5], "dev", "auto").tolist() == [[-1], [4]]


def test_another_value_is_named():
    with pytest.raises(UserError, match=r"evaluation\.exclude_self=always must be true or false, or auto"):
        EvaluationSettings(exclude_self="always")
