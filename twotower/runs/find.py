"""From what a user writes on the command line to one run: a folder, its run.json, a run's name or a config hash."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from twotower.core.errors import UserError, nearest
from twotower.core.format import train_command
from twotower.runs.ledger import Ledger, load
from twotower.runs.run import Run, read_run
from twotower.runs.schema import FILE_NAME


def find_run(text: str, folders: Sequence[str | Path] = ()) -> Run:
    """Returns the one run that `text` means.

    Args:
        text: a run folder or any file in it, else a run name, the start of a config hash, or the end of a folder's
            path, looked for in the ledger.
        folders: where to look (default: outputs/ and multirun/).

    Raises:
        UserError: when nothing, more than one run, or an unreadable record is meant.
    """
    path = Path(text)
    for folder in (path, *path.parents) if path.exists() else ():
        if (folder / FILE_NAME).is_file():
            return _readable(read_run(folder))
    runs = load(*folders)
    parts = Path(text).parts
    matches = [
        run
        for run in runs
        if run.name == text or run.path.parts[-len(parts) :] == parts or run.record.get("config_hash") == text
    ] or [run for run in runs if len(text) >= 4 and str(run.record.get("config_hash", "")).startswith(text)]
    if len(matches) > 1:
        places = ", ".join(str(run.path) for run in matches[:4])
        more = f" and {len(matches) - 4} more" if len(matches) > 4 else ""
        raise UserError(f"'{text}' names {len(matches)} runs: {places}{more}. Give the folder.")
    if not matches:
        names = [name for run in runs for name in (run.name, str(run.path))]
        raise UserError(f"No run '{text}': give a run folder, a run name or a config hash.{nearest(text, names)}")
    return _readable(matches[0])


def find_runs(texts: Sequence[str], folders: Sequence[str | Path] = ()) -> Ledger:
    """Returns the runs that several texts mean, in their order; the same run twice is refused.

    Raises:
        UserError: as `find_run`, and for a run named twice.
    """
    runs = Ledger(find_run(text, folders) for text in texts)
    places = [run.path.resolve() for run in runs]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise UserError(f"{runs[number].path} is named twice; a run differs in nothing from itself.")
    return runs


def _readable(run: Run) -> Run:
    if run.problem:
        raise UserError(f"{run.path / FILE_NAME}: {run.problem}.")
    return run


def find_newest_run(folders: Sequence[str | Path] = ()) -> Path:
    """Returns the folder of the run that ended last (finished, at chance or collapsed).

    Args:
        folders: where to look (default: outputs/ and multirun/).

    Raises:
        UserError: when no run has finished.
    """
    runs = load(*folders).ended
    if not runs:
        raise UserError(f"No finished run here yet: train one with `{train_command()}`, or name a folder with --run.")
    return min(runs, key=lambda run: run.age).path


def resolve_run(text: str | None) -> Path:
    """Returns the folder of the run a user named (folder, run name or config hash), or of the newest finished one."""
    return find_newest_run() if text is None else find_run(text).path


def resolve_model(text: str | None) -> tuple[Path | None, Path]:
    """Returns (run folder, None outside of any; exported model) for a .pt file, or a run as `resolve_run` finds it."""
    path = Path(text or "")
    if path.suffix != ".pt":
        folder = resolve_run(text)
        return folder, find_checkpoint(folder)
    folder = path.parent.parent
    return (folder if (folder / FILE_NAME).is_file() else None), path


def exported_models(run_dir: Path) -> list[Path]:
    """Returns a run's exported models, the newest last."""
    models = (run_dir / "checkpoints").glob("two_tower_best_*.pt")
    return sorted(models, key=lambda path: path.stat().st_mtime_ns)


def find_checkpoint(run_dir: str | Path) -> Path:
    """Returns the newest exported model of a run folder.

    Raises:
        UserError: when the folder holds none, saying what it does hold.
    """
    run_dir = Path(run_dir)
    models = exported_models(run_dir)
    if not models:
        hint = (
            "the run has not finished"
            if (run_dir / FILE_NAME).is_file()
            else f"this is not a run folder (no {FILE_NAME})"
        )
        raise UserError(f"No exported model in {run_dir}/checkpoints: {hint}.")
    return models[-1]


def check_unchanged(folder: Path | None, path: Path, sha256: str) -> None:
    """Refuses a model in a run's folder that is not the one its record tells of; without a record all is fine.

    Args:
        folder: the run's folder, or None for a model outside of any.
        path: the model's file.
        sha256: of its content, as it was read.

    Raises:
        UserError: when the record names the file with another sha256.
    """
    if folder is None or not (folder / FILE_NAME).is_file():
        return
    for item in read_run(folder).record.get("artefacts") or []:
        if (folder / str(item.get("path"))).resolve() == path.resolve() and item.get("sha256") not in (None, sha256):
            raise UserError(
                f"{path} is not the model that {folder / FILE_NAME} tells of (sha256 {sha256[:12]} instead of "
                f"{str(item['sha256'])[:12]}): changed after the run. `twotower evaluate` and `encode` take a copy of "
                "it in another folder, by --run COPY.pt; `twotower index` needs the run's own model: train it again."
            )
