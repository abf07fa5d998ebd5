"""Training batches put together by array operations: tokens of queries and documents, and the false-negative mask.

Shapes: B queries of a batch, N its documents (B positives, then the explicit negatives), P positive pairs of a split,
G groups of queries with identical text. A document is known by its text group, so that copies count as the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from twotower.core.errors import UserError
from twotower.core.ragged import ranges, to_offsets
from twotower.data.collection import Collection
from twotower.data.own_document import own_pairs
from twotower.text.tokens import TokenBatch, Tokens

Negatives = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""Given query rows int32 [B] and a generator, returns document rows int64 [B, n], -1 where there is none to give."""

BUCKET_BATCHES = 32
"""Batches whose pairs are sorted by length together: enough to save padding, few enough to stay random."""


class TrainBatch(NamedTuple):
    """One step's input.

    Attributes:
        query: tokens of B queries.
        document: tokens of N documents: the positive of query b is row b, its negative j row B + b * n + j.
        mask_BN: bool [B, N] (of all processes together, see `TrainLoader.assemble`); True where document n must not be
            a negative of query b: it is relevant to b or to a query of identical text, identical in text to such a
            document, or b itself (`evaluation.exclude_self`). The positive itself (column b) is False.
        query_B: int64 [B], rows of the queries of the mask, for what knows them by number (`training.teachers`).
        document_N: int64 [N], rows of its documents.
    """

    query: TokenBatch
    document: TokenBatch
    mask_BN: torch.Tensor
    query_B: np.ndarray
    document_N: np.ndarray

    def to(self, device: torch.device | str, non_blocking: bool = False) -> TrainBatch:
        """Returns the batch on another device."""
        query, document = self.query.to(device, non_blocking), self.document.to(device, non_blocking)
        mask_BN = self.mask_BN.to(device, non_blocking=non_blocking)
        return self._replace(query=query, document=document, mask_BN=mask_BN)

    def pin_memory(self) -> TrainBatch:
        """Returns the batch in page-locked memory."""
        query, document = self.query.pin_memory(), self.document.pin_memory()
        return self._replace(query=query, document=document, mask_BN=self.mask_BN.pin_memory())


class RelevantGroups:
    """Which text groups of documents are relevant to which groups of queries, over all splits given.

    Args:
        collection: where queries, documents and judgements come from.
        splits: the splits whose judgements count.
        exclude_self: whether a document that a query of theirs is itself counts as relevant to it, see `own_pairs`.
    """

    def __init__(self, collection: Collection, splits: Sequence[str | None], exclude_self: str | bool = "auto") -> None:
        self.document_group = collection.text_group.astype(np.int64)
        self.query_group = collection.query_group.astype(np.int64)
        self.groups = int(self.document_group.max(initial=-1)) + 1
        judged = [collection.split(split) for split in splits]
        own = [
            own_pairs(collection, item.queries, split, exclude_self) for item, split in zip(judged, splits, strict=True)
        ]
        asked = [item.queries[places] for item, (places, _) in zip(judged, own, strict=True)]
        query = np.concatenate([*(item.query[item.positive] for item in judged), *asked])
        document = np.concatenate([*(item.document[item.positive] for item in judged), *(rows for _, rows in own)])
        pairs = np.unique(self.query_group[query] * self.groups + self.document_group[document])
        query_groups = int(self.query_group.max(initial=-1)) + 1
        self._starts = to_offsets(np.bincount(pairs // self.groups, minlength=query_groups))
        self._relevant = pairs % self.groups
        self._pairs = pairs

    def contains(self, query: np.ndarray, document: np.ndarray) -> np.ndarray:
        """Says for pairs of rows (arrays of one shape) whether the document is relevant, copies counted as the same."""
        keys = self.query_group[query] * self.groups + self.document_group[document]
        place = np.minimum(np.searchsorted(self._pairs, keys), len(self._pairs) - 1)
        return self._pairs[place] == keys  # type: ignore[no-any-return]

    def mask(self, query_B: np.ndarray, document_N: np.ndarray) -> np.ndarray:
        """Builds `mask_BN` by joining each query's few relevant groups with the documents of the batch.

        Args:
            query_B: int [B], query rows.
            document_N: int [N], document rows, the positives first.
        """
        group_N = self.document_group[document_N]
        order_N = np.argsort(group_N, kind="stable")
        sorted_N = group_N[order_N]
        # 1. every (query of the batch, relevant group) pair, R of them
        group_B = self.query_group[query_B]
        count_B = self._starts[group_B + 1] - self._starts[group_B]
        row_R = np.repeat(np.arange(len(query_B)), count_B)
        relevant_R = self._relevant[ranges(self._starts[group_B], count_B)]
        # 2. for each, the documents of the batch that are of this group: a run in the sorted order
        first_R = np.searchsorted(sorted_N, relevant_R, side="left")
        run_R = np.searchsorted(sorted_N, relevant_R, side="right") - first_R
        mask_BN = np.zeros((len(query_B), len(document_N)), dtype=bool)
        mask_BN[np.repeat(row_R, run_R), order_N[ranges(first_R, run_R)]] = True
        np.fill_diagonal(mask_BN[:, : len(query_B)], False)
        return mask_BN


class TrainLoader:
    """Iterates over the training batches of an epoch; Lightning accepts it as a dataloader.

    The order depends on (seed, epoch) alone. Each positive judgement is one pair; the last batch may be smaller and is
    left out only when it would hold a single pair, which has nothing to be contrasted with.

    Args:
        collection: the data.
        split: the split to train on; None for no pair at all.
        query_tokens: tokens of all queries.
        document_tokens: tokens of all documents.
        batch_size: pairs in a batch.
        seed: of the order and of sampled negatives.
        negatives: gives explicit negatives for query rows, or None for in-batch ones alone.
        bucket_by_length: put documents of like length together, which saves padding in recurrent towers.
        without: rows of queries of the split that are not trained on.
        relevance: which documents are no negatives of which queries; None: worked out from the split's judgements.
        rank: which share of the pairs this process takes, of `world_size` equal shares.
        world_size: number of processes.
    """

    def __init__(
        self,
        *,
        collection: Collection,
        split: str | None,
        query_tokens: Tokens,
        document_tokens: Tokens,
        batch_size: int,
        seed: int = 0,
        negatives: Negatives | None = None,
        bucket_by_length: bool = False,
        without: np.ndarray | None = None,
        relevance: RelevantGroups | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        judgements = collection.split(split)
        kept = judgements.positive
        if without is not None and len(without):
            kept = kept & ~np.isin(judgements.query, without)
        self.query, self.document = judgements.query[kept], judgements.document[kept]
        self.query_tokens, self.document_tokens = query_tokens, document_tokens
        self.batch_size, self.seed, self.negatives = batch_size, seed, negatives
        self.bucket_by_length, self.rank, self.world_size = bucket_by_length, rank, world_size
        self.relevance = relevance or RelevantGroups(collection, [split])
        self.epoch, self._given, self._resume = 0, 0, (0, 0)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch, counted from 0, whose order the next iteration takes (Lightning calls this)."""
        self.epoch = epoch

    @property
    def sampler(self) -> TrainLoader:
        """Itself: Lightning tells a dataloader's sampler which epoch it is."""
        return self

    def state_dict(self) -> dict[str, int]:
        """Where the iteration stands, for a checkpoint in the middle of an epoch."""
        return {"epoch": self.epoch, "batch": self._given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes on, in the epoch of the state, after the batches that were given before.

        Raises:
            UserError: for a state that is none.
        """
        if not isinstance(state, dict) or any(type(state.get(key)) is not int for key in ("epoch", "batch")):
            raise UserError("The training state says in no whole numbers where in the data it stopped; it is damaged.")
        self._resume = (state["epoch"], state["batch"])

    @property
    def pairs(self) -> int:
        """Number of pairs that one epoch goes through in this process."""
        return len(self.query) // self.world_size

    def __len__(self) -> int:
        whole, rest = divmod(self.pairs, self.batch_size)
        return whole + (rest > 1)

    def __iter__(self) -> Iterator[TrainBatch]:
        generator = np.random.default_rng([self.seed, self.epoch])
        order = generator.permutation(len(self.query))[: self.pairs * self.world_size]
        whole = self.batch_size * self.world_size
        starts = np.arange(len(self)) * whole
        if self.bucket_by_length:
            order = self._bucket(order)
            generator.shuffle(starts)
        done = self._resume[1] if self._resume[0] == self.epoch else 0
        self._resume = (0, 0)
        for number in range(done, len(starts)):
            # a generator for each batch, so that a resumed epoch draws the same negatives
            batch_generator = np.random.default_rng([self.seed, self.epoch, number])
            batch = self.assemble(order[starts[number] : starts[number] + whole], batch_generator)
            self._given = number + 1
            yield batch

    def assemble(self, pairs_B: np.ndarray, generator: np.random.Generator) -> TrainBatch:
        """Puts together the batch of these pairs, int [B], numbers into the split's positive judgements.

        With several processes these are the pairs of all of them, the tokens are those of this process's share, and the
        mask is over everything, rows and columns in the order in which vectors are gathered: by rank.
        """
        world = self.world_size
        by_rank = np.concatenate([np.arange(rank, len(pairs_B), world) for rank in range(world)])
        chosen = None if self.negatives is None else self.negatives(self.query[pairs_B], generator)[by_rank]
        pairs_B = pairs_B[by_rank]
        query_B, document_B = self.query[pairs_B], self.document[pairs_B]
        document_N, missing_N = document_B, np.zeros(len(document_B), dtype=bool)
        if chosen is not None:
            missing_N = np.concatenate([missing_N, chosen.ravel() < 0])
            # a place without a negative repeats the positive, and is masked for every query so that it adds no weight
            document_N = np.concatenate([document_B, np.where(chosen < 0, document_B[:, None], chosen).ravel()])
        mask_BN = self.relevance.mask(query_B, document_N)
        mask_BN[:, missing_N] = True
        own_B, own_N = query_B, document_N
        if world > 1:
            own_B, own_N = self._share(query_B), self._share(document_N, len(pairs_B))
        query, document = self.query_tokens.take(own_B), self.document_tokens.take(own_N)
        return TrainBatch(query, document, torch.from_numpy(mask_BN), query_B, document_N)

    def _share(self, rows: np.ndarray, positives: int | None = None) -> np.ndarray:
        """Returns this process's part of rows that are in the order of ranks; positives and negatives apart."""
        if positives is not None and positives < len(rows):
            return np.concatenate([self._share(rows[:positives]), self._share(rows[positives:])])
        each = len(rows) // self.world_size
        return rows[self.rank * each : (self.rank + 1) * each]

    def _bucket(self, order: np.ndarray) -> np.ndarray:
        """Sorts by document length within stretches of a random order; which stretch a pair is in stays random."""
        length = self.document_tokens.lengths[self.document[order]]
        stretch = np.arange(len(order)) // (self.batch_size * self.world_size * BUCKET_BATCHES)
        return order[np.lexsort((length, stretch))]
