"""The LightningModule that trains two towers with a loss and an optimizer that it is given.

Shapes: B batch, N documents of a batch (B positives, then explicit negatives), D dimension.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from twotower.kernels.distributed import gather_documents, gather_rows
from twotower.loss.output import as_output
from twotower.model.gradcache import encode_in_chunks
from twotower.model.two_tower import TwoTower
from twotower.optimizer.rows import ask
from twotower.optimizer.sparse_adam import coalesced


class TwoTowerModule(pl.LightningModule):
    """Trains a `TwoTower` on batches of queries and documents.

    Args:
        vocabulary_size: rows of the embedding table.
        embedding_dim: columns of the embedding table.
        loss: called with query_BD, document_ND and mask_BN; see `twotower.config.protocols.Loss`.
        optimizer: builds the optimizer for this module.
        scheduler: builds the schedule from (optimizer, steps of the whole run, steps of an epoch); None for none.
        sparse_gradients: gradients of the word vectors hold the batch's words only.
        freeze_embedding: leaves the word vectors as they are.
        cache_chunk: texts encoded at a time (gradient caching); None for the whole batch.
        **towers: the settings of `TwoTower`.
    """

    def __init__(
        self,
        *,
        vocabulary_size: int,
        embedding_dim: int,
        loss: Callable[[Tensor, Tensor, Tensor], Any],
        optimizer: Callable[[nn.Module], Optimizer],
        scheduler: Callable[[Optimizer, int, int], dict[str, Any] | None],
        sparse_gradients: bool = False,
        freeze_embedding: bool = False,
        cache_chunk: int | None = None,
        **towers: Any,
    ) -> None:
        super().__init__()
        self.model = TwoTower(
            vocabulary_size=vocabulary_size, embedding_dim=embedding_dim, sparse_gradients=sparse_gradients, **towers
        )
        if freeze_embedding:
            self.model.embedding.weight.requires_grad_(False)
        self.loss = loss
        self.cache_chunk = cache_chunk
        self.make_optimizer, self.make_scheduler = optimizer, scheduler
        self.epoch_sums: dict[str, Tensor] = {}
        self.steps_in_epoch = 0
        self.epoch_rate = 0.0
        self.last_loss: Tensor | None = None
        self.last_batch = (0, 0)
        self.auxiliary: Callable[[int], Tensor] | None = None
        """A second loss, added to that of every step; given the step's number in its epoch."""
        self.batch_scores: dict[str, Callable[[np.ndarray, np.ndarray], Tensor]] = {}
        """What the loss is given beside the vectors, by argument: scores [B, N] of (query rows, document rows)."""

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        """Returns the loss of one `TrainBatch`; sums are kept on the device and read once an epoch."""
        chunk = self.cache_chunk
        query_BD = encode_in_chunks(self.model.encode_queries, batch.query, chunk)
        document_ND = encode_in_chunks(self.model.encode_documents, batch.document, chunk)
        own = len(query_BD)
        query_BD, document_ND = gather_rows(query_BD), gather_documents(document_ND, own)
        scores = {name: give(batch.query_B, batch.document_N) for name, give in self.batch_scores.items()}
        value = self.loss(query_BD, document_ND, batch.mask_BN, **scores)
        output = as_output(value, query_BD, document_ND, batch.mask_BN)
        self.last_loss = output.loss.detach()
        self.last_batch = (query_BD.shape[0], document_ND.shape[0])
        for name, value in (("loss", self.last_loss), ("accuracy", output.accuracy.detach())):
            self.epoch_sums[name] = self.epoch_sums[name] + value if name in self.epoch_sums else value.clone()
        self.steps_in_epoch += 1
        return output.loss if self.auxiliary is None else output.loss + self.auxiliary(batch_index)

    def on_train_epoch_start(self) -> None:
        """Forgets the sums of the epoch before, and notes the learning rate this one starts with."""
        self.epoch_sums, self.steps_in_epoch = {}, 0
        self.epoch_rate = float(self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]

    def epoch_means(self) -> dict[str, float]:
        """Returns train_loss and train_accuracy of the epoch so far, and the learning_rate it started with."""
        steps = max(self.steps_in_epoch, 1)
        means = {f"train_{name}": float(value) / steps for name, value in self.epoch_sums.items()}
        means["learning_rate"] = self.epoch_rate
        return means

    def configure_optimizers(self) -> Any:
        """Builds the optimizer, with a group of its own for the embedding table, and the schedule."""
        optimizer = self.make_optimizer(self)
        if self.trainer.world_size == 1:  # processes add their gradients up as dense ones
            ask(self.model, optimizer)
        steps = self.trainer.estimated_stepping_batches
        if not math.isfinite(steps):
            return optimizer
        epochs = max(self.trainer.max_epochs or 1, 1)
        schedule = self.make_scheduler(optimizer, int(steps), max(int(steps) // epochs, 1))
        return optimizer if schedule is None else {"optimizer": optimizer, "lr_scheduler": schedule}

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clips the global norm; sparse gradients count by their coalesced rows, which torch's own clipping refuses."""
        if not gradient_clip_val:
            return
        grads = [
            parameter.grad
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        if not any(grad.is_sparse for grad in grads):
            if gradient_clip_algorithm == "value" or self.trainer.precision == "16-mixed":
                self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
            else:  # not Lightning's, which refuses fused optimizers for the sake of float16's scaler
                every = [item for group in optimizer.param_groups for item in group["params"]]
                torch.nn.utils.clip_grad_norm_(every, gradient_clip_val)
            return
        values = []
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    if parameter.grad.is_sparse:
                        parameter.grad = coalesced(parameter.grad)
                    values.append(parameter.grad._values() if parameter.grad.is_sparse else parameter.grad)
        if gradient_clip_algorithm == "value":
            for value in values:
                value.clamp_(-gradient_clip_val, gradient_clip_val)
            return
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(value) for value in values]))
        scale = torch.clamp(gradient_clip_val / (norm + 1e-6), max=1.0)
        if scale.device.type == "cpu" and scale == 1:  # a GPU would have to be waited for
            return
        for value in values:
            value.mul_(scale)
