import numpy as np
import pytest

from twotower.core.errors import UserError
from twotower.data import docstrings
from twotower.data.docstring_files import Docstring
from twotower.data.near_duplicates import near_duplicate_groups
from twotower.data.summary import shared_between
from twotower.text.tokenizer import Tokenizer

LONG = "one two three four five six seven eight nine ten eleven twelve"


def item(module, name, summary, rest):
    return Docstring(module=module, name=f"{module}.{name}", kind="function", summary=summary, rest=rest)


def assemble(items, **module_split):
    return docstrings.assemble(items, module_split, ["train", "dev", "test"], 0.8)


def judged(collection, split):
    found = collection.judgements[split]
    pairs = zip(found.query, found.document, strict=True)
    return {(collection.query_texts[query], collection.document_ids[document]) for query, document in pairs}


def test_near_identical_docstrings_answer_each_other_within_a_split():
    items = [
        item("m", "a", "Sum of x.", LONG),
        item("m", "b", "Mean of x.", LONG + " ."),
        item("m", "c", "Else.", "other"),
    ]
    assert judged(assemble(items, m="train"), "train") == {
        ("Sum of x.", "m.a"),
        ("Sum of x.", "m.b"),
        ("Mean of x.", "m.a"),
        ("Mean of x.", "m.b"),
        ("Else.", "m.c"),
    }


def test_the_summary_is_searched_but_withheld_from_training_and_evaluation():
    collection = assemble([item("m", "inv", "Invert a matrix.", "other words")], m="train")
    assert collection.document_texts() == ["m inv other words"]
    assert collection.searched_texts() == ["m inv Invert a matrix.\n\nother words"]


def test_near_identical_docstrings_never_stand_in_two_splits():
    items = [item("m", "a", "Sum of x.", LONG), item("n", "b", "Mean of x.", LONG), item("n", "c", "Else.", "other")]
    collection = assemble(items, m="train", n="dev")
    assert collection.document_ids == ["m.a", "n.c"]
    assert judged(collection, "dev") == {("Else.", "n.c")}


def test_copies_with_the_same_summary_are_one_document():
    items = [item("m", "a", "Sum of x.", LONG), item("m", "b", "sum of X", LONG)]
    assert assemble(items, m="train").document_ids == ["m.a"]


def test_equal_summaries_are_one_query_and_stay_out_of_later_splits():
    items = [
        item("n", "c", "Emit a record", "quite another text"),
        item("m", "a", "Emit a record.", "first text"),
        item("m", "b", "Emit a  Record.", "second text of all"),
        item("n", "d", "Own words.", "more"),
    ]
    collection = assemble(items, m="train", n="dev")
    assert judged(collection, "train") == {("Emit a record.", "m.a"), ("Emit a record.", "m.b")}
    assert judged(collection, "dev") == {("Own words.", "n.d")}
    assert len(collection.document_ids) == 4


def test_equal_names_get_distinct_ids():
    items = [item("m", "a", "First of two.", "some text"), item("m", "a", "Second of two.", "any other words")]
    assert assemble(items, m="train").document_ids == ["m.a", "m.a#2"]


@pytest.fixture(scope="module")
def real(own_cache):
    return docstrings.load(packages=["stdlib", "rich"])


def test_real_packages_give_a_sound_collection(real):
    assert len(real.document_ids) > 2000
    modules = [entry["module"] for entry in real.metadata]
    split_of = {}
    for name, found in real.judgements.items():
        for document in np.unique(found.document):
            assert split_of.setdefault(modules[document], name) == name, "a module straddles splits"
    sizes = [len(found.queries) for found in real.judgements.values()]
    assert sizes[0] > 5 * min(sizes[1:]) > 0
    for other in ("dev", "test"):
        shared = shared_between(real, "train", other, Tokenizer.train(["a"], {}))
        assert shared == {"query_ids": 0, "pairs": 0, "query_texts": 0, "documents": 0}


def test_no_near_copy_crosses_splits(real):
    groups = near_duplicate_groups(real.texts)
    modules = [entry["module"] for entry in real.metadata]
    shares = {"train": 0.8, "dev": 0.1, "test": 0.1}
    splits = [docstrings.split_of(module, shares, 0) for module in modules]
    home = {}
    for group, split in zip(groups.tolist(), splits, strict=True):
        assert home.setdefault(group, split) == split


def test_reading_again_gives_the_same(real, tmp_path, monkeypatch):
    assert docstrings.load(packages=["stdlib", "rich"]).fingerprint == real.fingerprint
    assert docstrings.load(packages=["stdlib", "rich"], split_seed=1).fingerprint != real.fingerprint
    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path))
    assert docstrings.load(packages=["stdlib", "rich"]).fingerprint == real.fingerprint


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"packages": []}, "must be a list"),
        ({"packages": "stdlib"}, "must be a list"),
        ({"packages": ["rich", "rich"]}, "more than once"),
        ({"packages": ["rihc"]}, "Did you mean 'rich'"),
        ({"packages": ["rich"], "splits": {"train": 0.5, "dev": 0.4}}, "sum to 1"),
        ({"packages": ["rich"], "near_duplicate": 0.5}, "near_duplicate=0.5"),
        ({"packages": ["rich"], "min_words": 10**6}, "hold no docstring"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(UserError, match=message):
        docstrings.load(**settings)
