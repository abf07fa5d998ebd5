from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower.kernels.unit import normalise
from twotower.model.pooling import pad_positions, reverse, reverse_positions
from twotower.text.tokens import TokenBatch


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.lists(st.integers(1, 9), max_size=7), min_size=1, max_size=5))
def test_padding_and_reversal_equal_lists(rows: list[list[int]]) -> None:
    batch = TokenBatch.from_rows(rows)
    index, mask = pad_positions(batch.offsets_B1)
    longest = max(1, *map(len, rows))
    ids = batch.ids_T[index].masked_fill(~mask, 0) if len(batch.ids_T) else index
    assert ids.T.tolist() == [row + [0] * (longest - len(row)) for row in rows]
    positions = reverse_positions(mask)
    turned = reverse(ids[..., None], positions)
    assert turned[..., 0].T.tolist() == [row[::-1] + [0] * (longest - len(row)) for row in rows]
    assert torch.equal(reverse(turned, positions)[..., 0], ids)


def test_normalise_has_no_zero_vector_and_no_nan_gradient() -> None:
    vectors = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1e-30, 0.0]], requires_grad=True)
    unit = normalise(vectors)
    torch.testing.assert_close(unit[0], torch.tensor([0.6, 0.8]))
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(3))
    unit.sum().backward()
    assert torch.isfinite(vectors.grad).all()
