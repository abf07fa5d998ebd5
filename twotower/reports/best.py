"""Which run is best, and whether that may be believed."""

from __future__ import annotations

from dataclasses import dataclass, field

from twotower.core import format as text
from twotower.core.errors import UserError
from twotower.reports.compare import compare
from twotower.runs.ledger import Ledger
from twotower.runs.run import Run, Score


@dataclass(frozen=True, kw_only=True)
class Best:
    """The run with the highest metric, and what should be known before one relies on it (one line each)."""

    run: Run
    metric: str
    score: Score
    warnings: list[str] = field(default_factory=list)


def best(runs: Ledger, metric: str | None = None) -> Best:
    """Returns the best finished run.

    The warnings say when it can't be told apart from the best run of another config (paired randomisation test), lies
    at chance level, or when another config is better on average over seeds.

    Args:
        runs: any runs; those that ended are looked at.
        metric: its name (`mrr_10`); None takes what most runs were judged by.

    Raises:
        UserError: when no finished run has the metric, or the runs were evaluated on different data.
    """
    ended = runs.ended
    if not ended:
        raise UserError(f"No finished run among {len(runs)}: `twotower runs` shows what there is.")
    name = ended.metric(metric)
    ranked = Ledger(run for run in ended.sorted(name) if name in run.scores)
    if not ranked:
        raise UserError(f"No finished run has a final evaluation with {name}.")
    kinds = {run.data_key: str((run.record.get("data") or {}).get("name")) for run in ranked}
    if len(kinds) > 1:
        shown = ", ".join(f"{label} {key[0][:8]} ({key[1]})" for key, label in kinds.items())
        raise UserError(
            f"The runs were evaluated on different data, so none is best: {shown}. Narrow with "
            f'--where {_narrowing(kinds)} (make best ARGS="--where ...").'
        )
    top = ranked[0]
    score = top.scores[name]
    warnings = [*_chance_warning(top, name, score), *_rival_warning(ranked, name), *_seed_warning(ranked, name)]
    return Best(run=top, metric=name, score=score, warnings=warnings)


def _narrowing(kinds: dict[tuple[str, str], str]) -> str:
    """Returns a filter that leaves one kind of data: by its name, else by its fingerprint, and by the split."""
    (fingerprint, split), name = next(iter(kinds.items()))
    alike = [key for key, label in kinds.items() if label == name]
    term = f"data_name={name}" if len({key[0] for key in alike}) == 1 else f"fingerprint={fingerprint[:8]}*"
    same = [key for key in alike if key[0] == fingerprint]
    return f"'{term}'" + (f" --where data.eval_split={split}" if len(same) > 1 else "")


def _chance_warning(run: Run, metric: str, score: Score) -> list[str]:
    if run.status in ("at_chance", "collapsed"):
        return [f"the best run is marked {run.status}: it learned nothing worth searching with."]
    if score.chance is not None and score.low is not None and score.low <= score.chance:
        level = f"{text.number(score.value)} [{text.number(score.low)}, {text.number(score.high)}]"
        return [f"{metric} {level} is not distinguishable from chance ({text.number(score.chance)})."]
    return []


def _rival_warning(ranked: Ledger, metric: str) -> list[str]:
    rival = next((run for run in ranked[1:] if run.group != ranked[0].group), None)
    if rival is None:
        return []

    try:
        (gap,) = compare([ranked[0], rival], metric)
    except UserError as error:
        return [f"whether it is really better than the next config ({rival.path}) is unknown: {error}"]
    if gap.real:
        return []
    return [
        f"not distinguishable from the next config ({rival.path}): difference {text.number(gap.difference)} "
        f"[{text.number(gap.low)}, {text.number(gap.high)}], p = {gap.p_value:.3f}."
    ]


def _seed_warning(ranked: Ledger, metric: str) -> list[str]:
    spreads = ranked.spreads(metric)
    if max(spread.runs for spread in spreads.values()) < 2:
        return []
    leader = max(spreads, key=lambda group: spreads[group].mean)
    if leader == ranked[0].group:
        return []
    mine, other = spreads[ranked[0].group], spreads[leader]
    place = next(run.path for run in ranked if run.group == leader)
    return [
        f"over seeds another config is better: {text.number(other.mean)} ({other.runs} runs, e.g. {place}) against "
        f"{text.number(mine.mean)} ({mine.runs})."
    ]
