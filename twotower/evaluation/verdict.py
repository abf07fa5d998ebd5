"""One line that says what a result is worth: is it chance, does a word count beat it, or is it better?

Every statement rests on the paired bootstrap interval of a difference over the same queries, never on two figures
set side by side.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from twotower.evaluation.names import label as written
from twotower.evaluation.statistics import Interval, paired_bootstrap

AT_CHANCE = "AT CHANCE"
BELOW_BM25 = "BELOW BM25"
BETTER = "BETTER THAN BM25"
UNDECIDED = "NOT DISTINGUISHABLE FROM BM25"
ABOVE_CHANCE = "ABOVE CHANCE"
NOT_JUDGED = "NOT JUDGED"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a metric of one protocol is worth.

    Attributes:
        label: AT CHANCE, BELOW BM25, NOT DISTINGUISHABLE FROM BM25, BETTER THAN BM25, or, where BM25 was not
            computed, ABOVE CHANCE. NOT JUDGED for a user's own metric without known chance where BM25 was not computed.
        metric: canonical name of the metric.
        protocol: "full" or "rerank".
        difference: mean difference to chance (AT CHANCE, ABOVE CHANCE) or to BM25 (the others).
        low: lower end of its interval.
        high: upper end of its interval.
        line: all of it in one line.
    """

    label: str
    metric: str
    protocol: str
    difference: float
    low: float
    high: float
    line: str

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data."""
        return asdict(self)


def judge(
    model_Q: np.ndarray,
    chance_Q: np.ndarray | None,
    bm25_Q: np.ndarray | None,
    *,
    metric: str,
    protocol: str,
    pool: str,
    rival: str = "BM25",
    what: str = "",
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Verdict:
    """Judges the model's per-query values against chance and BM25 on the same queries.

    Args:
        model_Q: the model's values [Q].
        chance_Q: their expectations under a random order [Q], or None for a metric that doesn't know them.
        bm25_Q: BM25's values [Q], or None where not computed.
        metric: canonical name of the metric.
        protocol: "full" or "rerank".
        pool: the pool in words, see `pool_words`.
        rival: which BM25 it is held against, in words.
        what: what is judged, where it is not the model alone ("hybrid").
        level: coverage of the intervals.
        resamples: bootstrap draws.
        seed: seed of the draws.
    """
    options: dict[str, Any] = {"level": level, "resamples": resamples, "seed": seed}
    start = f"{what} {protocol} {written(metric)} {np.mean(model_Q):.3f}".lstrip()
    pool = pool if rival == "BM25" else f"{rival}; {pool}"
    if chance_Q is None:
        pool = f"{pool}; chance not known"

    def verdict(label: str, words: str, interval: Interval) -> Verdict:
        return Verdict(
            label=label,
            metric=metric,
            protocol=protocol,
            difference=interval.mean,
            low=interval.low,
            high=interval.high,
            line=f"{start}: {words} ({pool})",
        )

    if chance_Q is not None:
        over = paired_bootstrap(model_Q, chance_Q, **options)
        if not over.low > 0:
            return verdict(AT_CHANCE, f"{AT_CHANCE}, {_signed(over)} from a random order", over)
        if bm25_Q is None:
            return verdict(ABOVE_CHANCE, f"{ABOVE_CHANCE} by {_signed(over)}; BM25 not computed", over)
    if bm25_Q is None:
        return verdict(NOT_JUDGED, f"{NOT_JUDGED}, BM25 not computed", Interval(0.0, 0.0, 0.0))
    gap = paired_bootstrap(model_Q, bm25_Q, **options)
    if gap.high < 0:
        return verdict(BELOW_BM25, f"{BELOW_BM25}, {_signed(gap)}", gap)
    if gap.low > 0:
        return verdict(BETTER, f"{BETTER} by {_signed(gap)}", gap)
    return verdict(UNDECIDED, f"{UNDECIDED}, {_signed(gap)}", gap)


def pool_words(protocol: str, mean_size: float) -> str:
    """Returns the pool in words: "full corpus of 6,796", "rerank, 8.1 candidates a query"."""
    if protocol == "full":
        return f"full corpus of {mean_size:,.0f}"
    return f"rerank, {mean_size:,.1f} candidates a query"


def _signed(interval: Interval) -> str:
    return f"{interval.mean:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
