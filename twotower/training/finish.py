"""How a run ends: its record and loggers closed, its result shown."""

from __future__ import annotations

import shlex
from typing import Any

from rich.console import Console
from rich.text import Text

from twotower.callbacks.base import RunContext
from twotower.core.format import near, program, search_command, visible
from twotower.evaluation.report import evaluation_tables
from twotower.runs.questions import everyday, questions
from twotower.runs.run import read_run
from twotower.training.loggers import close_loggers, log_artifacts, summarise


def finish(context: RunContext, loggers: list[Any]) -> float:
    """Closes the record and the loggers, and shows what came of the run."""
    record = context.record
    evaluation = context.evaluation
    if evaluation is None:
        record.close("finished")
        close_loggers(loggers, failed=False)
        return float("nan")
    numbers = evaluation.to_dict()
    verdict = numbers[context.objective.partition("/")[0]]["verdict"]
    objective = record.data["objective"]
    summary = {
        f"best/{name}/{key}": figure["value"]
        for name, part in numbers.items()
        if isinstance(part, dict)
        for key, figure in part["metrics"].items()
    }
    summary |= {
        f"best/{name}/hybrid_{key}": figure["hybrid"]
        for name, part in numbers.items()
        if isinstance(part, dict)
        for key, figure in part["metrics"].items()
        if "hybrid" in figure
    }
    summary |= {"best_epoch": context.best_epoch, "verdict": verdict["label"], "objective": objective["value"]}
    summarise(loggers, summary, history=record.data["history"])
    log_artifacts(
        loggers,
        context.config,
        run_dir=context.run_dir,
        checkpoint=context.exported,
        document_ids=context.data.collection.document_ids,
        document_ND=context.document_vectors,
    )
    status = "collapsed" if context.unhealthy else "at_chance" if verdict["label"] == "AT CHANCE" else "finished"
    record.close(status)
    close_loggers(loggers, failed=False)
    show(context)
    return float(objective["value"])


def show(context: RunContext) -> None:
    """Prints the tables, the verdict, what was written and the command to search it."""
    assert context.evaluation is not None
    console = Console()
    for table in evaluation_tables(context.evaluation):
        console.print(table)
    for fault in context.unhealthy:
        console.print(Text(f"COLLAPSED: {fault}", style="bold red"))
    folder = near(context.run_dir)
    console.print(Text.assemble("Run folder  ", (folder, "bold")), soft_wrap=True)
    if context.exported:
        console.print(Text.assemble("Model       ", (near(context.exported), "bold")), soft_wrap=True)
    if context.indexes:
        first, *others = suggestions(context)
        console.print(Text.assemble("Search it   ", (search_command(folder, first), "bold cyan")), soft_wrap=True)
        if others:
            quoted = "  ".join(f'"{visible(item)}"' for item in others)
            console.print(Text.assemble("Or ask      ", (quoted, "cyan")), soft_wrap=True)
        console.print(
            Text.assemble("In a page   ", (f"{program()} search --run {shlex.quote(folder)} --web", "cyan")),
            soft_wrap=True,
        )


def suggestions(context: RunContext, count: int = 3) -> list[str]:
    """Returns questions worth asking the run, as a person would: some that it answers, or about titles; at least one.

    Args:
        context: the finished run.
        count: how many at most.
    """
    drawn = [item.text for item in questions(read_run(context.run_dir), count)]
    if drawn:
        return drawn
    texts = context.data.collection.query_texts
    return everyday([texts[int(row)] for row in context.data.eval_queries()], count) or [""]
