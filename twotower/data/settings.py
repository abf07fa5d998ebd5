"""The config group `data` as its room takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from twotower.config.settings import Settings
from twotower.core.errors import UserError
from twotower.core.validators import check_choice, check_count, check_flag, check_number

NEGATIVES = ("in_batch", "random", "candidates", "bm25", "model")


@dataclass(frozen=True, kw_only=True)
class NegativeSettings(Settings):
    """Which explicit negatives stand beside those of the batch.

    Attributes:
        kind: in_batch (none beside), random, candidates (of the query's own list), bm25 (hard ones), model (those that
            the model itself ranks high, found anew while it trains).
        count: explicit negatives for each query.
        depth: bm25 and model draw from so many best-ranked documents.
        skip: bm25 and model leave out so many of the very best.
        renew: model finds them anew every so many epochs.
        margin: model leaves out what is not at least so far, in cosine, below the query's positive; None for no limit.
        near_copy: model leaves out what has this cosine with a positive of the query, or more.
    """

    GROUP: ClassVar[str] = "data.negatives"

    kind: str = "in_batch"
    count: int = 0
    depth: int = 50
    skip: int = 0
    renew: int = 1
    margin: float | None = None
    near_copy: float = 0.95

    def __post_init__(self) -> None:
        check_choice("data.negatives.kind", self.kind, NEGATIVES)
        for key, lowest in (("count", 0), ("depth", 1), ("skip", 0), ("renew", 1)):
            check_count(f"data.negatives.{key}", getattr(self, key), at_least=lowest)
        if self.margin is not None:
            check_number("data.negatives.margin", self.margin, at_least=0, at_most=2)
        check_number("data.negatives.near_copy", self.near_copy, above=0, at_most=1)
        if self.kind == "in_batch" and self.count:
            raise UserError(
                f"data.negatives.count={self.count} needs data.negatives.kind=random, candidates, bm25 or model."
            )
        if self.kind != "in_batch" and not self.count:
            raise UserError(f"data.negatives.kind={self.kind} needs data.negatives.count of at least 1.")


@dataclass(frozen=True, kw_only=True)
class DataSettings(Settings):
    """What is read and how it is put into batches; the source checks its own settings.

    Attributes:
        source: what reads the collection, by `_target_`, with its settings.
        path: what the source reads, where it reads a path.
        missing: what becomes of judgements of absent ids; the source reads it.
        train_split: whose pairs are trained on; None where no query is to be learnt from, only the corpus.
        eval_split: whose queries are evaluated.
        batch_size: pairs in a batch.
        num_workers: only 0.
        max_query_length: tokens kept of a query; None for all.
        max_document_length: tokens kept of a document; None for all.
        bucket_by_length: whether like lengths go into one batch: true, false, or auto, which the model decides.
        negatives: the explicit ones.
        held_out: at most so many training queries are not trained on; the hybrid's weight is fitted on them.
        allow_leak: whether queries shared by the two splits are reported only.
        train_pairs: whether the training split's pairs are trained on; otherwise the run ends with its pre-training.
    """

    GROUP: ClassVar[str] = "data"

    train_split: str | None = "train"
    eval_split: str = "dev"
    batch_size: int = 256
    num_workers: int | None = 0
    max_query_length: int | None = 32
    max_document_length: int | None = 256
    bucket_by_length: bool | str = "auto"
    negatives: NegativeSettings = field(default_factory=NegativeSettings)
    held_out: int = 0
    allow_leak: bool = False
    train_pairs: bool = True
    missing: str = "error"
    path: str | None = None
    source: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "negatives", NegativeSettings.parse(self.negatives or {}))
        check_count("data.batch_size", self.batch_size, at_least=2)
        check_count("data.held_out", self.held_out, at_least=0)
        for key in ("max_query_length", "max_document_length"):
            if getattr(self, key) is not None:
                check_count(f"data.{key}", getattr(self, key))
        if self.num_workers not in (0, None):
            raise UserError(
                f"data.num_workers={self.num_workers}: there are no workers, since a batch is a few array operations "
                "that sending it between processes would only slow down; leave it out or give 0."
            )
        check_flag("data.allow_leak", self.allow_leak)
        check_flag("data.train_pairs", self.train_pairs)
        if self.bucket_by_length != "auto" and not isinstance(self.bucket_by_length, bool):
            raise UserError(f"data.bucket_by_length={self.bucket_by_length} must be true or false, or auto.")
        if not self.learns_pairs and self.negatives.kind != "in_batch":
            pairs = "train_pairs=false" if self.train_split is not None else "train_split=null"
            raise UserError(f"data.negatives.kind={self.negatives.kind}: data.{pairs} leaves no pair to give them to.")

    @property
    def learns_pairs(self) -> bool:
        """Whether there are pairs to train on, and they are wanted."""
        return self.train_pairs and self.train_split is not None
