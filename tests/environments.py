"""Environments that hold only some of the installed packages: links to those, and to nothing else.

pyproject.toml says what each extra installs; the closure of that is what `make setup` gives, or what a person has
who installed the wheel and no more. Nothing is downloaded.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
import venv
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = "twotower"
PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def closure(extras: Iterable[str], *, without: Iterable[str] = ()) -> dict[str, Distribution]:
    """Returns the distributions that `pip install 'twotower[extras]'` brings, this project left out.

    Args:
        extras: of pyproject.toml; none for the wheel alone.
        without: distributions that are left out, with what only they need.
    """
    left_out = {_canonical(name) for name in without}
    found: dict[str, Distribution] = {}
    seen, waiting = set(), [(PROJECT, frozenset(extras))]
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in seen or name in left_out:
            continue
        seen.add((name, wanted))
        if name == PROJECT:
            lines = _own_requirements(wanted)
        else:
            try:
                found[name] = distribution(name)
            except PackageNotFoundError:
                continue  # of another platform
            lines = found[name].requires or []
        for needed in map(Requirement, lines):
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in wanted | {""}):
                waiting.append((_canonical(needed.name), frozenset(needed.extras)))
    return found


def _own_requirements(extras: Iterable[str]) -> list[str]:
    """What pyproject.toml asks for; the metadata of an editable install may be of an earlier day."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]


def make_environment(
    folder: Path, extras: Iterable[str] = (), *, also: Iterable[str] = (), without: Iterable[str] = ()
) -> Path:
    """Makes a virtual environment whose packages are links to the installed ones.

    Args:
        folder: a new folder.
        extras: of this project, whose packages it gets.
        also: further distributions.
        without: distributions that are not there.

    Returns:
        Its site-packages folder; this project itself is still to be put there.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    [packages] = (folder / "lib").glob("python*/site-packages")
    chosen = closure(extras, without=without)
    for name in also:
        chosen |= {_canonical(name): distribution(name)}
    for package in chosen.values():
        _link(package, packages)
        for entry in package.entry_points:
            if entry.group == "console_scripts":
                _script(folder / "bin" / entry.name, entry.value, folder / "bin" / "python3")
    return packages


def add_command(folder: Path) -> None:
    """Adds the command `twotower` to an environment."""
    _script(folder / "bin" / PROJECT, "twotower.cli.main:main", folder / "bin" / "python3")


def _link(package: Distribution, packages: Path) -> None:
    """Links a package's files: whole folders, where no other package has a part in them."""
    shared = ("hydra_plugins", "google", "opentelemetry")
    for file in package.files or []:
        parts = file.parts
        if parts[0] == ".." or parts[0] == "__pycache__":
            continue
        depth = 2 if parts[0] in shared and len(parts) > 1 else 1
        if parts[0] == "opentelemetry" and len(parts) > 2:
            depth = 3
        source, target = Path(str(package.locate_file("/".join(parts[:depth])))), packages.joinpath(*parts[:depth])
        if not os.path.lexists(target) and source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source)


def _script(path: Path, value: str, python: Path) -> None:
    module, _, name = value.partition(" ")[0].partition(":")
    if path.exists() or not name:
        return
    path.write_text(f"#!{python}\nimport sys\nfrom {module} import {name}\nsys.exit({name}())\n")
    path.chmod(0o755)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    print(*sorted(closure(sys.argv[1:])), sep="\n")
