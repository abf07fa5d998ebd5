"""`twotower encode`: a file of texts to vectors on disk, with a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from twotower.cli.completion import complete_runs
from twotower.cli.options import trust_option
from twotower.core.errors import UserError
from twotower.core.validators import check_count
from twotower.runs.find import check_unchanged, resolve_model

if TYPE_CHECKING:
    from twotower.model.checkpoint import Checkpoint
    from twotower.model.shards import Plan


@click.command(name="encode")
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--run",
    "run",
    metavar="RUN",
    shell_complete=complete_runs,
    help="Run folder, name, config hash or .pt file (default: newest).",
)
@click.option("--out", "out", metavar="DIR", required=True, type=click.Path(path_type=Path), help="Where shards go.")
@click.option("--side", default="document", show_default=True, help="document or query: which tower reads.")
@click.option("--column", "column", metavar="NAME", help="Which column holds the text (default: text, query, ...).")
@click.option("--dtype", default="float16", show_default=True, help="float16 or float32.")
@click.option("--shard-rows", default=65_536, show_default=True, help="Texts of a shard.")
@click.option("--devices", default=1, show_default=True, help="Processes on this machine (GPUs, where there are any).")
@click.option("--ray", "ray", metavar="ADDRESS", help="Ray cluster for --devices tasks: auto, HOST:PORT, or local.")
@click.option("--nodes", default=1, show_default=True, help="Machines, each started with the same command (NODE_RANK).")
@trust_option
def command(
    source: Path,
    run: str | None,
    out: Path,
    side: str,
    column: str | None,
    dtype: str,
    shard_rows: int,
    devices: int,
    ray: str | None,
    nodes: int,
) -> None:
    """Encode FILE (.jsonl, .csv, .tsv, .parquet, .txt, or a folder in BEIR layout) into mapped shards of vectors.

    With --side document title and text are read, with --side query the query; --column names another column, or says
    its place (from 0 on) where a table has no header line; ids then stand in column 0.

    The same command again goes on where it was stopped. Several processes or machines share the shards; they are
    started by Lightning, by torchrun or SLURM around this command, or as tasks of a Ray cluster.
    """
    from twotower.model.checkpoint import load
    from twotower.model.shards import Plan, claim

    check_count("--devices", devices)
    check_count("--nodes", nodes)
    plan = Plan(
        source=source.resolve(), folder=out.resolve(), side=side, dtype=dtype, shard_rows=shard_rows, column=column
    )
    folder, path = resolve_model(run)
    checkpoint = load(path)
    check_unchanged(folder, path, checkpoint.sha256)
    claim(checkpoint, plan)
    if ray is None:
        _by_fabric(checkpoint, plan, devices, nodes, out)
    elif nodes > 1:
        raise UserError("--nodes is for machines without Ray; with --ray the cluster knows its machines.")
    else:
        _by_ray(checkpoint, plan, ray, devices, out)


def _by_ray(checkpoint: Checkpoint, plan: Plan, address: str, tasks: int, out: Path) -> None:
    from twotower.model.shards_ray import encode_on_ray

    with _bar(Console(stderr=True), unit="tasks") as bar:
        task = bar.add_task("Encoding on Ray", total=tasks)
        rows = encode_on_ray(
            checkpoint.path.resolve(),
            plan,
            address=address,
            tasks=tasks,
            progress=lambda n: bar.update(task, advance=n),
        )
    _finish(checkpoint, plan, rows, out)


def _by_fabric(checkpoint: Checkpoint, plan: Plan, devices: int, nodes: int, out: Path) -> None:
    from lightning_fabric import Fabric

    from twotower.model.shards import encode_shards

    several = devices * nodes > 1
    fabric = Fabric(accelerator="auto", devices=devices, num_nodes=nodes, strategy="ddp" if several else "auto")
    if several:
        fabric.launch()
    checkpoint.model.to(fabric.device)
    console = Console(stderr=True, quiet=not fabric.is_global_zero)
    with _bar(console) as bar:
        task = bar.add_task("Encoding", total=None)
        rows = encode_shards(
            checkpoint,
            plan,
            rank=fabric.global_rank,
            world_size=fabric.world_size,
            progress=lambda count: bar.update(task, advance=count),
        )
    fabric.barrier()
    if fabric.is_global_zero:
        _finish(checkpoint, plan, rows, out)


def _finish(checkpoint: Checkpoint, plan: Plan, rows: int, out: Path) -> None:
    from twotower.model.shards import complete

    paths = complete(checkpoint, plan, rows)
    width = checkpoint.model.output_dim
    print(f"{rows:,} {plan.side} vectors of {width} x {plan.dtype} in {len(paths)} shards under {out}")


def _bar(console: Any, *, unit: str = "texts") -> Any:
    class Speed(TextColumn):
        """Texts (or tasks) a second so far."""

        def render(self, task: Any) -> Any:
            return Text(f"{task.speed:,.{0 if task.speed > 10 else 1}f} {unit}/s" if task.speed else "", style="cyan")

    columns = [SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), Speed(""), TimeElapsedColumn()]
    return Progress(*columns, console=console)
