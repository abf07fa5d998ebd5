import os
import shlex
import sys
import unicodedata

import pytest

from twotower.core.format import search_command, visible


def test_control_characters_become_signs_and_all_else_stays():
    everything = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x11000)]))
    shown = visible(everything)
    assert len(shown) == len(everything)
    assert {char for char in shown if unicodedata.category(char) == "Cc"} == {"\n", "\t"}
    assert all(a == b for a, b in zip(everything, shown, strict=True) if unicodedata.category(a) != "Cc")
    assert visible("a\x1b[2J\x07\x7f\x9b") == "a\u241b[2J\u2407\u2421\ufffd"


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    """A folder with a Python and a `twotower`, which this Python seems to be from, and no other on the PATH."""
    folder = tmp_path / "my venv" / "bin"
    folder.mkdir(parents=True)
    (folder / "twotower").write_text("#!/bin/sh")
    (folder / "twotower").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", os.defpath)
    return folder


def test_the_command_to_search_names_the_program_as_the_shell_finds_it(scripts, tmp_path, monkeypatch):
    assert shlex.split(search_command("run", "x"))[0] == str(scripts / "twotower")
    monkeypatch.chdir(tmp_path)
    assert shlex.split(search_command("run", "x"))[0] == "my venv/bin/twotower"
    monkeypatch.setenv("PATH", f"{scripts}{os.pathsep}{os.defpath}")
    assert search_command("run", "x") == 'twotower search --run run "x"'
    other = tmp_path / "other"
    other.mkdir()
    (other / "twotower").write_text("#!/bin/sh")
    (other / "twotower").chmod(0o755)
    monkeypatch.setenv("PATH", f"{other}{os.pathsep}{scripts}")
    assert shlex.split(search_command("run", "x"))[0] == "my venv/bin/twotower"


def test_the_command_to_search_is_read_by_a_shell_as_it_was_meant(scripts):
    words = shlex.split(search_command("a b", '-- is "$HOME" `id`\\ \x1b[2J\n fine!', index="exact"))
    assert words[1:] == ["search", "--run", "a b", "--index", "exact", "is 'HOME' id \u241b[2J fine"]


@pytest.mark.parametrize(
    ("question", "shown"),
    [
        ("`--verbose` flag", "verbose flag"),
        ("$-`-x", "x"),
        ("! - what is -1?", "what is -1?"),
        ("a ` b", "a b"),
        ("--$`\\!", "anything"),
        ("", "anything"),
    ],
)
def test_no_question_looks_like_an_option(question, shown, scripts):
    assert shlex.split(search_command("run", question))[-1] == shown
