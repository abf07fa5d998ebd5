from twotower.data.collection import bare
from twotower.data.splits import divide


def test_keys_that_say_the_same_stay_on_one_side():
    keys = [f"{text} {number}{mark}" for number in range(60) for text, mark in (("Café", "?"), ("café", ""))]
    sides = divide(keys, {"train": 0.5, "dev": 0.5}, 0, same=bare)
    assert set(sides.values()) == {"train", "dev"}
    assert all(sides[f"Café {number}?"] == sides[f"café {number}"] for number in range(60))
    distinct = [f"key {number}" for number in range(60)]
    assert divide(distinct, {"train": 0.5, "dev": 0.5}, 0, same=bare) == divide(distinct, {"train": 0.5, "dev": 0.5}, 0)
