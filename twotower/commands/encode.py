"""`twotower encode`: a file of texts to vectors on disk, with a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command(name="encode")
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--run", "run", metavar="RUN", help="Run folder, name, config hash or .pt file (default: newest).")
@click.option("--out", "out", metavar="DIR", required=True, type=click.Path(path_type=Path), help="Where shards go.")
@click.option("--side", default="document", show_default=True, help="document or query: which tower reads.")
@click.option("--dtype", default="float16", show_default=True, help="float16 or float32.")
@click.option("--shard-rows", default=65_536, show_default=True, help="Texts of a shard.")
@click.option("--devices", default=1, show_default=True, help="Processes on this machine (GPUs, where there are any).")
@click.option("--nodes", default=1, show_default=True, help="Machines, each started with the same command (NODE_RANK).")
def command(
    source: Path, run: str | None, out: Path, side: str, dtype: str, shard_rows: int, devices: int, nodes: int
) -> None:
    """Encode FILE (.jsonl, .txt, gzipped or not, or a folder in BEIR layout) into memory-mapped shards of vectors.

    The same command again goes on where it was stopped. Several processes or machines share the shards; they are
    started by Lightning, or by torchrun or SLURM around this command.
    """
    from rich.console import Console

    from twotower.commands.evaluate import _find
    from twotower.model.checkpoint import load
    from twotower.model.shards import Plan, claim, complete, encode_shards

    plan = Plan(source=source, folder=out, side=side, dtype=dtype, shard_rows=shard_rows)
    checkpoint = load(_find(run)[1])
    claim(checkpoint, plan)
    from lightning_fabric import Fabric

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
        paths = complete(checkpoint, plan, rows)
        width = checkpoint.model.output_dim
        print(f"{rows:,} vectors of {width} x {dtype} in {len(paths)} shards under {out}")


def _bar(console: Any) -> Any:
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    class Speed(TextColumn):
        """Texts a second so far."""

        def render(self, task: Any) -> Any:
            from rich.text import Text

            return Text(f"{task.speed:,.0f} texts/s" if task.speed else "", style="cyan")

    columns = [SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), Speed(""), TimeElapsedColumn()]
    return Progress(*columns, console=console)
