"""Finding the source files of installed packages and the docstrings in them, without importing anything."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import re
import sysconfig
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions, version
from pathlib import Path

from twotower.core.errors import UserError, nearest

STANDARD_LIBRARY = "stdlib"
SKIPPED_FOLDERS = frozenset(
    {"test", "tests", "testing", "idle_test", "site-packages", "dist-packages", "__pycache__", "_vendor", "lib2to3"}
)
MOST_SUMMARY_WORDS = 40
SENTENCE_END = re.compile(r"(?<=[a-z0-9)\]`'\"][.!?])\s+(?=[A-Z`*:\[(])")
WORD_BREAK = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})|[._]+")


@dataclass(frozen=True, kw_only=True)
class Docstring:
    """One documented function or class: dotted names, the first sentence, and what follows it."""

    module: str
    name: str
    kind: str
    summary: str
    rest: str


@dataclass(frozen=True, kw_only=True)
class Package:
    """An installed package: the name in the config, its version, and its files with the module each one is."""

    name: str
    version: str
    files: list[tuple[str, Path]]


def find_package(name: str) -> Package:
    """Finds an installed package, or the standard library by the name "stdlib".

    Raises:
        UserError: when it is not installed, or has no Python source.
    """
    if name == STANDARD_LIBRARY:
        root = Path(sysconfig.get_paths()["stdlib"])
        return Package(name=name, version=sysconfig.get_python_version(), files=_modules(root, ""))
    if not name.isidentifier():
        raise UserError(f"data.source.packages: '{name}' is not the name of a package as one would import it.")
    spec = importlib.util.find_spec(name)  # for a name without dots this looks, and does not import
    roots = list(spec.submodule_search_locations or []) if spec else []
    if not roots and spec and spec.origin and spec.origin.endswith(".py"):
        return Package(name=name, version=_version(name), files=[(name, Path(spec.origin))])
    if not roots:
        known = [*_distributions(), STANDARD_LIBRARY]
        raise UserError(f"data.source.packages: '{name}' is not installed; install or drop it.{nearest(name, known)}")
    return Package(name=name, version=_version(name), files=_modules(Path(roots[0]), name))


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(packages_distributions())


def _version(name: str) -> str:
    with suppress(PackageNotFoundError):
        namesake = distribution(name)  # looking through every package that is installed takes a third of a second
        if _holds(namesake, name):
            return namesake.version
    try:
        return version(_distributions().get(name, [name])[0])
    except PackageNotFoundError:
        return "unknown"


def _holds(installed: Distribution, name: str) -> bool:
    """Says whether a package of this name is among what was installed together."""
    listed = (installed.read_text("top_level.txt") or "").split()
    files = "" if listed else installed.read_text("RECORD") or ""
    return name in listed or re.search(rf"^{name}(/|\.py,)", files, re.MULTILINE) is not None


def _modules(root: Path, package: str) -> list[tuple[str, Path]]:
    modules = []
    for parts in sorted(_source_files(root)):
        names = [package, *parts] if package else list(parts)
        names[-1] = names[-1].removesuffix(".py")
        module = ".".join(names[:-1] if names[-1] == "__init__" and len(names) > 1 else names)
        modules.append((module, root.joinpath(*parts)))
    return modules


def _source_files(root: Path) -> Iterator[tuple[str, ...]]:
    """Yields the parts of every source file's path below a root, without looking into folders that are skipped."""
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
        parts = Path(folder).relative_to(root).parts
        yield from ((*parts, name) for name in names if name.endswith(".py") and not name.startswith("test_"))


def read_docstrings(module: str, path: Path) -> Iterator[Docstring]:
    """Yields the documented functions, classes and methods of a file; one that Python can't parse has none."""
    try:
        source = path.read_bytes()
        if b'"""' not in source and b"'''" not in source:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes and the like in other people's code
            tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    yield from _walk(tree, module, module)


def _walk(node: ast.AST, module: str, prefix: str) -> Iterator[Docstring]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            name = f"{prefix}.{child.name}"
            text = ast.get_docstring(child, clean=False)
            if text and not (child.name.startswith("__") and child.name.endswith("__")):
                # an escape in the source may name half of a surrogate pair, which no file of ours could hold
                summary, rest = divide(text.encode("utf-8", "replace").decode("utf-8"))
                kind = "class" if isinstance(child, ast.ClassDef) else "function"
                yield Docstring(module=module, name=name, kind=kind, summary=summary, rest=rest)
            if isinstance(child, ast.ClassDef):
                yield from _walk(child, module, name)
        elif isinstance(child, (ast.If, ast.Try, ast.With)):
            yield from _walk(child, module, prefix)


def divide(docstring: str) -> tuple[str, str]:
    """Divides a docstring into its summary (the first sentence of its first paragraph, on one line) and the rest."""
    first, _, rest = inspect.cleandoc(docstring).partition("\n\n")
    sentence, *more = SENTENCE_END.split(" ".join(first.split()), maxsplit=1)
    words = sentence.split()
    more = [" ".join(words[MOST_SUMMARY_WORDS:]), *more]
    return " ".join(words[:MOST_SUMMARY_WORDS]), "\n\n".join(part.strip() for part in [*more, rest] if part.strip())


def name_words(name: str) -> str:
    """Splits a dotted name into words, each once: torch.nn.BatchNorm2d -> torch nn Batch Norm2d."""
    return " ".join(dict.fromkeys(part for part in WORD_BREAK.split(name) if part))
