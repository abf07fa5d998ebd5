from __future__ import annotations

import numpy as np
import torch

from twotower.evaluation.keys import NOTHING, id_order, pack, unpack


def test_ids_are_ordered_as_strings():
    assert id_order(["b", "a10", "a9", "B", "ä"]).tolist() == [3, 1, 2, 0, 4]


def test_keys_sort_by_score_then_id():
    rng = np.random.default_rng(0)
    scores = rng.choice(np.float32([-2.5, -1e-30, -0.0, 0.0, 1e-30, 0.5, 3e5]), 500)
    order = rng.permutation(500)
    expected = sorted(range(500), key=lambda at: (-scores[at], order[at]))
    keys = pack(torch.from_numpy(scores), torch.from_numpy(order))
    assert keys.argsort(descending=True).tolist() == expected


def test_unpack_gives_back_what_was_packed():
    scores, order = torch.tensor([-1.5, 0.0, 2.0, -torch.inf]), torch.tensor([2**32 - 1, 0, 7, 3])
    keys = pack(scores, order)
    assert keys[3] == NOTHING
    back, places = unpack(keys)
    assert back.tolist() == scores.tolist()
    assert places.tolist() == [2**32 - 1, 0, 7, -1]
