import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twotower.core.errors import UserError
from twotower.data.collection import Candidates, Collection, Judgements, bare, group_texts, normalised

PARTS = ["a", "B", " ", "\t", "x" * 62, "X" * 63, " " * 80, "é", "e", "\u0301", "\u00ad", "ß", "\x1c", "\u2003"]


def make(**changes):
    base = {
        "name": "small",
        "document_ids": ["a", "b", "c"],
        "titles": ["A", "", "A"],
        "texts": ["one", "two", "ONE "],
        "query_ids": ["x", "y"],
        "query_texts": ["first", "second"],
        "judgements": {"train": Judgements.of([1, 0], [2, 1], [1, 2]), "dev": Judgements.of([0], [0], [0])},
    }
    return Collection(**{**base, **changes})


def test_judgements_are_sorted_distinct_and_not_negative():
    judgements = Judgements.of([2, 0, 2, 2], [1, 5, 0, 1], [0, 3, -1, 2])
    assert judgements.query.tolist() == [0, 2, 2]
    assert judgements.document.tolist() == [5, 0, 1]
    assert judgements.grade.tolist() == [3, 0, 2]
    assert judgements.queries.tolist() == [0, 2]
    assert len(Judgements.of([], [], [])) == 0


def test_candidates_keep_the_order_given_and_drop_repeats():
    candidates = Candidates.of([1, 0, 1, 1], [9, 3, 2, 9])
    assert candidates.query.tolist() == [0, 1, 1]
    assert candidates.document.tolist() == [3, 9, 2]


def test_document_texts_join_title_and_text():
    assert make().document_texts() == ["A one", "two", "A ONE "]


def test_text_groups_ignore_case_and_blanks():
    assert make().text_group.tolist() == [0, 1, 0]
    assert group_texts(["a b", "A  b", "ab", ""]).tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize(
    "change",
    [
        {"texts": ["one", "two", "three"]},
        {"titles": ["A one", "", "A"], "texts": ["", "two", "ONE "]},
        {"document_ids": ["b", "a", "c"]},
        {"query_texts": ["first", "other"]},
        {"judgements": {"train": Judgements.of([1, 0], [2, 1], [1, 1]), "dev": Judgements.of([0], [0], [0])}},
        {"candidates": Candidates.of([0], [0])},
    ],
)
def test_fingerprint_changes_with_the_content(change):
    assert make(**change).fingerprint != make().fingerprint


def test_fingerprint_does_not_depend_on_the_name():
    assert make(name="other").fingerprint == make().fingerprint


def test_split_names_what_is_there():
    with pytest.raises(UserError, match=r"no split 'trian'; there are: dev, train. Did you mean 'train'"):
        make().split("trian")
    with pytest.raises(UserError, match="split 'dev' is empty"):
        make().split("dev")
    assert np.array_equal(make().split("train").query, [0, 1])


def test_duplicate_ids_are_refused():
    with pytest.raises(UserError, match="document id 'a'"):
        make(document_ids=["a", "b", "a"])
    with pytest.raises(UserError, match="query id 'x'"):
        make(query_ids=["x", "x"])


@given(st.lists(st.lists(st.sampled_from(PARTS), max_size=6).map("".join), max_size=8))
def test_texts_are_grouped_as_whole_texts_are(texts):
    wholes = [normalised(text) for text in texts]
    first = {whole: number for number, whole in enumerate(dict.fromkeys(wholes))}
    assert group_texts(texts).tolist() == [first[whole] for whole in wholes]


@given(st.text() | st.text(st.characters(max_codepoint=127)))
def test_letters_and_digits_are_what_is_left_of_a_text(text):
    small = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    assert bare(text) == "".join(letter for letter in small if letter.isalnum())
