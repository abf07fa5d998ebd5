"""The Lightning DataModule: a collection and its token ids, training batches out of it, queries to evaluate."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pytorch_lightning as pl

from twotower.core.errors import UserError, nearest
from twotower.data import negatives
from twotower.data.batches import Negatives, RelevantGroups, TrainLoader
from twotower.data.collection import Collection
from twotower.data.held_out import held_out_queries
from twotower.data.settings import DataSettings
from twotower.text.tokenizer import Tokenizer
from twotower.text.tokens import Tokens


class RetrievalData(pl.LightningDataModule):
    """What training and evaluation read.

    Args:
        collection: documents, queries and judgements.
        tokenizer: turns their texts into ids.
        settings: the `data` group of the config.
        seed: of the order of training and the choice of queries to evaluate.
        pads_batches: whether a tower pads its batches, so that `bucket_by_length: auto` puts like lengths together.
        exclude_self: whether documents that queries are themselves are no negatives of theirs, see `own_document`.

    Raises:
        UserError: for a split that does not exist or is empty.
    """

    def __init__(
        self,
        *,
        collection: Collection,
        tokenizer: Tokenizer,
        settings: DataSettings,
        seed: int = 0,
        pads_batches: bool = False,
        exclude_self: str | bool = "auto",
    ) -> None:
        super().__init__()
        self.exclude_self = exclude_self
        self.collection, self.tokenizer, self.seed = collection, tokenizer, seed
        self.settings = settings
        chosen = settings.bucket_by_length
        self.bucket_by_length = chosen if isinstance(chosen, bool) else pads_batches
        check_splits(collection, settings)

    @cached_property
    def query_tokens(self) -> Tokens:
        """Ids of all queries, cut to max_query_length."""
        return self.tokenizer.encode_cached(self.collection.query_texts, self.settings.max_query_length)

    @cached_property
    def document_tokens(self) -> Tokens:
        """Ids of all documents (title and text), cut to max_document_length."""
        return self.tokenizer.encode_cached(self.collection.document_texts(), self.settings.max_document_length)

    @cached_property
    def corpus_rows(self) -> np.ndarray:
        """Rows of the documents that training on the corpus may read, ascending, int64.

        All of them, but for those that queries drawn from themselves will be evaluated on.
        """
        rows = np.arange(len(self.collection.document_ids))
        if not self.collection.pseudo:
            return rows
        judged = self.collection.split(self.settings.eval_split)
        return rows[~np.isin(rows, judged.document[judged.positive])]

    @cached_property
    def searched_tokens(self) -> Tokens:
        """Ids of what the exported index holds; `document_tokens` where people search the text that is trained on."""
        if self.collection.indexed_texts is None:
            return self.document_tokens
        return self.tokenizer.encode_cached(self.collection.searched_texts(), self.settings.max_document_length)

    @cached_property
    def held_out(self) -> np.ndarray:
        """Rows of training queries that are not trained on; the hybrid's weight is fitted on them, int32."""
        judgements = self.collection.split(self.settings.train_split)
        return held_out_queries(judgements, self.settings.held_out, seed=self.seed)

    @cached_property
    def relevance(self) -> RelevantGroups:
        """Which documents are no negatives of which training queries."""
        return RelevantGroups(self.collection, [self.settings.train_split], self.exclude_self)

    @cached_property
    def negatives(self) -> Negatives | None:
        """What draws explicit negatives, if any."""
        split = self.settings.train_split
        return negatives.build(self.settings.negatives, self.collection, split, self.relevance)

    def train_dataloader(self) -> TrainLoader:
        """Returns the batches of an epoch; under several processes, this one's share of them."""
        trainer = self.trainer
        return TrainLoader(
            collection=self.collection,
            split=self.settings.train_split,
            query_tokens=self.query_tokens,
            document_tokens=self.document_tokens,
            batch_size=self.settings.batch_size,
            seed=self.seed,
            negatives=self.negatives,
            bucket_by_length=self.bucket_by_length,
            without=self.held_out,
            relevance=self.relevance,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )

    def eval_queries(self, limit: int | None = None, split: str | None = None) -> np.ndarray:
        """Returns query rows to evaluate, ascending, int32: those of a split with a relevant document.

        Args:
            limit: at most this many, drawn by the seed; None or 0 for all.
            split: a split other than eval_split.
        """
        rows = self.collection.split(split or self.settings.eval_split).queries
        if not limit or limit >= len(rows):
            return rows
        return np.sort(np.random.default_rng(self.seed).choice(rows, size=limit, replace=False))


def check_splits(collection: Collection, settings: DataSettings) -> None:
    """Refuses splits that the collection doesn't have, or that hold nothing.

    Raises:
        UserError: naming those there are, and what to do where none is for training.
    """
    there, train = sorted(collection.judgements), settings.train_split
    if train is not None and train not in there and there and not nearest(train, there):
        evaluated = settings.eval_split if settings.eval_split in there else there[-1]
        raise UserError(
            f"{collection.name} has no split '{train}'; there are: {', '.join(there)}. data.train_split=null "
            f"data.eval_split={evaluated} learns from the documents alone and evaluates with that split."
        )
    collection.split(train)
    collection.split(settings.eval_split)


def vocabulary_texts(collection: Collection, train_split: str | None) -> list[str]:
    """Returns the texts a vocabulary is counted from: all documents and the queries of the training split.

    Queries of other splits are left out, so that the out-of-vocabulary rate of the evaluation is an honest one.
    """
    rows = collection.split(train_split).queries
    return collection.document_texts() + [collection.query_texts[row] for row in rows]
