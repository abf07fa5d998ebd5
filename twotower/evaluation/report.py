"""The evaluation as tables for the terminal: every figure beside its interval, chance, BM25 and the untrained model."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from twotower.evaluation.names import label
from twotower.evaluation.results import Evaluation, ProtocolResult
from twotower.evaluation.verdict import ABOVE_CHANCE, AT_CHANCE, BELOW_BM25, BETTER, NOT_JUDGED, UNDECIDED
from twotower.lexical.fusion import Fusion

STYLES = {
    BETTER: "bold green",
    ABOVE_CHANCE: "green",
    UNDECIDED: "bold yellow",
    BELOW_BM25: "bold red",
    AT_CHANCE: "bold white on red",
    NOT_JUDGED: "bold",
}
"""How each verdict is coloured."""


def evaluation_tables(evaluation: Evaluation) -> list[RenderableType]:
    """Returns, for each protocol, its table and its verdict line, ready for `Console.print`."""
    return [Group(title(part, evaluation), protocol_table(part, evaluation), verdict_line(part)) for part in evaluation]


def title(part: ProtocolResult, evaluation: Evaluation) -> Text:
    """Returns what was measured on: collection, split, pool and number of queries."""
    queries = f"{part.num_queries_with_relevance:,} queries"
    if part.num_queries_evaluated > part.num_queries_with_relevance:
        queries = f"{part.num_queries_with_relevance:,} of {part.num_queries_evaluated:,} queries, those with relevance"
    if part.own_left_out:
        queries += f", {part.own_left_out:,} of them without the document that they are themselves"
    return Text(f"\n{evaluation.collection.name} {evaluation.split} · {part.pool} · {queries}", style="bold")


def protocol_table(part: ProtocolResult, evaluation: Evaluation) -> Table:
    """Returns one protocol's table; the metric its verdict is about is marked."""
    table = Table(header_style="bold", border_style="dim")
    table.add_column("metric")
    table.add_column("model", justify="right", style="bold")
    table.add_column(f"{100 * evaluation.confidence:g} %\ninterval", justify="right", style="dim", no_wrap=True)
    hybrid = part.hybrid is not None
    rival = "BM25\nstemmed" if part.bm25 and part.bm25["stem"] else "BM25"
    for name in (*(["hybrid"] if hybrid else []), "chance", rival, "untrained"):
        table.add_column(name, justify="right")
    for name, figures in part.metrics.items():
        chosen = name == part.verdict.metric
        table.add_row(
            f"{label(name)}{' ◂' if chosen else ''}",
            Text(_number(figures["value"]), style=_style(figures)),
            f"{_number(figures['low'])}–{_number(figures['high'])}",
            *([Text(_number(figures["hybrid"]), style=_style(figures, of="hybrid_"))] if hybrid else []),
            *(_number(figures[key]) for key in ("chance", "bm25", "untrained")),
            end_section=name in ("map", "recall_100", "ndcg_20"),
        )
    return table


def verdict_line(part: ProtocolResult) -> Text:
    """Returns the verdict in its colour, and below it that of the hybrid with the weight it was given."""
    line = Text(part.verdict.line, style=STYLES[part.verdict.label])
    if part.hybrid is not None and part.hybrid_verdict is not None:
        line.append(f"\n{part.hybrid_verdict.line}", style=STYLES[part.hybrid_verdict.label])
        fusion = Fusion(**part.hybrid)
        kind = "z-scores" if fusion.kind == "zscore" else "reciprocal ranks"
        line.append(f"\nhybrid = {fusion.sum} by {kind}; {fusion.note}", style="dim")
    return line


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _style(figures: dict[str, float | None], of: str = "") -> str:
    """Green above BM25, red where the interval reaches down to chance, dim where any order would score the same."""
    low, chance, bm25 = figures[f"{of}low"], figures["chance"], figures["bm25"]
    if chance is not None and chance >= 1 - 1e-9:
        return "dim"
    if low is not None and chance is not None and low <= chance:
        return "bold red"
    return "bold green" if bm25 is not None and low is not None and low > bm25 else "bold"
