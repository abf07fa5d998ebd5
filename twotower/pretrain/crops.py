"""Pre-training on the corpus alone: each document is told from the others of its batch by a few of its own words.

What a word stands for is learnt from the documents it occurs in, so that a collection with few queries, or none, has
something to start from. Sources: Lee et al., Latent Retrieval (2019), the inverse cloze task; Izacard et al.,
Unsupervised Dense Information Retrieval with Contrastive Learning (2021), random crops.

Shapes: B documents of a batch, D dimension, V vocabulary.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from twotower.core.errors import UserError
from twotower.core.validators import check_count, check_number
from twotower.kernels.linear import dense
from twotower.loss.contrastive import contrastive_loss
from twotower.optimizer.build import parameter_groups
from twotower.optimizer.sparse_adam import SparseAdam
from twotower.pretrain.pseudo import draw_queries
from twotower.text.tokens import Tokens, bm25_idf, document_frequency

logger = logging.getLogger(__name__)

WARMUP = 0.05
"""Share of all steps in which the learning rate rises."""


class Crops:
    """Contrastive training on pseudo-queries (see `draw_queries`) with in-batch negatives.

    Args:
        epochs: passes over the documents.
        max_steps: batches at most; None for no limit.
        batch_size: documents in a batch.
        min_words: the fewest words of a pseudo-query.
        max_words: the most.
        lr: learning rate of Adam, whose steps reach the words of their batch alone; rises for a moment, then falls
            along half a cosine.
        word_weights: the word weights' rate is so many times `lr`.
        temperature: similarities are divided by it.
        mix: while pairs are trained on, each of their steps gets so many times the loss of one more batch of
            pseudo-queries: what the corpus taught is not forgotten over few pairs. 0 for none.
        mix_batch_size: documents of that one more batch; None for `batch_size`.

    Raises:
        UserError: for a value out of range.
    """

    def __init__(
        self,
        *,
        epochs: int = 20,
        max_steps: int | None = 2000,
        batch_size: int = 1024,
        min_words: int = 3,
        max_words: int = 8,
        lr: float = 5e-3,
        word_weights: float = 5.0,
        temperature: float = 0.05,
        mix: float = 0.0,
        mix_batch_size: int | None = None,
    ) -> None:
        self.epochs = check_count("pretrain.epochs", epochs)
        self.max_steps = None if max_steps is None else check_count("pretrain.max_steps", max_steps)
        self.batch_size = check_count("pretrain.batch_size", batch_size, at_least=2)
        self.min_words = check_count("pretrain.min_words", min_words)
        self.max_words = check_count("pretrain.max_words", max_words)
        self.lr = check_number("pretrain.lr", lr, above=0)
        self.word_weights = check_number("pretrain.word_weights", word_weights, above=0)
        self.temperature = check_number("pretrain.temperature", temperature, above=0)
        self.mix = check_number("pretrain.mix", mix, at_least=0)
        wanted = batch_size if mix_batch_size is None else mix_batch_size
        self.mix_batch_size = check_count("pretrain.mix_batch_size", wanted, at_least=2)
        if max_words < min_words:
            raise UserError(f"pretrain.max_words={max_words} is below pretrain.min_words={min_words}.")

    def decided_by(self) -> dict[str, Any]:
        """Returns the settings that decide the weights `run` ends with."""
        return {name: value for name, value in vars(self).items() if not name.startswith("mix")}

    def steps(self, documents: int) -> int:
        """Returns how many batches a corpus of so many documents is trained on."""
        every = self.epochs * max(1, len(self._starts(documents)))
        return every if self.max_steps is None else min(every, self.max_steps)

    def run(
        self,
        encoder: Any,
        documents: Tokens,
        *,
        size: int,
        seed: int,
        groups: np.ndarray | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> dict[str, Any]:
        """Trains an encoder in place.

        Args:
            encoder: has `encode_queries` and `encode_documents`; `pool_queries` and `pool_documents`, where it has
                them, are trained instead: they leave hidden and recurrent layers alone.
            documents: the corpus.
            size: number of words V.
            seed: of the order and the words drawn.
            groups: int [N], the same number for documents of the same text, which are no negatives of each other.
            progress: called with the share that is done, 0 to 1.

        Returns:
            Plain data for the record: steps, epochs, pairs, seconds, and loss and accuracy of the last tenth.
        """
        if len(documents) < 2:
            logger.warning("No pre-training: there is nothing to tell %d documents from.", len(documents))
            return {"steps": 0, "epochs": 0.0, "pairs": 0, "seconds": 0.0, "loss": None, "accuracy": None}
        started, total = time.perf_counter(), self.steps(len(documents))
        drawing = Drawing(self, documents, size=size, groups=groups)
        optimizer, rates = self._optimizer(encoder)
        losses, hits, pairs, training = [], [], 0, encoder.training
        encoder.train()
        with torch.random.fork_rng(devices=[]), row_gradients(encoder):
            torch.manual_seed(seed)
            for step, (rows_B, generator) in enumerate(self._batches(len(documents), total, seed)):
                loss, hit = drawing.loss(encoder, rows_B, generator)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * schedule(step, total)
                optimizer.step()
                losses.append(float(loss.detach()))
                hits.append(float(hit))
                pairs += len(rows_B)
                if progress is not None:
                    progress((step + 1) / total)
        encoder.train(training)
        last = max(1, total // 10)
        return {
            "steps": total,
            "epochs": round(pairs / len(documents), 2),
            "pairs": pairs,
            "seconds": round(time.perf_counter() - started, 3),
            "loss": float(np.mean(losses[-last:])),
            "accuracy": float(np.mean(hits[-last:])),
        }

    def beside(
        self, documents: Tokens, *, size: int, seed: int, groups: np.ndarray | None = None
    ) -> Callable[[Any, int, int], Tensor]:
        """Returns what gives the loss of a batch of pseudo-queries, by encoder, epoch and step in the epoch.

        The batch depends on seed, epoch and step alone, so that a resumed run draws the same.
        """
        drawing, count = Drawing(self, documents, size=size, groups=groups), min(self.mix_batch_size, len(documents))

        def loss(encoder: Any, epoch: int, step: int) -> Tensor:
            generator = np.random.default_rng([seed, 1, epoch, step])
            return drawing.loss(encoder, generator.choice(len(documents), count, replace=False), generator)[0]

        return loss

    def _optimizer(self, encoder: nn.Module) -> tuple[SparseAdam, list[float]]:
        groups = parameter_groups(encoder, lr=self.lr, word_weights=self.word_weights)
        rates = [group["lr"] for group in groups]
        return SparseAdam(groups, lr=self.lr), rates

    def _starts(self, documents: int) -> range:
        return range(0, documents - 1, self.batch_size)  # a last document alone has nothing to be told from

    def _batches(self, documents: int, total: int, seed: int) -> Iterator[tuple[np.ndarray, np.random.Generator]]:
        done = epoch = 0
        while done < total:
            generator = np.random.default_rng([seed, epoch])
            order = generator.permutation(documents)
            for start in self._starts(documents):
                if done == total:
                    return
                yield order[start : start + self.batch_size], generator
                done += 1
            epoch += 1


class Drawing:
    """Pseudo-queries for batches of documents, and the loss of picking each one's document.

    Args:
        settings: how many words, and the temperature.
        documents: the corpus.
        size: number of words V.
        groups: int [N], documents of the same text by number; None: none are.
    """

    def __init__(self, settings: Crops, documents: Tokens, *, size: int, groups: np.ndarray | None) -> None:
        self.settings, self.documents, self.groups = settings, documents, groups
        weight_V = bm25_idf(document_frequency(documents, size), len(documents))
        self.log_weight_V = np.log(weight_V.clip(1e-3))

    def loss(self, encoder: Any, rows_B: np.ndarray, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Returns the contrastive loss of these documents, and the share of pseudo-queries that picked their own."""
        device, batch = next(encoder.parameters()).device, self.documents.take(rows_B)
        words = {"min_words": self.settings.min_words, "max_words": self.settings.max_words}
        queries = draw_queries(batch, self.log_weight_V, generator, **words)
        query_BD = getattr(encoder, "pool_queries", encoder.encode_queries)(queries.to(device))
        document_BD = getattr(encoder, "pool_documents", encoder.encode_documents)(batch.to(device))
        logits_BB = dense(query_BD / self.settings.temperature, document_BD)
        loss, hits_B = contrastive_loss(logits_BB, self._same(rows_B).to(device), "query_to_document")
        return loss, hits_B.float().mean()

    def _same(self, rows_B: np.ndarray) -> Tensor:
        """Returns which documents of a batch, other than itself, say the same as each."""
        if self.groups is None:
            return torch.zeros((len(rows_B), len(rows_B)), dtype=torch.bool)
        group_B = torch.from_numpy(np.asarray(self.groups)[rows_B])
        return (group_B[:, None] == group_B).fill_diagonal_(False)


@contextmanager
def row_gradients(encoder: Any) -> Iterator[None]:
    """Lets the word vectors of an encoder give gradients of the batch's words alone inside."""
    table = getattr(encoder, "embedding", None)
    if not isinstance(table, nn.Embedding):
        yield
        return
    before, table.sparse = table.sparse, True
    try:
        yield
    finally:
        table.sparse = before


def schedule(step: int, total: int) -> float:
    """Returns the share of the learning rate at a step: a short rise, then half a cosine down to nothing."""
    rise = min(1.0, (step + 1) / max(1.0, WARMUP * total))
    return rise * 0.5 * (1 + math.cos(math.pi * step / total))
