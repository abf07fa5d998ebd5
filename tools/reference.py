"""The reference of all settings: what the files of conf/ hold, and what else the parts they name understand.

It reads files only, so that it runs wherever the pages are built, without torch and without twotower installed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

LEFT_OUT = ("hydra", "experiment", "debug", "local")
"""Folders of conf/ that are no settings of a run: Hydra's own, named experiments, and what is a user's."""
OURS = ("twotower.", "hydra_plugins.")
GIVEN = {"model": None, "logger": None, "index": {"name"}, "optimizer": {"betas"}, "scheduler": {"warmup"}}
"""Arguments that are no settings (given by the framework, or set by other keys); None: all that no file names."""
PARTS = (ast.ClassDef, ast.FunctionDef)
COMMENT = re.compile(r"\s*#\s?(?P<words>.*)$")
ARGUMENT = re.compile(r"^\s{4,12}(?P<name>\w+): (?P<words>.*)$")


@dataclass(frozen=True)
class Row:
    """A setting: its key under the group, its default as the file writes it, what the comment beside it says."""

    key: str
    default: str
    words: str


def configuration(root: Path) -> str:
    """Returns the page: the keys above all groups, then every group's choices.

    Args:
        root: the folder that holds conf/ and the packages.
    """
    conf = root / "conf"
    parts = [
        "# Configuration\n",
        "Every setting, with its default, as `conf/` holds it. `group=choice` swaps a whole file, `group.key=value` "
        "changes one setting; `python train.py --cfg job` prints the whole.\n",
        "## Above all groups\n",
        table([row for row in rows(conf / "train.yaml") if row.key.partition(".")[0] != "hydra"]),
    ]
    for group in sorted(path for path in conf.iterdir() if path.is_dir() and path.name not in LEFT_OUT):
        parts.append(f"## {group.name}\n")
        parts += [_choice(file, root) for file in sorted(group.glob("*.yaml"))]
    return "\n".join(parts)


def rows(file: Path) -> list[Row]:
    """Returns every key of a YAML file, those within others by dotted names, with the comment beside it."""
    text = file.read_text(encoding="utf-8")
    node = yaml.compose(text)
    return list(_walk(node, "", text.splitlines())) if isinstance(node, yaml.MappingNode) else []


def _walk(node: yaml.MappingNode, before: str, lines: list[str]) -> Iterator[Row]:
    for key, value in node.value:
        name = f"{before}{key.value}"
        inner = isinstance(value, yaml.MappingNode) and bool(value.value)
        if name == "defaults":
            continue
        row = Row(name, "" if inner else _written(value, lines), _comment(key, value, lines))
        if row.words or not inner:
            yield row
        if inner:
            yield from _walk(value, f"{name}.", lines)


def _written(value: yaml.Node, lines: list[str]) -> str:
    """Returns a value as the file writes it; a list of lines in one."""
    if isinstance(value, yaml.SequenceNode) and not value.flow_style:
        return f"[{', '.join(_written(item, lines) for item in value.value)}]"
    start, end = value.start_mark, value.end_mark
    return " ".join(line.strip() for line in start.buffer[start.pointer : end.pointer].splitlines()).strip("\0 ")


def _comment(key: yaml.Node, value: yaml.Node, lines: list[str]) -> str:
    """Returns the words behind a key, and those that go on below them in the same column."""
    flat = isinstance(value, yaml.ScalarNode) or bool(getattr(value, "flow_style", False))
    mark = value.end_mark if flat and value.end_mark.line == key.start_mark.line else key.end_mark
    first = COMMENT.match(lines[mark.line][mark.column :].lstrip(":")) if mark.line < len(lines) else None
    if first is None:
        return ""
    column, words = lines[mark.line].rindex("#" + first[0].partition("#")[2]), [first["words"]]
    for line in lines[mark.line + 1 :]:
        if not line.strip().startswith("#") or line.index("#") != column:
            break
        words.append(line.strip().lstrip("# "))
    return " ".join(words).strip()


def _choice(file: Path, root: Path) -> str:
    group = file.parent.name
    text = file.read_text(encoding="utf-8")
    intro = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#") and "@package" not in line)
    content = yaml.safe_load(text) or {}
    taken = [item if isinstance(item, str) else "" for item in content.get("defaults", [])]
    choices = ", ".join(f"`{group}={name}`" for name in taken if name and name != "_self_")
    known = rows(file)
    further = [row for row in _further(known, group, root) if row.key not in {row.key for row in known}]
    parts = [f"### {group}={file.stem}\n", f"{cell(intro)}\n"]
    parts += [f"It begins with {choices}.\n"] if choices else []
    parts += [f"{table(known)}\n"] if known else []
    parts += [f"It also understands (`+{group}.KEY=...`):\n", f"{table(further)}\n"] if further else []
    return "\n".join(parts)


def _further(known: list[Row], group: str, root: Path) -> Iterator[Row]:
    """Yields the arguments of a choice's parts, by their signatures, that its file doesn't name."""
    given = GIVEN.get(group, set())
    for row in known if given is not None else ():
        if row.key.endswith("_target_") and row.default.startswith(OURS):
            before = row.key.removesuffix("_target_")
            arguments = signature(row.default, root)
            yield from (Row(before + item.key, item.default, item.words) for item in arguments if item.key not in given)


@cache
def signature(target: str, root: Path) -> tuple[Row, ...]:
    """Returns the arguments with a default of a function or class, read from its source, with its docstring's words.

    Args:
        target: its dotted address.
        root: the folder that holds the packages.
    """
    module, _, name = target.rpartition(".")
    place = root.joinpath(*module.split("."))
    file = place.with_suffix(".py") if place.with_suffix(".py").is_file() else place / "__init__.py"
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = next((item for item in ast.walk(tree) if isinstance(item, PARTS) and item.name == name), None)
    if found is None:  # it is defined elsewhere and only imported here
        lines = (item for item in ast.walk(tree) if isinstance(item, ast.ImportFrom))
        source = next(item.module for item in lines if name in [alias.name for alias in item.names])
        return signature(f"{source}.{name}", root)
    called: ast.AST | None = found
    if isinstance(found, ast.ClassDef):
        called = next((item for item in found.body if getattr(item, "name", "") == "__init__"), None)
    if not isinstance(called, ast.FunctionDef):
        return ()
    words = _argument_words(f"{ast.get_docstring(found, clean=False)}\n{ast.get_docstring(called, clean=False)}")
    usual, keyword = called.args.args, called.args.kwonlyargs
    pairs = [*zip(usual[len(usual) - len(called.args.defaults) :], called.args.defaults, strict=True)]
    pairs += [(item, value) for item, value in zip(keyword, called.args.kw_defaults, strict=True) if value is not None]
    return tuple(Row(item.arg, _as_yaml(ast.unparse(value)), words.get(item.arg, "")) for item, value in pairs)


def _argument_words(docstring: str) -> dict[str, str]:
    words: dict[str, str] = {}
    last = ""
    for line in docstring.splitlines():
        match = ARGUMENT.match(line)
        if match:
            last = match["name"]
            words[last] = match["words"]
        elif last and line.strip() and line.startswith(" " * 8):
            words[last] += f" {line.strip()}"
        else:
            last = ""
    return words


def _as_yaml(value: str) -> str:
    return {"None": "null", "True": "true", "False": "false"}.get(value, value.strip("'"))


def table(settings: list[Row]) -> str:
    """Returns settings as a Markdown table."""
    lines = [f"| `{row.key}` | {_code(row.default)} | {cell(row.words)} |" for row in settings]
    return "\n".join(["| key | default | what |", "|---|---|---|", *lines, ""])


def _code(value: str) -> str:
    return f"`{value}`".replace("|", "\\|") if value else ""


def cell(text: str) -> str:
    """Returns a text as it can stand in a Markdown table."""
    return text.replace("|", "\\|").replace("<", "&lt;")
