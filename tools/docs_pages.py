"""Pages of the documentation that are made from what they describe: the README and the files in conf/."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
LINE = re.compile(r"^(?P<indent>\s*)(?P<key>[\w/]+):\s*(?P<value>[^#]*?)\s*(?:#\s*(?P<comment>.*))?$")
LEFT_OUT = ("hydra", "experiment", "debug", "local")
"""Folders of conf/ that are no settings of a run: Hydra's own, named experiments, and what is a user's."""


def on_files(files: Files, config: Any) -> Files:
    """Adds the overview and the reference of all settings (mkdocs calls this)."""
    files.append(File.generated(config, "index.md", content=overview((ROOT / "README.md").read_text(encoding="utf-8"))))
    files.append(File.generated(config, "configuration.md", content=configuration(ROOT / "conf")))
    return files


def overview(readme: str) -> str:
    """Returns the README as a page: links into docs/ become links between pages, others lose their address."""
    page = re.sub(r"\]\(docs/([\w./-]+)\)", r"](\1)", readme)
    return re.sub(r"\[([^\]]+)\]\((?!https?:)(?!(?:howto/)?\w+\.md|img/)[^)]+\)", r"`\1`", page)


def configuration(conf: Path) -> str:
    """Returns every group's choices with their keys, defaults and comments, read from the YAML files."""
    parts = [
        "# Configuration\n",
        "Every setting, with its default, as `conf/` holds it. `group=choice` swaps a whole file, `group.key=value` "
        "changes one setting; `python train.py --cfg job` prints the whole.\n",
    ]
    for group in sorted(path for path in conf.iterdir() if path.is_dir() and path.name not in LEFT_OUT):
        parts.append(f"## {group.name}\n")
        for file in sorted(group.glob("*.yaml")):
            parts.append(_choice(file))
    return "\n".join(parts)


def _choice(file: Path) -> str:
    lines = file.read_text(encoding="utf-8").splitlines()
    intro = " ".join(line.lstrip("# ") for line in lines if line.startswith("#"))
    rows, stack = [], [("", -1)]
    for line in lines:
        match = LINE.match(line)
        if match is None or line.lstrip().startswith(("#", "-")):
            continue
        depth = len(match["indent"])
        while stack[-1][1] >= depth:
            stack.pop()
        full = f"{stack[-1][0]}{match['key']}"
        if match["value"]:
            rows.append(f"| `{full}` | {_code(match['value'])} | {_cell(match['comment'] or '')} |")
        else:
            stack.append((f"{full}.", depth))
    table = "\n".join(["| key | default | what |", "|---|---|---|", *rows]) if rows else ""
    return f"### {file.parent.name}={file.stem}\n\n{_cell(intro)}\n\n{table}\n"


def _code(value: str) -> str:
    return f"`{value}`".replace("|", "\\|")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
