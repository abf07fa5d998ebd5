"""Lightning's own checkpointing, set up so that a killed run resumes and the best epoch is kept."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from twotower.core.errors import UserError
from twotower.core.files import write_bytes, write_link
from twotower.core.timer import Stopwatch
from twotower.model.encoder import diverged


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes Lightning's checkpoints whole or not at all: a kill or a full disk leaves the one before."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Serialises in memory first: torch tells of a full disk as a RuntimeError about its own file format."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_bytes(path, buffer.getbuffer())


class Checkpoint(ModelCheckpoint):
    """Keeps `checkpoints/best.ckpt` (by the monitored metric) and `checkpoints/last.ckpt` after every epoch.

    The random state goes into the checkpoint too, so that a resumed run draws the same dropout masks as one that was
    never stopped.

    Args:
        monitor: the logged metric that says which epoch is best; larger is better.

    Attributes:
        watch: the time that writing has taken so far.
    """

    def __init__(self, *, monitor: str) -> None:
        super().__init__(
            filename="best",
            monitor=monitor,
            mode="max",
            save_top_k=1,
            save_last=True,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
            auto_insert_metric_name=False,
        )
        self._random_state: torch.Tensor | None = None
        self._written: str | None = None
        self.watch = Stopwatch()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over which file is best, where it lies in this run's folder: a former best is removed for a better one.

        A checkpoint from elsewhere may name any file.
        """
        folder = Path(str(self.dirpath)).resolve()
        named = [
            state_dict.get("best_model_path"),
            state_dict.get("last_model_path"),
            state_dict.get("kth_best_model_path"),
        ]
        kept = state_dict.get("best_k_models") or {}
        if any(not isinstance(score, torch.Tensor) or score.dim() for score in kept.values()):
            raise UserError("The training state's best_k_models hold no scores; it is damaged.")
        named += list(kept)
        if all(not path or Path(str(path)).resolve().parent == folder for path in named):
            super().load_state_dict(state_dict)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Points the checkpoints at the run folder."""
        self.dirpath = str(Path(trainer.default_root_dir) / "checkpoints")
        super().setup(trainer, pl_module, stage)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves every epoch as the last, and as the best where it was evaluated and is.

        Lightning by itself writes last.ckpt only together with a new best, and warns of epochs without the metric.
        """
        if self._should_skip_saving_checkpoint(trainer) or diverged(pl_module):
            return  # what was kept of the epoch before is worth more than weights that are no numbers
        candidates = self._monitor_candidates(trainer)
        self._written = ""
        try:
            with self.watch:
                if self.monitor in candidates:
                    self._save_topk_checkpoint(trainer, candidates)
                self._save_last_checkpoint(trainer, candidates)
        finally:
            self._written = None

    def _save_checkpoint(self, trainer: pl.Trainer, filepath: str) -> None:
        """Writes an epoch once: a new best is the last as well, under a second name."""
        if self._written and filepath != self._written:
            if trainer.is_global_zero:
                write_link(self._written, filepath)
            return
        super()._save_checkpoint(trainer, filepath)
        if self._written is not None:
            self._written = filepath

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the random state."""
        checkpoint["random_state"] = torch.get_rng_state()
        if torch.cuda.is_available():
            checkpoint["cuda_random_state"] = torch.cuda.get_rng_state_all()

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Remembers the random state until the first resumed epoch starts."""
        self._random_state = checkpoint.get("random_state")
        if torch.cuda.is_available() and "cuda_random_state" in checkpoint:
            torch.cuda.set_rng_state_all(checkpoint["cuda_random_state"])

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Puts the remembered random state back."""
        if self._random_state is not None:
            torch.set_rng_state(self._random_state.cpu())
            self._random_state = None
