"""Logs how large the weights are, so that a run can be stopped by it or judged afterwards."""

from __future__ import annotations

import pytorch_lightning as pl
import torch


class WeightNorm(pl.Callback):
    """Logs `weight_norm` after every epoch.

    Args:
        skip: parameters whose names hold one of these are left out.
    """

    def __init__(self, *, skip: tuple[str, ...] | list[str] = ()) -> None:
        self.skip = tuple(skip)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs the length of all weights taken as one vector."""
        named = pl_module.named_parameters()
        wanted = [item.detach() for name, item in named if not any(part in name for part in self.skip)]
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(item.float()) for item in wanted]))
        pl_module.log("weight_norm", norm, rank_zero_only=True)
