"""The checkpoint analysis: every exported model in a folder with its scores, wherever these are written down.

Scores come from the run's record, else from the `training_history_*.json` beside the file, else from the file itself.
That covers checkpoints of the old layout too: a .pt dict with `training_stats`, or without some of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twotower.core.archive import read_archive
from twotower.core.errors import UserError, nearest
from twotower.runs.run import Run, read_run
from twotower.runs.schema import FILE_NAME

COLUMNS = ("mrr", "recall_1", "recall_5", "recall_10")
"""Metrics of the table, by their canonical names."""

_NAME = re.compile(r"^two_tower_(?:best_|final_|epoch_\d+_)?(?P<name>.*?)_?(?P<stamp>\d{8}_\d{6})?$")


@dataclass(frozen=True, kw_only=True)
class CheckpointFile:
    """One exported model.

    `metrics` are by canonical name without protocol (`mrr_10`), `source` says where they were read (record, history,
    checkpoint), `problem` why there are none.
    """

    path: Path
    bytes: int
    modified: float
    metrics: dict[str, float]
    source: str | None
    history: Path | None
    sweep: str | None
    epoch: int | None
    problem: str | None = None


def list_checkpoints(folder: str | Path, *, open_files: bool = True) -> list[CheckpointFile]:
    """Returns every .pt file under a folder, in the order of their paths.

    Args:
        folder: any folder, searched to the bottom; one file is fine too.
        open_files: reads a file itself where nothing beside it tells its scores (this needs torch, imported then).

    Raises:
        UserError: when there is no such folder, or no .pt file in it.
    """
    folder = Path(folder)
    if not folder.exists():
        raise UserError(f"No folder {folder} to look for checkpoints in.")
    paths = [folder] if folder.is_file() else sorted(path for path in folder.rglob("*.pt") if path.is_file())
    if not paths:
        raise UserError(
            f"No .pt file under {folder}; exported models are <run folder>/checkpoints/two_tower_best_*.pt."
        )
    runs: dict[Path, Run | None] = {}
    return [_describe(path, runs, open_files) for path in paths]


def ranked(files: list[CheckpointFile], metric: str = "mrr") -> list[CheckpointFile]:
    """Returns the files with the best first; those without the metric last, newest first.

    Raises:
        UserError: for a metric that no file has.
    """
    name = canonical(metric)
    known = sorted({key for file in files for key in file.metrics})
    if known and name not in known:
        raise UserError(
            f"No checkpoint has the metric '{metric}'; there are: {', '.join(known)}.{nearest(name, known)}"
        )
    return sorted(files, key=lambda file: (-file.metrics.get(name, float("-inf")), -file.modified))


def canonical(name: str) -> str:
    """Returns a metric's canonical name for any spelling of it (`eval_mrr@10`, `MRR@10`, `full/mrr_10` -> `mrr_10`)."""
    return name.lower().replace("@", "_").rpartition("/")[2].removeprefix("eval_")


def sweep_name(stem: str) -> str | None:
    """Returns the run or sweep name inside a file name (`two_tower_best_vivid-sweep-1_20250620_062217`)."""
    match = _NAME.match(stem)
    return (match["name"] or None) if match else None


def _describe(path: Path, runs: dict[Path, Run | None], open_files: bool) -> CheckpointFile:
    stat = path.stat()
    run_dir = path.parent.parent
    if run_dir not in runs:
        runs[run_dir] = read_run(run_dir) if (run_dir / FILE_NAME).is_file() else None
    history = next((item for item in sorted(path.parent.glob(f"training_history_{path.stem}*.json"))), None)
    metrics: dict[str, float] = {}
    source: str | None = None
    problem: str | None = None
    epoch: int | None = None
    for name, read in _sources(path, runs[run_dir], history, open_files):
        try:
            metrics, epoch = read()
        except UserError as error:
            problem = str(error)
        if metrics:
            source, problem = name, None
            break
    return CheckpointFile(
        path=path,
        bytes=stat.st_size,
        modified=stat.st_mtime,
        metrics=metrics,
        source=source,
        history=history,
        sweep=(runs[run_dir].sweep if runs[run_dir] else None) or sweep_name(path.stem),  # type: ignore[union-attr]
        epoch=epoch,
        problem=problem or (None if metrics else "no scores in it or beside it"),
    )


def _sources(path: Path, run: Run | None, history: Path | None, open_files: bool) -> Iterator[tuple[str, Any]]:
    if run is not None and not run.problem:
        yield "record", lambda: (_of_run(run), run.record.get("best_epoch"))
    if history is not None:
        yield "history", lambda: _of_stats(_read_history(history))
    if open_files:
        yield "checkpoint", lambda: _of_stats(_read_pt(path))


def _of_run(run: Run) -> dict[str, float]:
    protocol = (run.objective or "full/").partition("/")[0]
    mine = {key: score.value for key, score in run.scores.items() if key.startswith(f"{protocol}/")}
    return {key.partition("/")[2]: value for key, value in mine.items()}


def _of_stats(content: Any) -> tuple[dict[str, float], int | None]:
    """Finds scores in a history, or in a checkpoint's dict, whichever of the known keys it has."""
    if not isinstance(content, Mapping):
        return {}, None
    inner = content.get("training_stats")
    stats: Mapping[str, Any] = inner if isinstance(inner, Mapping) else content
    epochs = [item for item in stats.get("evaluation_stats") or [] if isinstance(item, Mapping)]
    scored = [(_numbers(item), item.get("epoch")) for item in epochs]
    best = max(scored, key=lambda pair: pair[0].get("mrr", pair[0].get("mrr_10", -1.0)), default=({}, None))
    epoch = stats.get("best_epoch") or content.get("epoch")
    for candidate in (stats.get("best_metrics"), content.get("eval_results"), stats.get("final_metrics")):
        if numbers := _numbers(candidate):
            return numbers, epoch
    return best[0], best[1] if best[0] else epoch


def _numbers(entry: Any) -> dict[str, float]:
    """Takes the metrics out of a dict: plain numbers, `{value: ...}` entries, or those of a protocol inside."""
    if not isinstance(entry, Mapping):
        return {}
    for protocol in ("full", "rerank"):
        if isinstance(entry.get(protocol), Mapping):
            return _numbers(entry[protocol].get("metrics", entry[protocol]))
    numbers: dict[str, float] = {}
    for key, value in entry.items():
        number = value.get("value") if isinstance(value, Mapping) else value
        name = canonical(str(key))
        if isinstance(number, (int, float)) and re.match(r"(mrr|map|recall|ndcg)(_\d+)?$", name):
            numbers.setdefault(name, float(number))
    return numbers


def _read_history(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path.name} can't be read ({str(error).splitlines()[0]})") from error


def _read_pt(path: Path) -> Any:
    """Reads a .pt without running any code in it."""
    try:
        return read_archive(path)
    except UserError as error:
        raise UserError(str(error).removeprefix(f"{path} ").removeprefix("is ").rstrip(".")) from error
