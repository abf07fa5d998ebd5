"""Questions as a person would ask them."""

import json
import shutil
from pathlib import Path

import pytest

from twotower.runs.questions import about, everyday, phrased, questions
from twotower.runs.run import read_run

OLD = Path(__file__).resolve().parents[1] / "old_run"


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("Sort a list in place.", "how do I sort a list in place"),
        ("what is a corporation?", "what is a corporation?"),
        ("Convert an intent to a URI", "how do I convert an intent to a URI"),
        ("largest lake in europe", "largest lake in europe"),
        ("SSH keys of a user", "SSH keys of a user"),
        ("Return `True` if x > 3", None),
        ("Compute the (multiplicative) inverse of a matrix.", None),
        ("sort", None),
        ("list " * 30, None),
        ("", None),
    ],
)
def test_a_query_becomes_a_question_or_is_passed_over(query, asked):
    assert phrased(query) == asked


def test_questions_are_preferred_and_where_there_are_none_the_shortest_stand_as_they_are():
    assert everyday(["x = y[3:]", "Sort a list in place.", "red green blue"], 3) == ["how do I sort a list in place"]
    assert everyday(["f(x, y) -> z()", "g()"], 1) == ["g()"]
    assert everyday([], 3) == []
    assert len(everyday([f"how do I open file number {word}" for word in "abcdefghijkl"], 6)) == 6


def test_a_runs_questions_have_answers_that_it_found():
    drawn = questions(read_run(OLD / "mlp"), 6)
    assert len(drawn) == 6
    assert all(item.answer and phrased(item.query) == item.text for item in drawn)


@pytest.mark.parametrize(
    ("title", "asked"),
    [
        ("attribute-access", "what is attribute access"),
        ("Exceptions", "what are exceptions"),
        ("TCP/IP basis", "what is TCP IP basis"),
        ("how_to_install_it", "how to install it"),
        ("Sort a list", "how do I sort a list"),
        ("one two three four five six", None),
        ("x = y[3:]", None),
        ("", None),
    ],
)
def test_a_title_becomes_a_question(title, asked):
    assert about(title) == asked


def test_made_up_queries_are_not_shown_as_questions(tmp_path):
    shutil.copytree(OLD / "mlp", tmp_path / "run")
    record = tmp_path / "run" / "run.json"
    content = json.loads(record.read_text())
    content["evaluation"]["split"] = "pseudo_dev"
    record.write_text(json.dumps(content))
    drawn = questions(read_run(tmp_path / "run"), 3)
    assert len(drawn) == 3
    assert all(item.text == about(item.query) and item.answer == "" for item in drawn)
