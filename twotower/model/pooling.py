"""From ragged token rows to padded ones, and from one vector per token to one per text; padding never counts.

Shapes: B batch, L longest row of the batch, T tokens of the batch, D dimension. Recurrent layers run time first, so
their tensors are `LB...`; padding is always at the end of a row.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from twotower.core.errors import UserError
from twotower.core.validators import check_choice, check_flag

POOLINGS = ("last", "mean", "max", "attention", "pad_step")
"""Ways to read a recurrent network's outputs; `pad_step` is a known mistake, kept to be measured."""


def check_pooling(pooling: str, allow_pad_step: bool) -> str:
    """Returns the name of a pooling; `pad_step` only where it is asked for twice.

    Raises:
        UserError: for another name.
    """
    allowed = [name for name in POOLINGS if name != "pad_step" or check_flag("model.allow_pad_step", allow_pad_step)]
    if pooling == "pad_step" and not allow_pad_step:
        raise UserError(
            "model.pooling=pad_step reads a padding step and makes a text's vector depend on its batch; "
            f"it exists to reproduce that mistake (model.allow_pad_step=true). Choose one of: {', '.join(allowed)}."
        )
    return check_choice("model.pooling", pooling, allowed)


def row_lengths(offsets_B1: Tensor) -> Tensor:
    """Returns the number of tokens of every row."""
    return offsets_B1[1:] - offsets_B1[:-1]


def first_words(ids_T: Tensor, offsets_B1: Tensor, count: int | None) -> tuple[Tensor, Tensor]:
    """Returns the first `count` words of every text, ids and offsets; all where it is None."""
    if count is None:
        return ids_T, offsets_B1
    lengths_B = row_lengths(offsets_B1)
    place_T = torch.arange(len(ids_T), device=ids_T.device)
    place_T = place_T - torch.repeat_interleave(offsets_B1[:-1], lengths_B, output_size=len(ids_T))
    cut_B1 = torch.cat([offsets_B1[:1], lengths_B.clamp_max(count).cumsum(0)])
    return ids_T[place_T < count], cut_B1


def pad_positions(offsets_B1: Tensor) -> tuple[Tensor, Tensor]:
    """Returns where each cell of the padded batch lies in the ragged one, and which cells are real.

    Args:
        offsets_B1: start of every row in the flat ids, and the end of the last.

    Returns:
        index_LB (0 in padded cells) and mask_LB. L is at least 1, so a batch of empty rows has a shape too.
    """
    lengths_B = row_lengths(offsets_B1)
    longest = max(1, int(lengths_B.max())) if len(lengths_B) else 1
    step_L1 = torch.arange(longest, device=offsets_B1.device)[:, None]
    mask_LB = step_L1 < lengths_B
    return (offsets_B1[:-1] + step_L1).masked_fill(~mask_LB, 0), mask_LB


def reverse_positions(mask_LB: Tensor) -> Tensor:
    """Returns the row in a flattened [L*B] tensor of each step when every text is reversed within its own length.

    Its own inverse; padded cells stay where they are.
    """
    steps, batch = mask_LB.shape
    lengths_B = mask_LB.sum(0)
    step_L1 = torch.arange(steps, device=mask_LB.device)[:, None]
    source_LB = torch.where(mask_LB, lengths_B - 1 - step_L1, step_L1)
    return source_LB * batch + torch.arange(batch, device=mask_LB.device)


def reverse(states_LBD: Tensor, positions_LB: Tensor) -> Tensor:
    """Reorders time steps by `reverse_positions`."""
    return states_LBD.flatten(0, 1).index_select(0, positions_LB.flatten()).view_as(states_LBD)


class Pooling(nn.Module):
    """Reads one vector per text from a recurrent network's outputs.

    * last: the forward state after the text's last token and the backward state after its first;
    * mean, max: over the text's own tokens;
    * attention: a learned score per token, softmax over the text's own tokens;
    * pad_step: the outputs at the last step of the padded batch. This reproduces a mistake often seen (`out[:, -1]` of
      an unpacked batch): for a text shorter than the longest in its batch it reads a padding step, so the vector
      depends on the neighbours. It exists for experiments that show what the mistake costs.

    Args:
        kind: one of `POOLINGS`.
        dim: size of an output, both directions together.
        bidirectional: whether the second half of an output is the backward direction's.
    """

    def __init__(self, *, kind: str, dim: int, bidirectional: bool) -> None:
        super().__init__()
        self.kind = kind
        self.forward_dim = dim // 2 if bidirectional else dim
        if kind == "attention":
            self.score = nn.Linear(dim, 1, bias=False)
            nn.init.zeros_(self.score.weight)  # starts as the mean

    def forward(self, states_LBD: Tensor, mask_LB: Tensor) -> Tensor:
        """Returns pooled_BD; a text without tokens gives zeros (except for `pad_step`)."""
        mask_LB1 = mask_LB[..., None]
        if self.kind == "pad_step":
            return states_LBD[-1]
        if self.kind == "last":
            pooled_BD = self._last(states_LBD, mask_LB)
        elif self.kind == "max":
            pooled_BD = states_LBD.masked_fill(~mask_LB1, -torch.inf).amax(0)
        elif self.kind == "mean":
            return (states_LBD * mask_LB1).sum(0) / mask_LB.sum(0).clamp_min(1)[:, None]
        else:
            score_LB1 = self.score(states_LBD).masked_fill(~mask_LB1, -1e9)
            pooled_BD = (torch.softmax(score_LB1, 0) * states_LBD).sum(0)
        return torch.where(mask_LB[0][:, None], pooled_BD, 0.0)

    def _last(self, states_LBD: Tensor, mask_LB: Tensor) -> Tensor:
        ends_B = (mask_LB.sum(0) - 1).clamp_min(0)
        end_BD = states_LBD[ends_B, torch.arange(states_LBD.shape[1], device=states_LBD.device)]
        return torch.cat([end_BD[:, : self.forward_dim], states_LBD[0, :, self.forward_dim :]], -1)
