"""The config group `evaluation` as its room takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from twotower.config.settings import Settings
from twotower.core.errors import UserError
from twotower.core.validators import check_choice, check_count, check_number
from twotower.evaluation.budget import parse_size
from twotower.evaluation.names import PROTOCOLS
from twotower.lexical.fusion import KINDS


@dataclass(frozen=True, kw_only=True)
class Bm25Settings(Settings):
    """Which BM25 a model is held against, and fused with.

    Attributes:
        k1: how soon a word's repetition in a document saturates; 0 counts each word once. auto: what suits the
            training queries, see `evaluation.strongest`.
        b: how much the length of documents counts, from 0 to 1; or auto.
    """

    GROUP: ClassVar[str] = "evaluation.bm25"

    k1: float | str = 1.5
    b: float | str = 0.75

    def __post_init__(self) -> None:
        if self.k1 != "auto":
            check_number("evaluation.bm25.k1", self.k1, at_least=0)
        if self.b != "auto":
            check_number("evaluation.bm25.b", self.b, at_least=0, at_most=1)

    def filled(self, k1: float, b: float) -> Bm25Settings:
        """Returns them with numbers in place of auto."""
        return Bm25Settings(k1=k1 if self.k1 == "auto" else self.k1, b=b if self.b == "auto" else self.b)


@dataclass(frozen=True, kw_only=True)
class HybridSettings(Settings):
    """How model and BM25 are ranked together.

    Attributes:
        fusion: zscore or rrf.
        weight: of BM25 beside the model's 1; auto: fitted on training queries held out.
        pairs: within BM25, of pairs of neighbouring words; 0 in runs from before there was the key.
        exact: within BM25, of words as they are written beside stems; 0 in runs from before there was the key.
    """

    GROUP: ClassVar[str] = "evaluation.hybrid"

    fusion: str
    weight: float | str
    pairs: float = 0.0
    exact: float = 0.0

    def __post_init__(self) -> None:
        check_choice("evaluation.hybrid.fusion", self.fusion, KINDS)
        if self.weight != "auto":
            check_number("evaluation.hybrid.weight", self.weight, at_least=0)
        check_number("evaluation.hybrid.pairs", self.pairs, at_least=0)
        check_number("evaluation.hybrid.exact", self.exact, at_least=0)


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings(Settings):
    """How a model is measured.

    Attributes:
        protocols: full, rerank, a list of them, or auto (rerank where the data has candidates).
        objective: "<protocol>/<metric>"; its metric is the one each protocol's verdict is about.
        k: depth of the ranking; MRR and MAP see no further.
        max_memory: memory for ranking above the vectors, such as "2GiB".
        bm25: the lexical baseline, plain and over stems; the stronger of the two is shown and judged against. True
            stands for bm25s's own k1 and b, as in records from before these could be set; None or false for none.
        confidence: coverage of the intervals.
        resamples: bootstrap draws.
        metrics: a user's own by name: settings with `_target_`, or built, see `own_metrics`.
        exclude_self: whether documents that a query is itself are left out, see `data.own_document`.
        hybrid: model and BM25 together; None for no hybrid.
    """

    GROUP: ClassVar[str] = "evaluation"

    protocols: str | Sequence[str] = "auto"
    objective: str = "full/mrr_10"
    k: int = 100
    max_memory: str | int = "2GiB"
    bm25: Bm25Settings | None = field(default_factory=Bm25Settings)
    confidence: float = 0.95
    resamples: int = 1000
    metrics: Mapping[str, Any] = field(default_factory=dict)
    exclude_self: str | bool = "auto"
    hybrid: HybridSettings | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", self.metrics or {})
        object.__setattr__(self, "bm25", _bm25(self.bm25))
        if self.hybrid is not None:
            object.__setattr__(self, "hybrid", HybridSettings.parse(self.hybrid))
        if not self.protocols or not isinstance(self.protocols, (str, list, tuple)):
            raise UserError(f"evaluation.protocols={self.protocols} must be auto, full or rerank, or a list of them.")
        for name in [self.protocols] if isinstance(self.protocols, str) else self.protocols:
            check_choice("evaluation.protocols", name, ("auto", *PROTOCOLS))
        check_count("evaluation.k", self.k)
        check_count("evaluation.resamples", self.resamples, at_least=10)
        check_number("evaluation.confidence", self.confidence, above=0, below=1)
        if self.exclude_self != "auto" and not isinstance(self.exclude_self, bool):
            raise UserError(f"evaluation.exclude_self={self.exclude_self} must be true or false, or auto.")
        parse_size(self.max_memory)

    @property
    def memory(self) -> int:
        """`max_memory` in bytes."""
        return parse_size(self.max_memory)


def _bm25(value: Any) -> Bm25Settings | None:
    if isinstance(value, Bm25Settings) or value is None:
        return value
    if isinstance(value, bool):
        return Bm25Settings() if value else None
    return Bm25Settings.parse(value)
