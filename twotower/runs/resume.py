"""Where a run goes on: which checkpoint, and in which folder. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from twotower.core.errors import UserError
from twotower.core.files import read_json, refuse_links_out

ROOTS = ("outputs", "multirun")


def find_resume(ckpt_path: str, run_dir: Path, config_hash: str) -> tuple[Path, Path]:
    """Finds the Lightning checkpoint to go on from and the folder to go on in.

    A run stopped before its end goes on in its own folder. A checkpoint of a finished run, or of another config, only
    gives the weights and the state to start from; the run then has its new folder.

    Args:
        ckpt_path: "last" (this folder's own checkpoint, else the newest unfinished run of the same config), a run
            folder, or a .ckpt file.
        run_dir: the folder the run would have.
        config_hash: `twotower.config.instantiate.config_hash` of the run's config.

    Returns:
        The run folder and the checkpoint.

    Raises:
        UserError: when there is no such checkpoint, or a link leads out of the folder to go on in.
    """
    folder, checkpoint = _found(ckpt_path, run_dir, config_hash)
    refuse_links_out(folder)
    return folder, checkpoint


def _found(ckpt_path: str, run_dir: Path, config_hash: str) -> tuple[Path, Path]:
    if ckpt_path == "last":
        own = last_checkpoint(run_dir)
        if own.is_file():
            return run_dir, own
        return _newest_unfinished(config_hash)
    path = Path(ckpt_path)
    checkpoint = last_checkpoint(path) if path.is_dir() else path
    if not checkpoint.is_file():
        raise UserError(f"ckpt_path={ckpt_path}: there is no {checkpoint}; give a .ckpt file, a run folder, or 'last'.")
    if checkpoint.suffix != ".ckpt":
        raise UserError(f"ckpt_path={ckpt_path} is an exported model; training goes on from a .ckpt file beside it.")
    folder = checkpoint.resolve().parent.parent
    return (folder if _unfinished(folder, config_hash) else run_dir), checkpoint


def last_checkpoint(run_dir: Path) -> Path:
    """Returns where a run folder keeps the state of its last finished epoch."""
    return run_dir / "checkpoints" / "last.ckpt"


def _unfinished(folder: Path, config_hash: str) -> bool:
    path = folder / "run.json"
    if not path.is_file():
        return False
    try:
        record = read_json(path)
    except UserError:
        return False
    return (
        isinstance(record, dict)
        and record.get("config_hash") == config_hash
        and record.get("status")
        in (
            "running",
            "interrupted",
            "failed",
        )
    )


def _newest_unfinished(config_hash: str) -> tuple[Path, Path]:
    unfinished = []
    for root in ROOTS:
        for record in Path(root).glob("**/run.json"):
            folder = record.parent.resolve()
            if last_checkpoint(folder).is_file() and _unfinished(folder, config_hash):
                unfinished.append((last_checkpoint(folder).stat().st_mtime_ns, folder))
    if not unfinished:
        raise UserError(
            "ckpt_path=last: no unfinished run with this very config has a checkpoint under outputs/ or multirun/; "
            "give the run folder instead: ckpt_path=outputs/<date>/<time>."
        )
    folder = max(unfinished)[1]
    return folder, last_checkpoint(folder)
