"""`twotower train`, which is `train.py` too: from the command line to training. No torch until then."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
import hydra
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, QuotedString, RangeSweep
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.text import Text

from twotower.config.agents import in_hydras_words, nested_hint
from twotower.config.canonical import current_override
from twotower.config.compose import SEVERAL
from twotower.config.hydra_job import choices, hydra_started, job_config, overrides, tell_of_exact_index
from twotower.config.instantiate import config_hash
from twotower.core.errors import RefusedError, UserError, nearest
from twotower.core.extras import is_extra, missing, missing_plugin
from twotower.core.files import CLOSED_TO_US, NO_ROOM, read_json
from twotower.core.format import train_command, visible
from twotower.core.logging import LogFile
from twotower.core.nested import dotted_keys
from twotower.core.places import conf_dir
from twotower.core.secrets import mask_override, mask_text, refuse_literal_secrets
from twotower.kernels.threads import let_threads_wait, set_aside
from twotower.runs.resume import find_resume
from twotower.sweep.callback import CURRENT
from twotower.sweep.names import job_folder, with_added

SHARED = "base"
"""The file of a group that holds what its choices share; it is no choice itself."""
USUAL_NAMES = {
    **dict.fromkeys(("optimizer.learning_rate", "learning_rate", "lr", "trainer.lr", "model.lr"), "optimizer.lr"),
    **dict.fromkeys(("epochs", "max_epochs", "trainer.epochs", "optimizer.epochs"), "trainer.max_epochs"),
    **dict.fromkeys(("batch_size", "trainer.batch_size", "optimizer.batch_size"), "data.batch_size"),
    **dict.fromkeys(("loss.temp", "temperature", "loss.tau"), "loss.temperature"),
    **dict.fromkeys(("dim", "model.dim", "model.embedding_dim", "embedding.size"), "embedding.dim"),
    **dict.fromkeys(("patience", "trainer.patience"), "callbacks.early_stopping.patience"),
    **dict.fromkeys(("random_seed", "trainer.seed"), "seed"),
}
"""What keys are called elsewhere, and here."""
LEFT_BY_A_REFUSED_RUN = {".hydra", "train.log", "run.json", ".run.lock", "metrics"}
"""All that a run's folder can hold before its training begins."""

COMMAND_LINE: list[str] = []
"""This process's command line before Hydra's part was taken out; Lightning repeats it for the processes of one run."""


class _Verbatim(click.Command):
    """A command that leaves its arguments to another parser, here Hydra's."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Keeps every argument, options included."""
        context.args = list(args)
        return []


@click.command(name="train", cls=_Verbatim, add_help_option=False)
@click.pass_context
def command(context: click.Context) -> None:
    """Train one model, or with -m a sweep: twotower train model=gru data=beir data.path=DIR."""
    main(context.args)


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains what a command line asks for, and ends the process where that fails.

    Args:
        arguments: Hydra's overrides and flags; None takes those of this process.
    """
    COMMAND_LINE[:] = sys.argv
    if arguments is not None:
        sys.argv = [sys.argv[0], *arguments]
    run(hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")(job))


def run(start: Callable[[], Any]) -> None:
    """Calls a Hydra main function; a user's mistake ends as one line with exit code 2, a failed job with 1.

    What belongs to a sweep is added to the command line first, so that every job in every process knows it.
    """
    let_threads_wait()
    logging.raiseExceptions = False  # a log line that a full disk refuses is lost without a traceback of its own
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra would print the error itself, and exit with 1
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as `nohup` has it
        signal.signal(signal.SIGHUP, _interrupt)
    typed, stopped = [current_override(text) for text in sys.argv[1:]], False
    message, code = "", 0
    try:
        refuse_literal_secrets({}, typed)
        refuse_odd_choices(typed)
        sys.argv[1:] = with_added(in_hydras_words(typed))
        start()
    except (UserError, RefusedError) as error:
        message, code = str(error), 2
    except (HydraException, OmegaConfBaseException) as error:
        message, code = nested_hint(typed) or explain(error), 2
    except OSError as error:
        if not (message := closed_to_us(error) or ""):
            _end_sweep(typed, stopped)
            raise
        code = 2
    except ModuleNotFoundError as error:
        if not is_extra(error.name):
            _end_sweep(typed, stopped)
            raise
        message, code = str(missing("This", str(error.name))), 2
    except KeyboardInterrupt:
        message, code, stopped = "stopped; `ckpt_path=last` goes on from the last finished epoch", 130, True
    except Exception as error:
        ended = _end_sweep(typed, stopped)
        if "No trials are completed" in str(error) and ended:
            sys.exit(ended)  # Optuna looks for the best of none; the failures have just been named
        raise
    ended = _end_sweep(typed, stopped)
    if code and not (stopped and ended):
        _tell(message)
    _exit(code or ended)


def _end_sweep(typed: list[str], stopped: bool) -> int:
    """Ends the sweep this process leads, if it leads one, and returns its exit code."""
    if not CURRENT:
        return 0
    from twotower.sweep.session import end

    return end(CURRENT.pop(), typed, stopped=stopped)


def refuse_odd_choices(typed: list[str]) -> None:
    """Refuses a number or a mapping as the choice of a config group, which Hydra answers with a traceback.

    And `paths.run`, which follows Hydra's folder: set by hand it would part a run's files between two folders.

    Raises:
        UserError: naming the group and its choices, or what to set instead.
    """
    for override in typed:
        if re.match(r"[+~]*paths\b", override):
            raise UserError(
                f"{override}: a run's folder is set by hydra.run.dir=DIR, a sweep's by hydra.sweep.dir=DIR."
            )
        group, equals, value = override.partition("=")
        if equals and not group.strip("+~ "):
            raise UserError(f"{override} names no setting; settings are written key=value.")
        folder = conf_dir() / group
        if not equals or not re.fullmatch(r"[a-z_]+", group) or not folder.is_dir():
            continue
        several = group in SEVERAL
        if value.strip() == SHARED or any(not _is_choice(item, several) for item in _listed(override)):
            names = sorted(path.stem for path in folder.glob("*.yaml") if path.stem != SHARED)
            nothing = f" For none: {group}=none." if "none" in names else f" To choose none, leave {group} out."
            nothing = nothing if "null" in value else ""
            number = "some" if several else "one"
            hint = f"{group} is a group of settings; choose {number} of: {', '.join(names)}.{nothing}"
            raise UserError(f"{override}: {hint}")


def _listed(override: str) -> list[Any]:
    """Returns the value of an override, or all of them where it lists several; none where Hydra reads it otherwise."""
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException:
        return []  # which says so itself
    value = parsed.value()
    if isinstance(value, ChoiceSweep):
        return list(value.list)
    if isinstance(value, RangeSweep):
        return [value.start]
    return [] if parsed.is_sweep_override() else [value]


def _is_choice(value: Any, several: bool) -> bool:
    items = value if isinstance(value, list) and several else [value]
    return all(isinstance(item, (str, QuotedString)) and item != SHARED for item in items)


def explain(error: Exception) -> str:
    """Turns an error of Hydra or OmegaConf into one line that names the key and the nearest valid one."""
    if isinstance(error, OverrideParseException):
        key, equals, _ = error.override.partition("=")
        typed = error.override if len(error.override) <= 80 else f"{error.override[:77]}..."
        remedy = f"quote a value with signs of its own: '{key}=\"...\"'"
        if not equals or not re.fullmatch(r"[+~]*[\w./@-]*\w", key):
            remedy = "settings are written key=value, without blanks"
        return f"{mask_override(typed)} can't be read; {remedy}."
    text = " ".join(str(error.__cause__ or error).split())
    lines = " ".join(str(error).split())
    if match := re.search(r"Could not override '([^']+)'\. No match", lines):
        return f"No config group '{match.group(1)}'."
    if match := re.search(r"Could not override '([^']+)'", lines):
        key = match.group(1)
        return f"No config key '{key}'.{_nearest_key(key)} `{train_command()} --cfg job` shows them all."
    if match := re.search(r"In '([^']+)/([^'/]+)'.*?Could not (?:find|load) '([^']+)'", lines):  # built on a plugin's
        name = match.group(3) if "/" in match.group(3) else f"{match.group(1)}/{match.group(3)}"
        # "In 'hydra/config'": the launcher was asked for by Hydra's own name
        asked = name.rsplit("/", 1) if match.group(1) == "hydra" else match.group(1, 2)
        if plugin := missing_plugin(name, "=".join(asked)):
            return str(plugin)
    options = r"Could not find '([^']+)'\s*Available options in '([^']+)':\s*(.*?)\s*(?:Config search|$)"
    if match := re.search(options, lines):
        group, names = match.group(2), [name for name in match.group(3).split() if name != SHARED]
        choice = match.group(1).split("/")[-1]
        if plugin := missing_plugin(f"{group}/{choice}", group):
            return str(plugin)
        return f"No {group}={choice}; there are: {', '.join(names)}.{nearest(choice, names)}"
    if match := re.search(r"Could not load '([^']+)/([^'/]+)'", lines):  # one of several, as in index=[exact,redis]
        group, choice = match.groups()
        names = sorted(path.stem for path in (conf_dir() / group).glob("*.yaml") if path.stem != SHARED)
        return f"No {group}={choice}; there are: {', '.join(names)}.{nearest(choice, names)}"
    return text or lines


def _nearest_key(key: str) -> str:
    with hydra_started():
        config = OmegaConf.to_container(compose("train"), resolve=False)
    assert isinstance(config, dict)
    names = list(dotted_keys(config))
    if key in names:
        group = key.partition(".")[0]
        return f" The default choice of {group} has it; the one chosen here has not."
    if key in USUAL_NAMES:
        return f" Did you mean '{USUAL_NAMES[key]}'?"
    hint = nearest(key, names)
    if not hint:
        tails = {name.rsplit(".", 1)[-1]: name for name in reversed(names)}
        close = nearest(key.rsplit(".", 1)[-1], tails)
        hint = re.sub(r"'(.+)'", lambda match: f"'{tails[match.group(1)]}'", close) if close else ""
    return hint


def job(config: DictConfig) -> float | None:
    """Runs one training job for a composed config and returns its objective.

    Args:
        config: what Hydra composed; its run folder comes from Hydra's own runtime.
    """
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        from twotower.cli.sweep_job import launched_job

        return launched_job(config)
    try:
        return _single(config)
    except UserError as error:
        raise RefusedError(str(error)) from error
    except OSError as error:
        if message := closed_to_us(error):
            raise RefusedError(message) from error
        raise


def closed_to_us(error: OSError) -> str | None:
    """Returns an error of the file system that the user can do something about as one line; None for others."""
    if error.errno in NO_ROOM and error.filename is None:
        return f"Cannot write: {error.strerror}. Free space or choose other folders (hydra.run.dir, TWOTOWER_CACHE)."
    if error.errno not in CLOSED_TO_US or error.filename is None:
        return None
    return f"Cannot write {error.filename}: {error.strerror}. Choose a folder you can write."


def run_folder(config: DictConfig) -> tuple[Path, Path | None]:
    """Returns the folder of the job at hand, and the checkpoint it goes on from where `ckpt_path` asks for that.

    A run that goes on in an earlier folder has that in its config too.

    Raises:
        UserError: when there is nothing to go on from.
    """
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    if config.ckpt_path is None:
        return run_dir, None

    earlier, resume = find_resume(config.ckpt_path, run_dir, config_hash(job_config(config)))
    _move(config, run_dir, earlier)
    return earlier, resume


def _single(config: DictConfig) -> float:
    if COMMAND_LINE:
        sys.argv = list(COMMAND_LINE)
    with nothing_left_if_refused():
        run_dir, resume = run_folder(config)
        settings = job_config(config)
        tell_of_exact_index(settings)
        with set_aside("twotower.training.train"):
            from twotower.training.train import train

        return train(settings, run_dir=run_dir, overrides=overrides(), choices=choices(), resume=resume)


@contextmanager
def nothing_left_if_refused() -> Iterator[None]:
    """Removes the job's new folder where a mistake of the user's ends it before its training began."""
    new_dir = Path(HydraConfig.get().runtime.output_dir)
    try:
        yield
    except UserError:
        _leave_nothing(new_dir)
        raise


def _leave_nothing(run_dir: Path) -> None:
    """Removes the folder of a run that was refused before its training began, unless W&B shows it or it was resumed."""
    try:
        record = read_json(run_dir / "run.json") if (run_dir / "run.json").exists() else {}
        if record.get("precision") or record.get("history") or (record.get("wandb") or {}).get("run_id"):
            return
    except (UserError, AttributeError):
        return
    if not run_dir.is_dir() or {item.name for item in run_dir.iterdir()} - LEFT_BY_A_REFUSED_RUN:
        return  # somebody's own folder, given as hydra.run.dir
    shutil.rmtree(run_dir, ignore_errors=True)
    for parent in run_dir.absolute().parents[:2]:  # outputs/<date> and outputs, where this was their only run
        if parent.is_relative_to(Path.cwd() / "outputs"):
            with suppress(OSError):
                parent.rmdir()


def _move(config: DictConfig, new_dir: Path, run_dir: Path) -> None:
    """Goes on in an earlier run's folder: its log grows, and the folder Hydra made for this start goes away."""
    if run_dir.resolve() == new_dir.resolve():
        return
    OmegaConf.update(config, "paths.run", str(run_dir))
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogFile):
            handler.close()
            handler.baseFilename = str(run_dir / "train.log")
    shutil.rmtree(new_dir)


SIGNALS: list[int] = []
"""The signal that asked this process to end, if one did."""


def _interrupt(number: int, *_: Any) -> None:
    SIGNALS.append(number)
    raise KeyboardInterrupt


def _exit(code: int) -> None:
    """Ends the program; one asked to end by a signal ends by it, so that whoever sent it (W&B, SLURM) sees no fault."""
    if SIGNALS:
        logging.shutdown()
        sys.stdout.flush()
        signal.signal(SIGNALS[0], signal.SIG_DFL)
        os.kill(os.getpid(), SIGNALS[0])
    if code:
        sys.exit(code)


def _tell(message: str) -> None:
    name = "twotower train" if COMMAND_LINE[1:2] == ["train"] else "train.py"
    Console(stderr=True, soft_wrap=True).print(Text(f"{name}: {visible(mask_text(message))}", style="red"))


OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)
