"""The pinned versions: every one with hashes, and every dependency of pyproject.toml among them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCKS = {
    "recipes": "constraints.txt",
    "cpu": "requirements/cpu.txt",
    "gpu": "requirements/gpu.txt",
    "dev": "requirements/dev.txt",
    "browser": "requirements/browser.txt",
    "ray": "requirements/ray.txt",
}
PINNED = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;]+)[^\n]*?((?:\\\n\s+--hash=sha256:[0-9a-f]{64} ?)*)$", re.M)


def pins(path: str) -> dict[str, tuple[str, str]]:
    """The versions of a lock file, each with the text of its hashes."""
    return {
        canonicalize_name(name): (version, hashes)
        for name, version, hashes in PINNED.findall((ROOT / path).read_text())
    }


def wanted(extra: str) -> list[Requirement]:
    """What pyproject.toml asks for with one extra, and with the extras that this one names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [Requirement(line) for line in project["optional-dependencies"][extra]]
    nested = [name for requirement in requirements if requirement.name == "twotower" for name in requirement.extras]
    own = [requirement for requirement in requirements if requirement.name != "twotower"]
    return own + [requirement for name in nested for requirement in wanted(name)]


@pytest.mark.parametrize("lock", [*LOCKS.values(), "requirements/build.txt"])
def test_every_pinned_version_has_its_hashes(lock):
    versions = pins(lock)
    assert len(versions) == len(re.findall(r"^\S+==", (ROOT / lock).read_text(), re.M))
    assert all("sha256" in hashes for _, hashes in versions.values())


@pytest.mark.parametrize("extra", LOCKS)
def test_what_the_project_asks_for_is_pinned(extra):
    versions = pins(LOCKS[extra])
    for requirement in wanted(extra):
        assert canonicalize_name(requirement.name) in versions, f"{requirement}: run `make lock`"
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)][0]), (
            f"{requirement}: run `make lock`"
        )


def test_the_dependencies_of_the_package_are_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = pins("constraints.txt")
    torch = re.search(r"^TORCH := torch==(\S+)$", (ROOT / "Makefile").read_text(), re.M)
    assert torch, "the Makefile names torch's version"
    versions["torch"] = (torch[1], "")
    for requirement in map(Requirement, project["dependencies"]):
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)][0]), (
            f"{requirement}: run `make lock`"
        )


def test_tests_run_with_the_versions_that_users_get():
    users, tests = pins("constraints.txt"), pins("requirements/dev.txt")
    assert users.items() <= tests.items()


def test_torch_comes_from_its_own_index_with_its_libraries():
    assert not [name for name in pins("constraints.txt") if name.startswith(("torch==", "nvidia-", "cuda-", "triton"))]
