import pytest

from twotower.core.nested import at, changed, dotted_keys, flat, leaves

CONFIG = {"model": {"dim": 3, "towers": ["a", {"b": 1}]}, "empty": {}, "seed": 0}


def test_leaves_tell_their_way_through_lists_too():
    assert list(leaves(CONFIG)) == [
        (("model", "dim"), 3),
        (("model", "towers", "0"), "a"),
        (("model", "towers", "1", "b"), 1),
        (("seed",), 0),
    ]


def test_flat_keeps_lists_and_empty_groups_whole():
    assert flat(CONFIG) == {"model.dim": 3, "model.towers": ["a", {"b": 1}], "empty": {}, "seed": 0}


def test_dotted_keys_name_groups_too():
    assert list(dotted_keys(CONFIG)) == ["model", "model.dim", "model.towers", "empty", "seed"]


def test_changed_changes_a_copy():
    doubled = changed({1: (1, 2), "b": {"c": 3}}, lambda leaf: leaf * 2)
    assert doubled == {"1": [2, 4], "b": {"c": 6}}


@pytest.mark.parametrize(
    ("key", "value"), [("model.dim", 3), ("model.dim.deeper", None), ("other.dim", None), ("seed", 0), ("", CONFIG)]
)
def test_at(key, value):
    assert at(CONFIG, key) == value
