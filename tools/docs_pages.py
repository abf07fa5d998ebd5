"""Pages of the documentation that are made from what they describe: the README and the files in conf/."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools.reference import configuration  # noqa: E402 - mkdocs loads this file by its path


def on_files(files: Files, config: Any) -> Files:
    """Adds the overview and the reference of all settings (mkdocs calls this)."""
    files.append(File.generated(config, "index.md", content=overview((ROOT / "README.md").read_text(encoding="utf-8"))))
    files.append(File.generated(config, "configuration.md", content=configuration(ROOT)))
    return files


def overview(readme: str) -> str:
    """Returns the README as a page: links into docs/ become links between pages, others lose their address."""
    page = re.sub(r"\]\(docs/([\w./-]+)\)", r"](\1)", readme)
    return re.sub(r"\[([^\]]+)\]\((?!https?:)(?!(?:howto/)?\w+\.md|img/)[^)]+\)", r"`\1`", page)
