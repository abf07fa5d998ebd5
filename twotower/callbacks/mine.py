"""Hard negatives that the model itself finds: what it ranks high without being right, renewed while it learns.

Source: Xiong et al., Approximate Nearest Neighbor Negative Contrastive Learning (ANCE, 2021), here by exact search. The
guards are the usual ones against right answers that nobody judged: the first ranks, what comes too near to the positive
(de Souza et al., NV-Retriever, 2024), and copies of it.

Shapes: Q training queries, P positive pairs, K ranks, D dimension.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np
import pytorch_lightning as pl

from twotower.callbacks.base import RunCallback
from twotower.core.errors import UserError
from twotower.core.files import atomic_path
from twotower.core.reading import read_array
from twotower.data.negatives import MinedNegatives
from twotower.data.settings import NegativeSettings
from twotower.evaluation.ranking import rank_full
from twotower.model.encoder import encoder_of
from twotower.model.encoding import encode

logger = logging.getLogger(__name__)

BLOCK = 1 << 22
"""Numbers of the vectors compared with positives at a time."""


class MineNegatives(RunCallback):
    """Finds hard negatives at the start of every `renew`-th epoch, for `data.negatives.kind=model`.

    What was found is kept beside the checkpoints, so that a run that goes on draws from the very same.
    """

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Finds them, or reads what this run found before it was stopped."""
        data, settings = self.context.data, self.context.settings.data.negatives
        negatives = data.negatives
        if not isinstance(negatives, MinedNegatives):
            return
        epoch = trainer.current_epoch
        found_in = epoch - epoch % settings.renew
        going_on = trainer.ckpt_path is not None
        file = self._file(found_in, Path(str(trainer.ckpt_path)) if going_on else None)
        if found_in == epoch and not (going_on and file.is_file()):
            begun = time.perf_counter()
            query, document = self._mine(pl_module, settings)
            kept = negatives.take(query, document)
            if not kept:
                raise UserError(
                    "data.negatives.kind=model finds no negative that its guards let through; lower "
                    "data.negatives.skip and margin, or raise depth and near_copy."
                )
            if trainer.is_global_zero:
                file = self._file(epoch, None)
                file.parent.mkdir(parents=True, exist_ok=True)
                with atomic_path(file) as temporary, temporary.open("wb") as stream:
                    np.save(stream, np.stack([query, document]).astype(np.int32))
            logger.info(
                "Negatives of the model: %d, in %.1f s (epoch %d)", kept, time.perf_counter() - begun, epoch + 1
            )
        elif negatives.pool is None:
            if not file.is_file():
                raise UserError(f"ckpt_path={trainer.ckpt_path} needs {file}, the negatives that the run had found.")
            query, document = read_array(file, dtype="int32", shape=(2, None))
            negatives.take(query, document)

    def _file(self, epoch: int, checkpoint: Path | None) -> Path:
        """Returns where an epoch's negatives stand: in this run's folder, or beside the checkpoint it goes on from."""
        name = Path("negatives") / f"epoch_{epoch + 1}.npy"
        own = self.context.run_dir / "checkpoints" / name
        return own if checkpoint is None or own.is_file() else checkpoint.parent / name

    def _mine(self, pl_module: pl.LightningModule, settings: NegativeSettings) -> tuple[np.ndarray, np.ndarray]:
        data, encoder = self.context.data, encoder_of(pl_module)
        judged = data.collection.split(data.settings.train_split)
        rows_Q = judged.queries[~np.isin(judged.queries, data.held_out)]
        query_QD = encode(encoder, data.query_tokens, side="query", rows=rows_Q, shared=True)
        document_ND = encode(encoder, data.document_tokens, side="document", shared=True)
        ranking = rank_full(query_QD, document_ND, k=settings.skip + settings.depth)
        rows_QK, scores_QK = np.asarray(ranking.rows), np.asarray(ranking.scores)
        kept_QK = rows_QK >= 0
        kept_QK[:, : settings.skip] = False
        right = judged.positive & np.isin(judged.query, rows_Q)
        query_P = np.searchsorted(rows_Q, judged.query[right])
        positive_P = judged.document[right]
        if settings.margin is not None:
            worst_Q = np.full(len(rows_Q), np.inf, np.float32)
            np.minimum.at(worst_Q, query_P, np.einsum("pd,pd->p", query_QD[query_P], document_ND[positive_P]))
            kept_QK &= scores_QK <= worst_Q[:, None] - settings.margin
        step = max(1, BLOCK // (rows_QK.shape[1] * document_ND.shape[1]))
        for start in range(0, len(query_P), step):
            owner_B, positive_B = query_P[start : start + step], positive_P[start : start + step]
            near_BK = np.einsum("bkd,bd->bk", document_ND[rows_QK[owner_B]], document_ND[positive_B])
            np.logical_and.at(kept_QK, owner_B, near_BK < settings.near_copy)
        return np.broadcast_to(rows_Q[:, None], rows_QK.shape)[kept_QK], rows_QK[kept_QK]
