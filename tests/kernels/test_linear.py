from __future__ import annotations

import torch
from torch import nn

from twotower.kernels.linear import dense


def test_dense_equals_torchs_linear_layer() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(24, 40)
    input_NI = torch.randn(33, 24, requires_grad=True)
    variables = [input_NI, *layer.parameters()]
    grad_NO = torch.randn(33, 40)
    ours, torchs = dense(input_NI, layer.weight, layer.bias), layer(input_NI)
    torch.testing.assert_close(ours, torchs, atol=1e-5, rtol=1e-5)
    for actual, wanted in zip(
        torch.autograd.grad(ours, variables, grad_NO), torch.autograd.grad(torchs, variables, grad_NO), strict=True
    ):
        torch.testing.assert_close(actual, wanted, atol=1e-4, rtol=1e-5)
