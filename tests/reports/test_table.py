import io
import json

import pytest
from rich.console import Console

from twotower.reports.table import groups_table, levels, runs_table, unreadable_table
from twotower.runs.ledger import load


def show(table, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


def test_metric_interval_and_spread_stand_in_the_row(sweep):
    runs = load(sweep, sort="mrr_10")
    text = show(runs_table(runs, metric="full/mrr_10"), 300)
    score = runs[0].scores["full/mrr_10"]
    line = next(line for line in text.splitlines() if line.strip().startswith("1 "))
    assert f"{score.value:.4f}"[1:] in line
    assert f"{score.low:.3f}"[1:] in line
    assert "(3)" in line


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_narrow_terminal_loses_columns_not_digits(sweep, width):
    runs = load(sweep, sort="mrr_10")
    text = show(runs_table(runs, metric="full/mrr_10", width=width), width)
    assert all(len(line) <= width for line in text.splitlines())
    assert all(f"{run.scores['full/mrr_10'].value:.4f}"[1:] in text for run in runs)
    assert "no room for" in text


def test_groups_are_ranked_by_mean(sweep):
    text = show(groups_table(load(sweep), metric="full/mrr_10"), 200)
    assert "contrastive" in text.splitlines()[1]
    assert len(text.splitlines()) == 5


def test_unreadable_folders_and_levels(sweep, tmp_path):
    (tmp_path / "run.json").write_text("{")
    assert "cut short" in show(unreadable_table(load(tmp_path)), 300)
    (line,) = levels(load(sweep), "full/mrr_10")
    assert "BM25" in line
    assert "chance" in line


def test_the_interval_stays_beside_the_figure_when_there_is_no_room_for_all_settings(fake, tmp_path):
    for number in range(3):
        fake.make_run(tmp_path / str(number), **{f"setting_{at}": number for at in range(30)})
    runs = load(tmp_path, sort="mrr_10")
    lines = show(runs_table(runs, metric="full/mrr_10", width=100), 100).splitlines()
    assert "95 %" in lines[0]
    assert "setting_0" in lines[0]
    assert "setting_29" not in lines[0]


@pytest.mark.parametrize("width", [50, 70, 100, 200])
def test_run_score_verdict_and_folder_are_there_at_any_width(sweep, width):
    runs = load(sweep, sort="mrr_10")
    table = show(runs_table(runs, metric="full/mrr_10", width=width), width)
    assert all(len(line) <= width for line in table.splitlines())
    head = table.splitlines()[0]
    assert all(name in head for name in ("run", "full/mrr_10", "verdict"))
    joined = table.replace("\n   ", "").replace(" ", "")
    assert all(str(run.path).replace(" ", "") in joined for run in runs)


def test_errors_are_cut(fake, tmp_path):
    fake.make_run(tmp_path / "a")
    fake.make_run(tmp_path / "b", status="failed")
    path = tmp_path / "b" / "run.json"
    record = json.loads(path.read_text())
    record |= {"verdict": None, "evaluation": None, "error": {"type": "UserError", "message": "word " * 100}}
    path.write_text(json.dumps(record))
    table = show(runs_table(load(tmp_path), metric="full/mrr_10"), 2000)
    assert "word word" in table
    assert "…" in table
    assert len(max(table.splitlines(), key=len)) < 600


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_very_long_name_takes_no_verdict_away(fake, tmp_path, width):
    fake.make_run(tmp_path / "a", model="n" * 230, files=False)
    fake.make_run(tmp_path / "b")
    table = show(runs_table(load(tmp_path), metric="full/mrr_10", width=width), width)
    assert "nnn…" in table
    assert "BETTER THAN BM25" in table
    assert max(map(len, table.splitlines())) <= width


def test_what_nobody_chose_makes_no_column(fake, tmp_path):
    from twotower.runs.columns import differing

    for number, folder in enumerate("ab"):
        fake.make_run(tmp_path / folder)
        path = tmp_path / folder / "run.json"
        record = json.loads(path.read_text())
        record["config"].setdefault("trainer", {})["limit_train_batches"] = number + 1
        record["config"]["loss"] = {**(record["config"].get("loss") or {}), "_target_": f"mine.Loss{number}"}
        path.write_text(json.dumps(record))
    assert not {"trainer.limit_train_batches", "loss._target_"} & set(differing(load(tmp_path).readable))
