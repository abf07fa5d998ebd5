import json

import pytest
from click.testing import CliRunner

from twotower.cli.cache import command
from twotower.core.cache import cached_folder
from twotower.core.errors import UserError


@pytest.fixture
def filled(tmp_path, monkeypatch):
    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path))
    for kind, key in (("tokens", "one"), ("tokens", "two"), ("vectors", "three")):
        cached_folder(kind, key, lambda folder: (folder / "file").write_bytes(b"x" * 2048))
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(command, list(arguments), catch_exceptions=False)


def test_shows_kinds_with_counts_and_sizes(filled):
    shown = run().output
    assert "6.1 kB" in shown
    assert "tokens" in shown
    assert "4.1 kB" in shown
    listed = json.loads(run("--json").output)
    assert listed["root"] == str(filled)
    assert sorted(entry["key"] for entry in listed["entries"]) == ["one", "three", "two"]


def test_clears_one_kind_or_all(filled):
    assert "Removed 2 entries, 4.1 kB" in run("clear", "tokens").output
    assert not (filled / "tokens" / "one").exists()
    assert (filled / "vectors" / "three").exists()
    with pytest.raises(UserError, match="Did you mean 'vectors'"):
        run("clear", "vector")
    assert "Removed 1 entries" in run("clear").output
