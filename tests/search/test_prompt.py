"""The prompt of `twotower search`, line by line."""

import io
import json
import shutil

import pytest
from rich.console import Console

from twotower.core.errors import UserError
from twotower.search.engine import SearchEngine
from twotower.search.prompt import NAMES, Prompt, completions
from twotower.search.terminal import broken


@pytest.fixture
def prompt(run_dir, tmp_path, search_helpers):
    folder = tmp_path / "run"
    shutil.copytree(run_dir, folder)
    search_helpers("test_modes").add_side(folder)
    opened = []

    def open_run(text):
        opened.append(text)
        return folder, SearchEngine.open(folder, "exact")

    engine = SearchEngine.open(folder, "exact")
    console = Console(file=io.StringIO(), width=100)
    made = Prompt(engine, folder, open_run=open_run, console=console, k=3, history=tmp_path / "history")
    made.opened = opened
    return made


def say(prompt, line):
    """Types a line; returns whether the prompt goes on, and what it printed."""
    prompt.console.file = io.StringIO()
    return prompt.answer(line), prompt.console.file.getvalue()


def test_a_question_is_answered_in_the_way_and_number_asked_for(prompt):
    _, shown = say(prompt, "invert a matrix")
    assert "hybrid" in shown
    say(prompt, ":mode lexical")
    say(prompt, ":k 2")
    _, shown = say(prompt, "invert a matrix")
    hits = prompt.engine.search("invert a matrix", 2, "lexical").hits
    assert all(f"{hit.score:.3f}" in shown for hit in hits)
    assert "lexical" in shown
    say(prompt, ":mode")
    assert prompt.mode is None


def test_help_names_every_command_and_each_is_known(prompt):
    going, shown = say(prompt, ":help")
    assert going
    for name in NAMES:
        assert name in shown
        if name not in (":k", ":q"):
            say(prompt, name)


@pytest.mark.parametrize("line", [":q", ":quit"])
def test_it_ends(prompt, line):
    assert say(prompt, line)[0] is False


def test_another_run_is_opened_and_the_earlier_one_closed(prompt):
    before = prompt.engine
    _, shown = say(prompt, ":run other")
    assert prompt.opened == ["other"]
    assert "45 documents" in shown
    assert prompt.engine is not before


def test_history_lists_what_was_asked(prompt):
    for line in ("invert a matrix", "sort a list"):
        say(prompt, line)
    assert say(prompt, ":history")[1].split("\n")[:2] == ["invert a matrix", "sort a list"]
    assert say(prompt, ":history 1")[1] == "sort a list\n"


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (":mod", "':mode'"),
        (":mode fast", "dense"),
        (":k", ":k 20"),
        (":k -1", ":k 20"),
        (":k ²", ":k 20"),
        (":k 0", ":k 20"),
        (":k 1234567890123", ":k 1234567890123: give a number of documents"),
        (":history some", ":history some: give a number of questions"),
        (f":history {'9' * 5000}", ":history 20"),
    ],
)
def test_a_wrong_command_is_named_with_a_way_out(prompt, line, named):
    with pytest.raises(UserError, match=named):
        prompt.answer(line)
    assert (prompt.k, prompt.mode) == (3, None)


def test_the_loop_reads_lines_survives_mistakes_and_ends_with_the_input(prompt, monkeypatch):
    lines = iter(["", ":nothing", "sort a list", KeyboardInterrupt(), "stop it", ":k 1"])
    search = prompt.engine.search

    def found(text, *arguments):
        if text == "stop it":  # Ctrl-C while it answers
            raise KeyboardInterrupt
        return search(text, *arguments)

    monkeypatch.setattr(prompt.engine, "search", found)

    def typed(*_, **__):
        line = next(lines, EOFError())
        if isinstance(line, BaseException):
            raise line
        return line

    monkeypatch.setattr(prompt.console, "input", typed)
    prompt.loop()
    shown = prompt.console.file.getvalue()
    assert "No command ':nothing'" in shown
    assert prompt.asked == ["sort a list", "stop it"]
    assert prompt.k == 1


def test_tab_completes_commands_ways_and_runs(run_dir, tmp_path, monkeypatch):
    shutil.copytree(run_dir, tmp_path / "outputs" / "first")
    monkeypatch.chdir(tmp_path)
    name = json.loads((tmp_path / "outputs" / "first" / "run.json").read_text())["run_name"]
    assert completions(":m", ":m") == [":mode"]
    assert completions("h", ":mode h") == ["hybrid"]
    assert name in completions(name[:2], f":run {name[:2]}")
    assert completions("outputs/", ":run outputs/") == ["outputs/first"]
    assert completions("so", "so") == []


@pytest.mark.parametrize(
    ("doc_id", "width", "lines"),
    [
        ("numpy.linalg.inv", 20, ["numpy.linalg.inv"]),
        ("numpy.linalg.inv", 13, ["numpy.linalg.", "inv"]),
        ("numpy.linalg.inv", 9, ["numpy.", "linalg.", "inv"]),
        ("common/ascii-image-converter", 13, ["common/ascii-", "image-", "converter"]),
        ("abcdefghij", 4, ["abcd", "efgh", "ij"]),
        ("a..b", 3, ["a..", "b"]),
        ("scipy.optimize._nonlin.InverseJacobian", 15, ["scipy.optimize.", "_nonlin.", "InverseJacobian"]),
        ("matrices.InvertiblePredicate", 16, ["matrices.", "Invertible", "Predicate"]),
        ("___", 2, ["__", "_"]),
        ("日本語の文書", 4, ["日本", "語の", "文書"]),
        ("", 4, [""]),
    ],
)
def test_ids_break_where_their_parts_meet(doc_id, width, lines):
    assert broken(doc_id, width) == lines
