"""`twotower rerun`: an earlier run once more, or a variation of it."""

from __future__ import annotations

import logging
import shlex
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.logging import RichHandler
from rich.text import Text

from twotower.cli.completion import complete_runs
from twotower.cli.options import config_dir_option, trust_option
from twotower.config.compose import own_choices, searching
from twotower.core.errors import UserError
from twotower.core.format import near, program, train_command
from twotower.data.source import read_collection
from twotower.kernels.threads import set_aside
from twotower.runs.find import exported_models, find_checkpoint, find_run
from twotower.runs.rerun import (
    differing_facts,
    differing_metrics,
    from_export,
    from_run,
    new_config,
    new_folder,
    write_start,
)
from twotower.runs.run import read_run
from twotower.runs.settings import RunSettings
from twotower.text.build import train_tokenizer

if TYPE_CHECKING:
    from twotower.runs.rerun import Recorded


@click.command(name="rerun")
@click.argument("run", shell_complete=complete_runs)
@click.argument("overrides", nargs=-1)
@click.option(
    "--anyway",
    is_flag=True,
    help="Train even if data or vocabulary changed, or the old model is damaged.",
)
@click.option("--check", is_flag=True, help="Only check data and vocabulary; train nothing.")
@config_dir_option
@trust_option
def command(run: str, overrides: tuple[str, ...], anyway: bool, check: bool) -> int:
    """Repeat RUN (folder, run name, config hash, or an exported .pt file) with its config, seed and data.

    Data and vocabulary are compared with the record before any training. At the end weights and metrics are compared:
    they are identical on the same machine with the same versions, or what differs is named (exit code 1).

    OVERRIDES as for train.py (model.dropout=.2, loss=triplet) make it a variation of RUN instead.
    """
    places, own = own_choices(overrides)
    overrides = tuple(own)
    click.get_current_context().with_resource(searching(places))
    recorded = _recorded(run)
    config, _ = new_config(recorded, list(overrides), Path("outputs"))  # a bad override leaves no folder behind
    _one_process(config, [*recorded.overrides, *overrides])
    if not overrides:
        recorded = _comparable(recorded, anyway=anyway)
    notes = _check(recorded, list(overrides), anyway=anyway)
    for note in notes:
        click.secho(f"Note: {note}", fg="yellow", err=True)
    if check:
        if not notes:
            click.echo(f"Data and vocabulary of {recorded.source} are as they were.")
        return 0
    run_dir = new_folder(Path("outputs"))
    config, choices = new_config(recorded, list(overrides), run_dir)
    together = [*recorded.overrides, *overrides]
    write_start(run_dir, config, together, run)
    _log_into(run_dir)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the record says `interrupted`
    _train(recorded, config, choices, run_dir, together, list(overrides))
    return _compare(recorded, run_dir, varied=bool(overrides))


def _one_process(config: dict[str, Any], together: list[str]) -> None:
    if str(config["trainer"].get("strategy", "auto")).startswith("ddp"):
        raise UserError(
            "The run trains in several processes (trainer.strategy=ddp), which start by repeating the command line of "
            f"train.py; repeat it with: {train_command()} {shlex.join(together)}"
        )


def _recorded(text: str) -> Recorded:
    path = Path(text)
    if path.suffix == ".pt" and not (path.parent.parent / "run.json").is_file():
        from twotower.model.checkpoint import load, read

        return from_export(path, read(path), load(path).tokenizer.hash)
    run = find_run(text)
    if not run.record.get("config"):
        raise UserError(f"{run.path} records no config, so it can't be run again.")
    models = [path] if path.suffix == ".pt" else exported_models(run.path)
    return from_run(run, models[-1] if models else None)


def _comparable(recorded: Recorded, *, anyway: bool) -> Recorded:
    """Reads the old model before the training whose end is compared with it; `anyway` goes on without it.

    Raises:
        UserError: when it is damaged, unless `anyway`.
    """
    from twotower.model.checkpoint import read

    if recorded.checkpoint is None:
        return recorded
    try:
        read(recorded.checkpoint)
    except UserError as error:
        if not anyway:
            raise UserError(f"{error} The new run would be compared with it; --anyway trains without.") from error
        return replace(recorded, checkpoint=None)
    return recorded


def _check(recorded: Recorded, overrides: list[str], *, anyway: bool) -> list[str]:
    """Compares data and vocabulary with the record's; returns what to tell the user.

    Raises:
        UserError: for a difference the overrides don't ask for, unless `anyway`.
    """
    from twotower.data.datamodule import vocabulary_texts

    before, settings = (
        RunSettings.parse(item) for item in (recorded.config, new_config(recorded, overrides, Path("outputs"))[0])
    )
    with Console(stderr=True).status("Checking data and vocabulary"):
        try:
            collection = read_collection(settings.data.source or {})
        except UserError as error:
            raise UserError(
                f"The run's data can't be read: {error} (If they moved: rerun ... data.path=WHERE.)"
            ) from error
        tokenizer = train_tokenizer(vocabulary_texts(collection, settings.data.train_split), settings.text)
    asked = {
        "data": settings.data.source != before.data.source,
        "vocabulary": (settings.text, settings.data.train_split) != (before.text, before.data.train_split),
    }
    asked["vocabulary"] = asked["vocabulary"] or asked["data"]
    notes: list[str] = []
    faults: list[str] = []
    pairs = (
        ("data", recorded.fingerprint, collection.fingerprint),
        ("vocabulary", recorded.vocabulary, tokenizer.hash),
    )
    for name, old, new in pairs:
        if old is None:
            notes.append(
                f"{recorded.source} records no fingerprint of its {name}: whether it is the same can't be told."
            )
        elif old != new:
            change = f"{name} of {collection.name} is not what {recorded.source} had (was {old[:12]}, is {new[:12]})"
            (notes if asked[name] or anyway else faults).append(change)
    if faults:
        why = (
            "a document, query or judgement changed" if "data" in faults[0] else "the tokenizer or its settings changed"
        )
        raise UserError(f"{'; '.join(faults)}: {why}. --anyway trains on what is there now.")
    return [f"{note}." if not note.endswith(".") else note for note in notes]


def _log_into(run_dir: Path) -> None:
    """Sends the package's messages to the terminal and to train.log, as a run of `train.py` does."""
    file = logging.FileHandler(run_dir / "train.log", encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    terminal = RichHandler(show_path=False, show_time=False, show_level=False)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[terminal, file], force=True)


def _train(
    recorded: Recorded,
    config: dict[str, Any],
    choices: dict[str, Any],
    run_dir: Path,
    together: list[str],
    overrides: list[str],
) -> None:
    with set_aside("twotower.training.train"):
        import torch

        from twotower.training.train import train

    threads = recorded.facts.get("threads")
    if threads and not config["trainer"].get("threads"):
        torch.set_num_threads(int(threads))  # sums are added in another order by another number of threads
    origin = {
        "path": str(recorded.source),
        "config_hash": recorded.facts.get("config_hash"),
        "overrides": overrides,
        "precision": recorded.facts.get("precision"),
    }
    train(config, run_dir=run_dir, overrides=together, choices=choices, rerun_of=origin)


def _compare(recorded: Recorded, run_dir: Path, *, varied: bool) -> int:
    """Says whether the new run is the old one again, or what differs; returns the exit code."""
    console = Console(soft_wrap=True, highlight=False)
    record = read_run(run_dir).record
    if varied:
        command = f"{program()} compare {shlex.quote(near(run_dir))} {shlex.quote(str(recorded.source))}"
        console.print(Text.assemble("Compare it  ", (command, "bold cyan")))
        return 0
    if recorded.checkpoint is None or not recorded.evaluation:
        console.print(f"{recorded.source} has no whole model or no evaluation: there is nothing to compare with.")
        return 0
    weights = differing_weights(recorded.checkpoint, find_checkpoint(run_dir))
    metrics = differing_metrics(recorded.evaluation, record.get("evaluation") or {})
    facts = differing_facts(recorded.facts, record)
    if not weights and not metrics:
        console.print(f"[bold green]IDENTICAL[/] to {recorded.source}: every weight and every metric.")
        for name, old, new in facts:
            console.print(f"  although {name} was {old}, is {new}", style="dim")
        return 0
    console.print(f"[bold red]NOT IDENTICAL[/] to {recorded.source}:")
    for line in weights:
        console.print(f"  weights  {line}")
    for name, before, after in metrics[:8]:
        console.print(f"  metric   {name} was {before}, is {after}")
    if len(metrics) > 8:
        console.print(f"  and {len(metrics) - 8} more metrics")
    for name, before, after in facts:
        console.print(f"  [bold]because?[/] {name} was {before}, is {after}")
    if not facts:
        console.print(
            "  Data, vocabulary, versions, machine, threads and commit are the same: not a deterministic run."
        )
    return 1


def differing_weights(old: Path, new: Path) -> list[str]:
    """Says in a line each which tensors of two exported models are not equal to the last bit."""
    import torch

    from twotower.model.checkpoint import read

    before, after = (read(path)["model_state_dict"] for path in (old, new))
    lines = []
    for name in dict.fromkeys([*before, *after]):
        left, right = before.get(name), after.get(name)
        if left is None or right is None:
            lines.append(f"{name} is in one of them only")
        elif left.shape != right.shape:
            lines.append(f"{name} had shape {tuple(left.shape)}, has {tuple(right.shape)}")
        elif not torch.equal(left, right):
            lines.append(f"{name} differs by up to {float((left - right).abs().max()):.3g}")
    return lines
