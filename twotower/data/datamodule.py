"""The Lightning DataModule: a collection and its token ids, training batches out of it, queries to evaluate."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pytorch_lightning as pl

from twotower.core.errors import UserError, nearest
from twotower.data import negatives
from twotower.data.batches import Negatives, TrainLoader
from twotower.data.collection import Collection
from twotower.data.held_out import held_out_queries
from twotower.text.tokenizer import Tokenizer
from twotower.text.tokens import Tokens

SETTINGS: dict[str, Any] = {
    "train_split": "train",
    "eval_split": "dev",
    "batch_size": 256,
    "num_workers": 0,
    "max_query_length": 32,
    "max_document_length": 256,
    "bucket_by_length": "auto",
    "negatives": {"kind": "in_batch", "count": 0},
    "held_out": 0,
    "allow_leak": False,
    "missing": "error",
    "path": None,
    "source": None,
}
"""The keys of `conf/data` and what stands in for one that is missing."""


class RetrievalData(pl.LightningDataModule):
    """What training and evaluation read.

    Args:
        collection: documents, queries and judgements.
        tokenizer: turns their texts into ids.
        config: the `data` part of the config, plain data.
        seed: of the order of training and the choice of queries to evaluate.
        pads_batches: whether a tower pads its batches, so that `bucket_by_length: auto` puts like lengths together.

    Raises:
        UserError: for a split that does not exist or is empty, or a setting out of range.
    """

    def __init__(
        self,
        *,
        collection: Collection,
        tokenizer: Tokenizer,
        config: dict[str, Any],
        seed: int = 0,
        pads_batches: bool = False,
    ) -> None:
        super().__init__()
        self.collection, self.tokenizer, self.seed = collection, tokenizer, seed
        self.config = check_config(config)
        chosen = self.config["bucket_by_length"]
        self.bucket_by_length = pads_batches if chosen == "auto" else chosen
        collection.split(self.config["train_split"])
        collection.split(self.config["eval_split"])

    @cached_property
    def query_tokens(self) -> Tokens:
        """Ids of all queries, cut to max_query_length."""
        return self.tokenizer.encode_cached(self.collection.query_texts, self.config["max_query_length"])

    @cached_property
    def document_tokens(self) -> Tokens:
        """Ids of all documents (title and text), cut to max_document_length."""
        return self.tokenizer.encode_cached(self.collection.document_texts(), self.config["max_document_length"])

    @cached_property
    def searched_tokens(self) -> Tokens:
        """Ids of what the exported index holds; `document_tokens` where people search the text that is trained on."""
        if self.collection.indexed_texts is None:
            return self.document_tokens
        return self.tokenizer.encode_cached(self.collection.searched_texts(), self.config["max_document_length"])

    @cached_property
    def held_out(self) -> np.ndarray:
        """Rows of training queries that are not trained on; the hybrid's weight is fitted on them, int32."""
        judgements = self.collection.split(self.config["train_split"])
        return held_out_queries(judgements, self.config["held_out"], seed=self.seed)

    @cached_property
    def negatives(self) -> Negatives | None:
        """What draws explicit negatives, if any."""
        return negatives.build(self.config["negatives"], self.collection, self.config["train_split"])

    def train_dataloader(self) -> TrainLoader:
        """Returns the batches of an epoch; under several processes, this one's share of them."""
        trainer = self.trainer
        return TrainLoader(
            collection=self.collection,
            split=self.config["train_split"],
            query_tokens=self.query_tokens,
            document_tokens=self.document_tokens,
            batch_size=self.config["batch_size"],
            seed=self.seed,
            negatives=self.negatives,
            bucket_by_length=self.bucket_by_length,
            without=self.held_out,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )

    def eval_queries(self, limit: int | None = None, split: str | None = None) -> np.ndarray:
        """Returns query rows to evaluate, ascending, int32: those of a split with a relevant document.

        Args:
            limit: at most this many, drawn by the seed; None or 0 for all.
            split: a split other than eval_split.
        """
        rows = self.collection.split(split or self.config["eval_split"]).queries
        if not limit or limit >= len(rows):
            return rows
        return np.sort(np.random.default_rng(self.seed).choice(rows, size=limit, replace=False))


def vocabulary_texts(collection: Collection, train_split: str) -> list[str]:
    """Returns the texts a vocabulary is counted from: all documents and the queries of the training split.

    Queries of other splits are left out, so that the out-of-vocabulary rate of the evaluation is an honest one.
    """
    rows = collection.split(train_split).queries
    return collection.document_texts() + [collection.query_texts[row] for row in rows]


def check_config(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the `data` settings with defaults filled in.

    Raises:
        UserError: for an unknown key or a value out of range.
    """
    for key in config:
        if key not in SETTINGS:
            raise UserError(f"data.{key} is not a setting; there are: {', '.join(SETTINGS)}.{nearest(key, SETTINGS)}")
    full = {**SETTINGS, **config}
    for key, lowest in (("batch_size", 2), ("max_query_length", 1), ("max_document_length", 1), ("held_out", 0)):
        value = full[key]
        if value is None and key.startswith("max_"):
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
            raise UserError(f"data.{key}={value} must be a whole number of at least {lowest}.")
    if full["num_workers"] not in (0, None):
        raise UserError(
            f"data.num_workers={full['num_workers']}: there are no workers, since a batch is a few array operations "
            "that sending it between processes would only slow down; leave it out or give 0."
        )
    for key in ("bucket_by_length", "allow_leak"):
        if not (isinstance(full[key], bool) or (key == "bucket_by_length" and full[key] == "auto")):
            also = ", or auto" if key == "bucket_by_length" else ""
            raise UserError(f"data.{key}={full[key]} must be true or false{also}.")
    return full
