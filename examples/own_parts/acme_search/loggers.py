"""Every logged figure as a line of JSON, for programs that follow a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger


class LinesLogger(Logger):
    """Writes `figures.jsonl`.

    Args:
        save_dir: the folder it is written to.
    """

    def __init__(self, *, save_dir: str) -> None:
        super().__init__()
        self.path = Path(save_dir) / "figures.jsonl"

    @property
    def name(self) -> str:
        """Says what this is."""
        return "lines"

    @property
    def version(self) -> str:
        """There is only one."""
        return "0"

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Leaves the config to `run.json`."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Appends a line."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")
