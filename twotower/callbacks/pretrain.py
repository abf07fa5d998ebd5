"""Trains on the corpus before the first pair, and measures what that alone brought."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch import Tensor

from twotower.callbacks.base import RunCallback
from twotower.callbacks.evaluate import Evaluate
from twotower.core.errors import UserError
from twotower.core.progress import bar
from twotower.kernels.distributed import broadcast_weights
from twotower.model.encoder import diverged, encoder_of
from twotower.pretrain.reuse import key_of, train_or_reuse
from twotower.text.tokens import Tokens

logger = logging.getLogger(__name__)


class Pretrain(RunCallback):
    """Runs the method of the `pretrain` group once, between the evaluation of the untrained model and the first epoch.

    A run that goes on from a checkpoint has it behind itself. The record's `pretrain` holds what the method tells, and
    the metrics of the model as it was then.

    Args:
        method: has `run(encoder, documents, *, size, seed, groups, progress)`, which trains in place and returns plain
            data; where it has `beside(...)` and a `mix` above 0, that many times its loss is added to each step; where
            `decided_by()` says which settings decide the weights, those an earlier run learnt are taken over.
    """

    def __init__(self, *, method: Any) -> None:
        self.method = method

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Pre-trains, measures and records."""
        self._add_beside(trainer, pl_module)
        if trainer.ckpt_path is not None:
            return
        facts = self._train(trainer, pl_module)
        broadcast_weights(pl_module)
        evaluate = next((item for item in trainer.callbacks if isinstance(item, Evaluate)), None)  # type: ignore[attr-defined]
        metrics = evaluate.measure(pl_module) if evaluate else {}
        flat = {f"{protocol}/{name}": value for protocol, part in metrics.items() for name, value in part.items()}
        self.context.record.update(pretrain={**facts, "metrics": flat})
        numbers = {key: value for key, value in facts.items() if isinstance(value, (int, float)) and key != "reused"}
        line = ", ".join(f"{key} {value:.4g}" for key, value in numbers.items())
        line += "; reused from an earlier run with all of this alike" if facts["reused"] else ""
        objective = flat.get(self.context.objective)
        shown = "" if objective is None else f"; {self.context.objective} {objective:.4f}"
        logger.info("Pre-training on the corpus: %s%s", line, shown)
        for log in trainer.loggers:
            named = {f"pretrain_{key}": float(value) for key, value in numbers.items()}
            log.log_metrics({**named, **{f"pretrain_eval_{key}": value for key, value in flat.items()}}, step=0)

    def _train(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """Trains, or takes over what an earlier run learnt from the same; returns what the method told."""
        encoder: Any = encoder_of(pl_module)
        documents, options = self._documents(), self._options()

        def train() -> dict[str, Any]:
            with bar("Pre-training", shown=trainer.is_global_zero) as progress:
                facts: dict[str, Any] = self.method.run(encoder, documents, **options, progress=progress)
            if fault := diverged(pl_module):
                raise UserError(f"Pre-training: {fault}. Try a smaller pretrain.lr.")
            return facts

        key = key_of(self.method, encoder, documents, model=self.context.config["model"], **options)
        return train_or_reuse(encoder, key, train)

    def _documents(self) -> Tokens:
        data = self.context.data
        if len(data.corpus_rows) == len(data.document_tokens):
            return data.document_tokens
        batch = data.document_tokens.take(data.corpus_rows)
        return Tokens(ids_T=batch.ids_T.numpy().astype(np.int32), offsets=batch.offsets_B1.numpy())

    def _options(self) -> dict[str, Any]:
        data = self.context.data
        return {
            "size": data.tokenizer.size,
            "seed": self.context.settings.seed,
            "groups": data.collection.text_group[data.corpus_rows],
        }

    def _add_beside(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Adds the method's own loss to every step of the training on pairs, where it asks for that."""
        mix = float(getattr(self.method, "mix", 0.0) or 0.0)
        if not mix:
            return
        if not hasattr(pl_module, "auxiliary"):
            logger.warning("pretrain.mix=%s has no effect: %s takes no second loss.", mix, type(pl_module).__name__)
            return
        batches = self.method.beside(self._documents(), **self._options())

        def auxiliary(batch_index: int) -> Tensor:
            loss: Tensor = batches(encoder_of(pl_module), trainer.current_epoch, batch_index)
            return mix * loss

        setattr(pl_module, "auxiliary", auxiliary)  # noqa: B010  (any module may have it, Lightning's own type does not)
