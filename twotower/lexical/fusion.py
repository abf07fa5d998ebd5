"""Dense and lexical scores made one: by z-scores over the whole corpus, or by reciprocal ranks.

Each query's scores are brought to mean 0 and deviation 1 over all documents, which makes cosines and BM25 scores alike,
and added; the weight is that of BM25 beside the model's 1. Reciprocal rank fusion (Cormack et al. 2009) reads ranks.

Shapes: B queries of a block, N documents.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from twotower.core.validators import check_choice, check_number
from twotower.lexical.ranks import best_of

KINDS = ("zscore", "rrf")
DEFAULT_WEIGHT = 2.0
"""BM25's weight where there are no training queries to fit it on, and where they decide nothing."""
RRF_CONSTANT, RRF_DEPTH = 60, 1000
"""What is added to a rank, and the rank from which on documents get nothing."""


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """How the two sides are fused.

    Attributes:
        kind: "zscore" or "rrf".
        weight: of BM25 beside the model's 1.
        pairs: within BM25, of pairs of neighbouring words beside single words.
        exact: within BM25, of words as they are written beside stems.
        stem: language of the stems BM25 reads; None for plain words.
        k1: BM25's; records from before it was a setting lack it and have bm25s's own, as of `b`.
        b: BM25's.
        fitted_on: training queries the weight was fitted on; 0 for a weight that was given, or the default one.
        note: where the weight comes from, for people.
    """

    kind: str = "zscore"
    weight: float = DEFAULT_WEIGHT
    pairs: float = 0.0
    exact: float = 0.0
    stem: str | None = None
    k1: float = 1.5
    b: float = 0.75
    fitted_on: int = 0
    note: str = ""

    def __post_init__(self) -> None:
        check_choice("evaluation.hybrid.fusion", self.kind, KINDS)
        check_number("evaluation.hybrid.weight", self.weight, at_least=0)
        check_number("evaluation.hybrid.pairs", self.pairs, at_least=0)
        check_number("evaluation.hybrid.exact", self.exact, at_least=0)

    def __call__(self, dense_BN: np.ndarray, lexical_BN: np.ndarray) -> np.ndarray:
        """Returns the fused scores of every document, float32 [B, N]; what is given may be overwritten."""
        fused_BN, lexical_BN = self.sides(dense_BN, lexical_BN)
        lexical_BN *= np.float32(self.weight)
        fused_BN += lexical_BN
        return fused_BN

    def sides(self, dense_BN: np.ndarray, lexical_BN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns what each side gives every document, to be added with the weight; may overwrite what is given."""
        if self.kind == "rrf":
            return reciprocal_ranks(dense_BN), reciprocal_ranks(lexical_BN, above=0)
        return standardised(dense_BN), standardised(lexical_BN)

    @property
    def sum(self) -> str:
        """What is added, in words: "model + 2 x BM25 of stems, words and pairs of words"."""
        single = ["stems", *(["words"] if self.exact else [])] if self.stem else ["words"]
        *first, last = [*single, *(["pairs of words"] if self.pairs else [])]
        return f"model + {self.weight:.3g} x BM25 of {', '.join(first)}{' and ' if first else ''}{last}"

    @property
    def lexical(self) -> dict[str, Any]:
        """The BM25 it fuses, as `Bm25.build` takes it."""
        return {"stem": self.stem, "pairs": self.pairs > 0, "exact": self.exact > 0, "k1": self.k1, "b": self.b}

    @property
    def within(self) -> dict[str, float]:
        """The weights within BM25, as `Bm25.further` and `Bm25.scores` take them."""
        return {"pairs": self.pairs, "exact": self.exact}

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for run.json and manifests."""
        return asdict(self)


def standardised(scores_BN: np.ndarray) -> np.ndarray:
    """Brings each row to mean 0 and deviation 1, in place; a row without any spread becomes 0."""
    scores_BN -= scores_BN.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    deviation_B = np.sqrt(np.einsum("bn,bn->b", scores_BN, scores_BN) / max(scores_BN.shape[1], 1))
    scores_BN /= np.where(deviation_B > 1e-12, deviation_B, 1)[:, None].astype(np.float32)
    return scores_BN


def reciprocal_ranks(scores_BN: np.ndarray, *, above: float = -np.inf) -> np.ndarray:
    """Returns 1 / (60 + rank) of the best documents of each row, 0 for the others and for scores not above a bound."""
    depth = min(RRF_DEPTH, scores_BN.shape[1])
    scores_BK, best_BK = best_of(scores_BN, depth)
    gain_BK = np.where(scores_BK > above, 1 / (RRF_CONSTANT + 1 + np.arange(depth)), 0).astype(np.float32)
    gains_BN = np.zeros(scores_BN.shape, np.float32)
    np.put_along_axis(gains_BN, best_BK, gain_BK, axis=1)
    return gains_BN
