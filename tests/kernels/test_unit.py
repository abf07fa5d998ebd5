"""Unit rows against torch's own gradient of the plain formula."""

import torch

from twotower.kernels.unit import normalise


def test_value_and_gradient_are_those_of_the_plain_formula():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(6, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    plain = rows / rows.norm(dim=1, keepdim=True)
    (expected,) = torch.autograd.grad(plain, rows, upstream)
    (found,) = torch.autograd.grad(normalise(rows), rows, upstream)
    torch.testing.assert_close(normalise(rows), plain)
    torch.testing.assert_close(found, expected)


def test_a_row_of_zeros_points_everywhere_and_has_no_gradient():
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    unit = normalise(rows)
    (unit * torch.tensor([[1.0, 0.0], [1.0, 2.0]])).sum().backward()
    torch.testing.assert_close(unit[1], torch.full((2,), 2**-0.5))
    torch.testing.assert_close(rows.grad, torch.tensor([[0.128, -0.096], [0.0, 0.0]]))
