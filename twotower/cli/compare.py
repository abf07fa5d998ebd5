"""`twotower compare`: are these runs really different, and on which queries?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from twotower.cli.completion import complete_runs
from twotower.cli.diff import differences_table
from twotower.core import format as text
from twotower.core.errors import UserError
from twotower.core.format import visible
from twotower.reports.compare import config_differences, differences, extreme_queries
from twotower.runs.find import find_runs
from twotower.runs.per_query import pair

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LONGEST_TEXT = 90
"""Characters of a document's text that stand in the table of queries."""


@click.command(name="compare")
@click.argument("runs", nargs=-1, required=True, shell_complete=complete_runs)
@click.option("--metric", metavar="NAME", help="Metric, e.g. mrr_10 or rerank/ndcg_10 (default: the runs' objective).")
@click.option("--queries", default=5, show_default=True, type=click.IntRange(min=0), help="Queries shown a side.")
@click.option("--baseline", is_flag=True, help="Compare the others with the first run only, not all with all.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(runs: tuple[str, ...], metric: str | None, queries: int, baseline: bool, as_json: bool) -> None:
    """Compare RUNS (folders, run names or config hashes) query by query.

    A paired randomisation test (p, Holm-corrected when there are several pairs) and a bootstrap interval of the
    difference; wins, ties and losses; config differences; and the queries on which the first two differ most.
    """
    if not 2 <= len(runs) <= len(LETTERS):
        raise UserError(f"compare takes 2 to {len(LETTERS)} runs: twotower compare A B.")
    chosen = find_runs(runs)
    name = chosen.metric(metric)
    paired = pair(chosen, name)
    gaps = differences(paired, baseline=baseline)
    won, lost = extreme_queries(paired, chosen, count=queries)
    lines = config_differences(chosen, every=False)
    if not as_json:
        _show(chosen, paired, gaps, (won, lost), lines)
        return
    content = {
        "metric": name,
        "queries": len(paired.query_ids),
        "runs": [str(run.path) for run in chosen],
        "means": paired.values_RQ.mean(axis=1).tolist(),
        "differences": [{**asdict(gap), "real": gap.real} for gap in gaps],
        "config": dict(lines),
        "won_most": [asdict(item) for item in won],
        "lost_most": [asdict(item) for item in lost],
    }
    print(json.dumps(content, indent=2, ensure_ascii=False, default=str))


def _show(runs: Any, paired: Any, gaps: Sequence[Any], extremes: tuple[Any, Any], lines: list[Any]) -> None:
    console = Console()
    for letter, run, mean in zip(LETTERS, runs, paired.values_RQ.mean(axis=1), strict=False):
        hybrid = run.hybrid_score(paired.metric)
        both = f"  hybrid [bold]{text.number(hybrid.value)}[/]" if hybrid else ""
        console.print(
            f"[bold]{letter}[/] {run.path}  {paired.metric} [bold]{text.number(mean)}[/]  {run.verdict}{both}"
        )
    console.print(f"\n{len(paired.query_ids)} queries, paired", style="dim")
    console.print(_gaps_table(gaps))
    for gap in gaps:
        console.print(sentence(gap))
    console.print("\n[bold]Config[/]" if lines else "\nThe configs are the same.")
    if lines:
        console.print(differences_table(lines, runs))
    depths = [run.flat.get("evaluation.k", 100) for run in runs[:2]]
    for items, title in zip(extremes, ("A beats B most on", "B beats A most on"), strict=True):
        if items:
            console.print(f"\n[bold]{title}[/]")
            console.print(_queries_table(items, depths))


def sentence(gap: Any) -> str:
    """Says in words what a tested difference comes to."""
    first, second = LETTERS[gap.first], LETTERS[gap.second]
    better, worse = (first, second) if gap.difference >= 0 else (second, first)
    ends = sorted((abs(gap.low), abs(gap.high))) if gap.low * gap.high > 0 else None
    if gap.real:
        size = f"{text.number(abs(gap.difference))}" + (
            f" [{text.number(ends[0])}, {text.number(ends[1])}]" if ends else ""
        )
        return f"{better} is better than {worse} by {size}."
    return f"{first} and {second} can't be told apart on these queries (p = {gap.p_holm:.3f})."


def _gaps_table(gaps: Sequence[Any]) -> Any:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("pair", "difference", "95 %", "p", "p (Holm)", "wins", "ties", "losses"):
        table.add_column(name, justify="left" if name == "pair" else "right", no_wrap=True)
    for gap in gaps:
        table.add_row(
            f"{LETTERS[gap.first]} - {LETTERS[gap.second]}",
            text.number(gap.difference),
            f"{text.number(gap.low)} to {text.number(gap.high)}",
            f"{gap.p_value:.4f}",
            f"{gap.p_holm:.4f}",
            str(gap.wins),
            str(gap.ties),
            str(gap.losses),
        )
    return table


def _queries_table(items: Sequence[Any], depths: Sequence[int]) -> Any:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("query", ratio=2, overflow="fold")
    for letter in LETTERS[:2]:
        table.add_column(f"{letter} rank", justify="right", no_wrap=True)
        table.add_column(f"{letter} ranked first", ratio=3)
    for item in items:
        cells = [item.query]
        for rank, depth, hit, body in zip(item.ranks, depths, item.first_hits, item.texts, strict=True):
            cells.append(f">{depth}" if rank is None else str(rank))
            cells.append(f"{hit}\n{text.shortened(body or '', LONGEST_TEXT)}".strip())
        table.add_row(*(Text(visible(cell)) for cell in cells))  # as text: brackets in data are no markup
    return table
