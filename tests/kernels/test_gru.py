from __future__ import annotations

import pytest
import torch
from torch import nn

from twotower.kernels.gru import gru_steps
from twotower.kernels.linear import dense

LENGTHS = [7, 1, 4, 7]


def torchs_own(network: nn.GRU, input_LBE: torch.Tensor, backwards: bool) -> torch.Tensor:
    """Runs each text alone, without any padding, and lays its states into a padded tensor."""
    states = torch.zeros(*input_LBE.shape[:2], network.hidden_size, dtype=input_LBE.dtype)
    for text, length in enumerate(LENGTHS):
        own = input_LBE[:length, text : text + 1]
        if backwards:
            states[:length, text] = network(own.flip(0))[0].flip(0)[:, 0]
        else:
            states[:length, text] = network(own)[0][:, 0]
    return states


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
@pytest.mark.parametrize("backwards", [False, True])
def test_states_and_gradients_equal_torchs_own_network_on_each_text_alone(
    dtype: torch.dtype, atol: float, backwards: bool
) -> None:
    torch.manual_seed(0)
    network = nn.GRU(5, 6).to(dtype)
    input_LBE = torch.randn(max(LENGTHS), len(LENGTHS), 5, dtype=dtype, requires_grad=True)
    inside_LB1 = (torch.arange(max(LENGTHS))[:, None] < torch.tensor(LENGTHS))[..., None]
    grad_LBH = torch.randn(*input_LBE.shape[:2], 6, dtype=dtype) * inside_LB1

    gates_LBG = dense(input_LBE.flatten(0, 1), network.weight_ih_l0, network.bias_ih_l0).view(*input_LBE.shape[:2], -1)
    outside_LB = ~inside_LB1[..., 0] if backwards else None
    states = gru_steps(gates_LBG, network.weight_hh_l0, network.bias_hh_l0, outside_LB)
    expected = torchs_own(network, input_LBE, backwards)
    torch.testing.assert_close(states * inside_LB1, expected, atol=atol, rtol=0)

    variables = [input_LBE, *network.parameters()]
    for actual, wanted in zip(
        torch.autograd.grad(states, variables, grad_LBH),
        torch.autograd.grad(expected, variables, grad_LBH),
        strict=True,
    ):
        torch.testing.assert_close(actual, wanted, atol=10 * atol, rtol=0)


def test_bfloat16_stays_near_float32_over_many_steps() -> None:
    torch.manual_seed(0)
    network = nn.GRU(16, 32)
    input_LBE = torch.randn(100, 8, 16)
    found = {}
    for low in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            gates_LBG = dense(input_LBE.flatten(0, 1), network.weight_ih_l0, network.bias_ih_l0).view(100, 8, -1)
            states = gru_steps(gates_LBG, network.weight_hh_l0, network.bias_hh_l0)
        (grad,) = torch.autograd.grad(states.float().square().sum(), [network.weight_hh_l0])
        found[low] = (states.float(), grad)
    for full, half in zip(found[False], found[True], strict=True):
        assert (full - half).norm() < 0.02 * full.norm()
