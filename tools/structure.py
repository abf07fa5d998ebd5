"""Figures of how the package is laid out: `python tools/structure.py [CHECKOUT]`.

Rooms are the folders and the loose modules of `twotower/`. An arrow is an import from one room of another; imports for
type checkers are left out. Upward arrows are as many as run back up in the order of the rooms that has fewest of them.
Reads of the raw config are lines with `config["key"]`, `settings.get(...)` and their like; those at doors (config/, a
room's settings.py, training/train, validate and loggers, cli/, api, sweep/) parse it into what the rooms take.
"""

from __future__ import annotations

import ast
import graphlib
import itertools
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

RAW = re.compile(r'\b(config|cfg|settings)\[["\']|\b(config|cfg|settings)\.get\(')
DOOR = re.compile(r"twotower/(config/|[a-z]+/settings\.py|training/(train|validate|loggers)\.py|cli/|api\.py|sweep/)")
Arrow = tuple[str, str]


def imports(tree: ast.AST) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Gives every import statement that is not for type checkers, and whether it stands in a function."""
    waiting = [(tree, False)]
    while waiting:
        node, inside = waiting.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import | ast.ImportFrom):
                yield child, inside
            waiting.append((child, inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)))


def room(module: str) -> str:
    """Returns the room of a module's dotted name."""
    return module.split(".")[1] if "." in module else module


def ours(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Returns the modules of ours that a statement names."""
    if isinstance(node, ast.ImportFrom):
        whole = node.module == "twotower"
        names = [f"twotower.{item.name}" for item in node.names] if whole else [node.module or ""]
    else:
        names = [item.name for item in node.names]
    return [name for name in names if name.startswith("twotower.")]


def circles(arrows: set[Arrow]) -> list[set[str]]:
    """Returns the sets of rooms of which each leads to all others."""
    nodes = {name for arrow in arrows for name in arrow}
    beyond = {name: {end for start, end in arrows if start == name} for name in nodes}
    for middle, start in itertools.product(nodes, nodes):
        if middle in beyond[start]:
            beyond[start] |= beyond[middle]
    groups = {frozenset(other for other in beyond[name] if name in beyond[other]) for name in nodes}
    return [set(group) for group in groups if group]


def upward(arrows: set[Arrow]) -> int:
    """Returns the fewest arrows without which there is no circle."""
    inside = [arrow for arrow in arrows if any(set(arrow) <= group for group in circles(arrows))]
    for count in range(len(inside) + 1):
        if any(_has_order(arrows - set(left)) for left in itertools.combinations(inside, count)):
            return count
    return len(inside)


def _has_order(arrows: Iterable[Arrow]) -> bool:
    sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    for start, end in arrows:
        sorter.add(start, end)
    try:
        sorter.prepare()
    except graphlib.CycleError:
        return False
    return True


def figures(checkout: Path) -> dict[str, int]:
    """Returns the figures of a checkout by what they count."""
    arrows, inner, lines, raw, deep, longest = set(), 0, 0, 0, 0, 0
    files = sorted((checkout / "twotower").rglob("*.py"))
    for path in files:
        text, name = path.read_text(encoding="utf-8"), path.relative_to(checkout).as_posix()
        tree, home = ast.parse(text), room(name.removesuffix("/__init__.py").removesuffix(".py").replace("/", "."))
        lines += len(text.splitlines())
        reads = sum(bool(RAW.search(line)) for line in text.splitlines())
        raw, deep = raw + reads, deep + (0 if DOOR.match(name) else reads)
        for node, inside in imports(tree):
            inner += inside
            arrows |= {(home, room(module)) for module in ours(node) if room(module) != home}
        sizes = [node.end_lineno - node.lineno + 1 for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]  # type: ignore[operator]
        longest = max([longest, *sizes])
    folders = [path for path in (checkout / "twotower").iterdir() if (path / "__init__.py").is_file()]
    return {
        "folders": len(folders),
        "loose modules": len(list((checkout / "twotower").glob("*.py"))),
        "files": len(files),
        "lines": lines,
        "arrows between rooms": len(arrows),
        "upward arrows": upward(arrows),
        "circles": len(circles(arrows)),
        "imports in functions": inner,
        "reads of the raw config": raw,
        "of these not at a door": deep,
        "lines of the longest function": longest,
    }


if __name__ == "__main__":
    for counted, number in figures(Path(sys.argv[1] if len(sys.argv) > 1 else ".")).items():
        print(f"{number:8,}  {counted}")
