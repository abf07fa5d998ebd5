from dataclasses import replace

import pytest

from twotower.core.errors import UserError
from twotower.data import serialize as stored
from twotower.data.splits import check_shares, divide, split_of


@pytest.mark.parametrize("with_candidates", [True, False])
def test_a_stored_collection_is_the_same(tmp_path, make_collection, with_candidates):
    collection = make_collection(with_candidates=with_candidates)
    stored.save(tmp_path, collection)
    again = stored.load(tmp_path)
    assert again.fingerprint == collection.fingerprint
    assert (again.name, again.metadata) == (collection.name, collection.metadata)
    assert again.judgements["dev"].grade.dtype == "float32"


def test_a_key_stays_in_its_split_when_others_come():
    shares = {"train": 0.8, "dev": 0.2}
    keys = [f"key {number}" for number in range(500)]
    homes = [split_of(key, shares, 0) for key in keys]
    assert 60 < homes.count("dev") < 140
    assert homes != [split_of(key, shares, 1) for key in keys]


def test_divide_gives_every_split_something():
    assert set(divide(["a", "b"], {"train": 0.99, "dev": 0.01}, 0).values()) == {"train", "dev"}
    assert divide([], {"train": 1.0}, 0) == {}


@pytest.mark.parametrize("shares", [{}, {"train": 1.2, "dev": -0.2}, {"train": 0.5}, {"train": "most"}])
def test_wrong_shares_are_refused(shares):
    with pytest.raises(UserError, match="sum to 1"):
        check_shares(shares)


@pytest.mark.parametrize(("texts", "ascii_only"), [(["plain"] * 19 + ["naïve 🙂"], True), (["文字"] * 20, False)])
def test_a_few_other_characters_are_written_by_number(tmp_path, make_collection, texts, ascii_only):
    collection = make_collection(with_candidates=True)
    lists = {"document_ids": list(map(str, range(20))), "titles": [""] * 20, "texts": texts, "metadata": None}
    stored.save(tmp_path, replace(collection, **lists, indexed_texts=None, judgements={}, candidates=None))
    assert (tmp_path / "lists.json").read_text(encoding="utf-8").isascii() is ascii_only
    assert stored.load(tmp_path).texts == texts
