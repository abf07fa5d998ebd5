"""Where a config from a file may write: loggers and indexes below the run's folder alone.

The rest, a tracking server or a database that others share, the person at the keyboard has to name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from twotower.core.errors import UserError
from twotower.core.named_places import on_this_machine
from twotower.core.nested import is_below

LOGGER_KEYS = (
    *("save_dir", "name", "version", "sub_dir", "prefix", "flush_logs_every_n_steps", "default_hp_metric"),
    *("project", "entity", "group", "job_type", "tags", "notes", "offline", "mode", "log_model", "log_artifacts"),
    *("experiment_name", "run_name", "tracking_uri", "artifact_location"),
    *("workspace", "online", "offline_directory"),
    *("repo", "experiment", "system_tracking_interval"),
)
"""What a config from a file may set of our loggers; the rest reaches far (`settings` of W&B, `log_dir`)."""
FOLDERS = ("save_dir", "offline_directory", "repo")
"""Settings of loggers that name a folder, never an address."""
PLACES = (*FOLDERS, "tracking_uri", "artifact_location")
"""Settings of loggers that say where they write: from a file, below the run's folder alone."""
OUTSIDE = "would write outside the run folder; say so yourself:"
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
"""What the address of something else than a file begins with."""
FILE_NAMES = ("name", "version", "sub_dir")
"""Settings of loggers that become parts of a path."""


def check_logger(
    node: Mapping[str, Any], key: str, source: Any, run_dir: Path, composed: Collection[str], *, theirs: bool = False
) -> None:
    """Refuses settings of a logger that write elsewhere, or reach further than a file may.

    Args:
        node: the logger's settings.
        key: their dotted key.
        source: the file, for the message.
        run_dir: the folder that the run writes to.
        composed: dotted keys that came from the command line, not from the file.
        theirs: whether it is a logger of a trusted package, whose settings have names of their own: numbers and places
            in the run's folder are taken.

    Raises:
        UserError: naming the setting.
    """
    for name, value in node.items():
        full = f"{key}.{name}"
        if name == "_target_" or is_below(full, composed) or value is None:
            continue
        if name not in LOGGER_KEYS and not (theirs and _reaches_nowhere(value, run_dir)):
            raise UserError(f"{source}: {full} is not taken from a file; give it on the command line: {full}=...")
        outside = name in PLACES and not _is_inside(str(value), run_dir, address=name not in FOLDERS)
        if outside and name == "tracking_uri" and value == os.environ.get("MLFLOW_TRACKING_URI"):
            continue
        away = isinstance(value, str) and (Path(value).name != value or value == "..")
        if outside or (name in FILE_NAMES and away):
            raise UserError(f"{source}: {full}={value} {OUTSIDE} {full}=...")


def check_index(node: Mapping[str, Any], key: str, source: Any, run_dir: Path, composed: Collection[str]) -> None:
    """Refuses an index on a server or in a database outside the run's folder; arguments as in `check_logger`.

    Of the server that the environment names, or this machine's, a file may not choose the alias either: exporting under
    it would replace what others search by it.

    Raises:
        UserError: naming it.
    """
    uri, url = node.get("uri"), node.get("url")
    elsewhere = uri is not None and not _is_inside(str(uri), run_dir)
    shared = elsewhere or not str(node.get("_target_")).endswith(".LanceIndex")  # Lance's is a file of the run
    outside = {
        "uri": elsewhere,
        "url": url not in (None, os.environ.get("REDIS_URL")) and not on_this_machine(str(url)),
        "index_name": shared and node.get("index_name") is not None,
    }
    for name, is_outside in outside.items():
        if is_outside and not is_below(f"{key}.{name}", composed):
            raise UserError(f"{source}: {key}.{name}={node[name]} {OUTSIDE} {key}.{name}=...")


def _reaches_nowhere(value: Any, run_dir: Path) -> bool:
    """Says whether a setting nobody here knows is without text, but for places below the run's folder."""
    if isinstance(value, Mapping):
        return "_target_" not in value and all(_reaches_nowhere(item, run_dir) for item in value.values())
    if isinstance(value, (list, tuple)):
        return all(_reaches_nowhere(item, run_dir) for item in value)
    return not isinstance(value, str) or _is_inside(value, run_dir, address=False)


def _is_inside(place: str, folder: Path, *, address: bool = True) -> bool:
    """Says whether a path, or the address of a file (sqlite:///FILE) where one may stand, lies below a folder."""
    path = re.sub(r"^(sqlite:///|file://(?=/)|file:(?!//))", "", place) if address else place
    read = unquote(path)
    if SCHEME.match(path) or path.startswith("~") or (path != place and re.search(r"[?#]", path)):
        return False  # an address that can't be read as one of a file, or whose path ends before its text does
    if read != path and (".." in Path(read).parts or unquote(read) != read):
        return False  # MLflow and others read "%2e%2e" as ".."
    return Path(path).resolve().is_relative_to(folder.resolve())
