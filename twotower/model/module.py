"""The LightningModule that holds two towers, a loss and an optimizer, all built from the plain resolved config.

Shapes: B batch, N documents of a batch (B positives, then explicit negatives), D dimension.
"""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from twotower.config.instantiate import instantiate
from twotower.core.finite import broken_tensors
from twotower.core.secrets import masked
from twotower.kernels.distributed import gather_documents, gather_rows
from twotower.model.gradcache import encode_in_chunks
from twotower.model.two_tower import TwoTower
from twotower.optimizer.build import build_optimizer, parameter_groups
from twotower.optimizer.sparse_adam import coalesced
from twotower.scheduler.build import build_scheduler


class TwoTowerModule(pl.LightningModule):
    """Trains a `TwoTower` on batches of queries and documents.

    Args:
        config: the full resolved config of the run, plain data; `model`, `embedding`, `loss`, `optimizer`,
            `scheduler` are read here. It is kept in every Lightning checkpoint, without its secrets.
        vocabulary_size: rows of the embedding table.
        embedding_dim: columns of the embedding table.
    """

    def __init__(self, *, config: dict[str, Any], vocabulary_size: int, embedding_dim: int) -> None:
        super().__init__()
        self.save_hyperparameters(
            {"config": masked(config), "vocabulary_size": vocabulary_size, "embedding_dim": embedding_dim}, logger=False
        )
        self.config = config
        self.model = TwoTower(
            vocabulary_size=vocabulary_size,
            embedding_dim=embedding_dim,
            sparse_gradients=bool(config["optimizer"].get("sparse", False)),
            **config["model"],
        )
        if config["embedding"]["freeze"]:
            self.model.embedding.weight.requires_grad_(False)
        self.loss = instantiate(config["loss"])
        self.epoch_sums: dict[str, Tensor] = {}
        self.steps_in_epoch = 0
        self.epoch_rate = 0.0
        self.last_loss: Tensor | None = None
        self.last_batch = (0, 0)

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        """Returns the loss of one `TrainBatch`; sums are kept on the device and read once an epoch."""
        chunk = self.config["trainer"].get("cache_chunk")
        query_BD = encode_in_chunks(self.model.encode_queries, batch.query, chunk)
        document_ND = encode_in_chunks(self.model.encode_documents, batch.document, chunk)
        own = len(query_BD)
        query_BD, document_ND = gather_rows(query_BD), gather_documents(document_ND, own)
        output = self.loss(query_BD, document_ND, batch.mask_BN)
        self.last_loss = output.loss.detach()
        self.last_batch = (query_BD.shape[0], document_ND.shape[0])
        for name, value in (("loss", self.last_loss), ("accuracy", output.accuracy.detach())):
            self.epoch_sums[name] = self.epoch_sums[name] + value if name in self.epoch_sums else value.clone()
        self.steps_in_epoch += 1
        return output.loss

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

    def diverged(self) -> str | None:
        """Says which weights are no numbers any more, or None; such weights are neither evaluated nor kept."""
        broken = broken_tensors(dict(self.model.named_parameters()))
        return f"weights became NaN or infinite in training: {', '.join(broken[:3])}" if broken else None

    def configure_optimizers(self) -> Any:
        """Builds the optimizer, with a group of its own for the embedding table, and the schedule."""
        groups = parameter_groups(
            self, lr=self.config["optimizer"]["lr"], embedding_lr=self.config["embedding"].get("learning_rate")
        )
        optimizer = build_optimizer(self.config["optimizer"], groups)
        steps = self.trainer.estimated_stepping_batches
        if not math.isfinite(steps):
            return optimizer
        epochs = max(self.trainer.max_epochs or 1, 1)
        schedule = build_scheduler(
            self.config["scheduler"],
            optimizer,
            total_steps=int(steps),
            steps_per_epoch=max(int(steps) // epochs, 1),
            monitor=f"eval_{self.config['evaluation']['objective']}",
        )
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
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(value) for value in values]))
        scale = torch.clamp(gradient_clip_val / (norm + 1e-6), max=1.0)
        if scale.device.type == "cpu" and scale == 1:  # a GPU would have to be waited for
            return
        for value in values:
            value.mul_(scale)
