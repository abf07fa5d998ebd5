"""The terminal app as a person drives it: real runs, real keys."""

import asyncio
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("textual")
from rich.console import Console
from textual.widgets import DataTable, Input, OptionList, Static, TabbedContent

from twotower.runs.ledger import load
from twotower.runs.run import read_run
from twotower.ui import cells
from twotower.ui.app import TwoTowerApp
from twotower.ui.column import Column
from twotower.ui.hits import HitScreen
from twotower.ui.run_tab import page
from twotower.ui.runs_tab import RunsTab

OLD = Path(__file__).resolve().parents[1] / "old_run"


@pytest.fixture
def runs(tmp_path):
    """Two real runs, and one that failed."""
    for name in ("mlp", "gru"):
        shutil.copytree(OLD / name, tmp_path / name)
    shutil.copytree(OLD / "mlp", tmp_path / "broken")
    record = tmp_path / "broken" / "run.json"
    record.write_text(record.read_text().replace('"status": "finished"', '"status": "failed"'))
    return tmp_path


def drive(folder, steps, size=(120, 36)):
    """Runs the app with a pilot; `steps` is an async function of app and pilot."""

    async def main():
        app = TwoTowerApp([str(folder)])
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await steps(app, pilot)

    asyncio.run(main())


def words(widget):
    """The text a Static shows."""
    return widget.render_line(0).text if isinstance(widget, DataTable) else str(widget.render())


def test_the_table_lists_the_best_first_and_folds_what_failed(runs):
    async def steps(app, pilot):
        table = app.query_one("#runs", DataTable)
        assert [str(table.get_row_at(row)[0]) for row in range(table.row_count)] == ["old_mlp", "old_gru"]
        assert "1 failed" in words(app.query_one("#runs-note", Static))
        await pilot.press("f")
        assert table.row_count == 3

    drive(runs, steps)


def test_a_filter_keeps_what_it_names_and_a_wrong_one_is_named(runs):
    async def steps(app, pilot):
        await pilot.press("slash", *"model=gru", "enter")
        table = app.query_one("#runs", DataTable)
        assert [str(table.get_row_at(0)[0]), table.row_count] == ["old_gru", 1]
        await pilot.press("slash")
        app.query_one("#filter", Input).value = "modl=gru"
        await pilot.press("enter")
        assert "modl" in words(app.query_one("#runs-note", Static))
        assert table.row_count == 1

    drive(runs, steps)


def test_enter_opens_the_run_with_its_levels_and_the_command_to_repeat_it(runs):
    async def steps(app, pilot):
        await pilot.press("enter")
        await pilot.pause()
        shown = app.export_screenshot().replace("&#160;", " ")
        for part in ("old_mlp", "BELOW BM25", "chance", "untrained", "index=[exact,faiss_flat]", "rerun"):
            assert part in shown

    drive(runs, steps, size=(140, 70))


def test_hits_come_as_one_types_and_one_opens_in_full(runs):
    async def steps(app, pilot):
        await pilot.press("o")
        await pilot.press(*"convert an image")
        await pilot.pause()
        hits = app.query(OptionList).first()
        assert hits.option_count == 10
        await pilot.press("enter", "down", "enter")
        await pilot.pause()
        assert isinstance(app.screen, HitScreen)
        shown = app.export_screenshot().replace("&#160;", " ")
        assert "More like this" in shown
        assert "Without the word" in shown
        await pilot.press("escape")
        assert not isinstance(app.screen, HitScreen)

    drive(runs, steps)


def test_two_runs_answer_side_by_side_and_moved_ranks_are_marked(runs):
    async def steps(app, pilot):
        await pilot.press("o", *"convert an image", "ctrl+t", "f1", "down", "o")
        await pilot.pause()
        left, right, third = app.query(OptionList)
        assert left.option_count == right.option_count == 10
        assert third.option_count == 0
        shown = app.export_screenshot()
        assert "only" in shown or "there" in shown

    drive(runs, steps)


def test_two_marked_runs_are_compared_query_by_query(runs):
    async def steps(app, pilot):
        await pilot.press("c", "down", "c")
        await pilot.pause()
        queries = app.query_one("#queries", DataTable)
        assert queries.row_count > 20
        gaps = [float(str(queries.get_row_at(row)[0])) for row in range(queries.row_count)]
        assert gaps == sorted(gaps, reverse=True)
        assert "A is better" in words(app.query_one("#compare-head", Static))

    drive(runs, steps)


def test_every_tab_fits_80_by_24_and_an_empty_folder_says_what_makes_a_run(runs, tmp_path):
    async def steps(app, pilot):
        for key in ("f2", "f3", "f4", "f1"):
            await pilot.press(key)
        assert app.query_one(RunsTab).size.width <= 80

    drive(runs, steps, size=(80, 24))
    (tmp_path / "empty").mkdir()

    async def empty(app, pilot):
        assert "train.py" in words(app.query_one("#runs-note", Static))

    drive(tmp_path / "empty", empty, size=(80, 24))


@pytest.fixture
def both_ways(search_helpers, tmp_path):
    """A run that searches by vectors and by words."""
    small = search_helpers("small_run")
    exact = {"exact": {"_target_": "twotower.index.exact.ExactIndex", "device": "cpu"}}
    search_helpers("test_modes").add_side(small.make_run(tmp_path / "runs" / "small", small.collection(), exact))
    return tmp_path / "runs"


@pytest.mark.parametrize(("width", "columns"), [(140, 3), (80, 2)])
def test_ways_of_searching_stand_side_by_side(both_ways, width, columns):
    async def steps(app, pilot):
        await pilot.press("o", *"invert a matrix", "f6")
        await pilot.pause()
        shown = [column for column in app.query(Column) if column.display]
        assert [column.results.mode for column in shown] == ["hybrid", "dense", "lexical"][:columns]
        assert all(column.query_one(OptionList).option_count for column in shown)
        picture = app.export_screenshot().replace("&#160;", " ")
        assert "vectors + words" in picture
        assert "random" in picture  # the scale of the scores
        await pilot.press("f6")
        assert len([column for column in app.query(Column) if column.display]) == 1

    drive(both_ways, steps, size=(width, 30))


def test_the_way_of_searching_changes_by_a_key(both_ways):
    async def steps(app, pilot):
        await pilot.press("o", *"invert a matrix")
        column = app.query(Column).first()
        seen = []
        for _ in range(4):
            seen.append(column.results.mode)
            await pilot.press("f5")
        assert seen == ["hybrid", "dense", "lexical", "hybrid"]

    drive(both_ways, steps)


def test_a_neighbour_opens_in_turn(both_ways):
    async def steps(app, pilot):
        await pilot.press("o", *"invert a matrix", "enter", "down", "enter")
        first = app.screen.hit.doc_id
        await pilot.press("tab", "down", "enter")
        await pilot.pause()
        assert isinstance(app.screen, HitScreen)
        assert app.screen.hit.doc_id != first
        await pilot.press("escape", "escape")
        assert not isinstance(app.screen, HitScreen)

    drive(both_ways, steps)


def test_sweeps_have_headings_that_are_no_runs(runs):
    async def steps(app, pilot):
        await pilot.press("g")
        table = app.query_one("#runs", DataTable)
        assert "single runs" in str(table.get_row_at(0)[0])
        table.move_cursor(row=0)
        await pilot.press("enter")
        assert app.query_one(TabbedContent).active == "runs-tab"
        await pilot.press("down", "enter")
        assert app.query_one(TabbedContent).active == "run-tab"

    drive(runs, steps)


def test_a_compared_query_shows_both_answers_with_the_right_one_marked(runs):
    async def steps(app, pilot):
        await pilot.press("c", "down", "c")
        await pilot.pause()
        shown = app.export_screenshot().replace("&#160;", " ")
        assert "✓" in shown
        assert "A  old_mlp" in shown
        assert "B  old_gru" in shown

    drive(runs, steps)


def test_help_shows_the_keys(runs):
    async def steps(app, pilot):
        await pilot.press("f10")
        await pilot.pause()
        assert app.screen.query("HelpPanel")
        await pilot.press("f10")
        await pilot.pause()
        assert not app.screen.query("HelpPanel")

    drive(runs, steps)


def test_no_color_means_no_colour(runs, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")

    async def steps(app, pilot):
        assert app.no_color
        assert any(type(item).__name__ == "Monochrome" for item in app._filters)

    drive(runs, steps)


def test_it_starts_without_what_only_searching_needs():
    slow = {"torch", "numpy", "scipy", "pandas", "omegaconf"}
    code = f"import sys, twotower.ui.app; print(sorted({slow} & set(sys.modules)))"
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root}
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_a_run_made_from_another_names_in_what_it_differs(runs):
    record = json.loads((runs / "gru" / "run.json").read_text())
    record["rerun_of"] = {"path": str(runs / "mlp"), "config_hash": "x"}
    (runs / "gru" / "run.json").write_text(json.dumps(record))
    ledger = load(runs)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(page(next(run for run in ledger if run.path.name == "gru"), ledger, 120))
    shown = console.export_text()
    assert "Beside old_mlp, which it repeats or varies" in shown
    assert "model" in shown.partition("repeats or varies")[2]


def test_a_curve_shows_rise_and_fall():
    assert cells.curve([0, 1]) == "▁█"
    assert cells.curve([2.0, 2.0, 2.0]) == "▄▄▄"
    assert len(cells.curve(list(range(100)), 12)) == 12
    assert cells.curve([]) == ""


def test_a_click_on_a_heading_sorts_by_it_and_a_second_turns_the_order_round(runs):
    async def steps(app, pilot):
        table = app.query_one("#runs", DataTable)

        async def names_after_click(column):
            at = [str(item.label) for item in table.ordered_columns].index(column)
            left = sum(item.get_render_width(table) for item in table.ordered_columns[:at])
            await pilot.click("#runs", offset=(left + 2, 0))
            await pilot.pause()
            return [str(table.get_row_at(row)[0]) for row in range(table.row_count)]

        assert await names_after_click("run") == ["old_gru", "old_mlp"]
        assert "by name" in words(app.query_one("#runs-note", Static))
        assert await names_after_click("run") == ["old_mlp", "old_gru"]
        best = await names_after_click("mrr_10")
        assert best == ["old_mlp", "old_gru"]
        await pilot.press("S")
        assert str(table.get_row_at(0)[0]) == "old_gru"

    drive(runs, steps)


def test_at_80_columns_the_verdict_is_a_sign_and_the_curve_is_in_sight(runs):
    async def steps(app, pilot):
        for _ in range(40):  # the line of keys is drawn when it is drawn
            await pilot.pause(0.05)
            shown = app.export_screenshot().replace("&#160;", " ").replace("&lt;", "<")
            if ">Help" in shown:
                break
        for part in ("curve", "< BM25", "hybrid", "f10", ">Help"):
            assert part.lower() in shown.lower(), part

    drive(runs, steps, size=(80, 24))


def test_enter_twice_opens_the_first_hit(both_ways):
    async def steps(app, pilot):
        await pilot.press("o", *"invert a matrix", "enter", "enter")
        await pilot.pause()
        assert isinstance(app.screen, HitScreen)
        assert app.screen.hit.rank == 1

    drive(both_ways, steps)


def test_a_tab_without_a_run_takes_the_one_under_the_cursor(both_ways):
    async def steps(app, pilot):
        await pilot.press("f2")
        await pilot.pause()
        assert "config hash" in app.export_screenshot().replace("&#160;", " ")
        await pilot.press("f3", *"invert a matrix")
        await pilot.pause()
        assert app.query(OptionList).first().option_count == 10

    drive(both_ways, steps)


def test_the_page_of_a_run_follows_the_cursor_until_a_run_is_opened(runs):
    async def steps(app, pilot):
        async def name_after(*keys):
            await pilot.press(*keys)
            await pilot.pause()
            console = Console(width=120, record=True, file=io.StringIO())
            console.print(app.query_one("#run-page", Static).content)
            return console.export_text().split()[0]

        assert await name_after("f2") == "old_mlp"
        assert await name_after("f1", "down", "f2") == "old_gru"
        assert await name_after("f1", "enter", "f1", "up", "f2") == "old_gru"

    drive(runs, steps)


def test_curves_say_that_epochs_are_measured_on_a_sample(runs):
    run = read_run(runs / "mlp")
    assert run.epoch_sample is None
    record = json.loads((runs / "mlp" / "run.json").read_text())
    record["config"].setdefault("callbacks", {}).setdefault("evaluate", {})["max_queries"] = 7
    (runs / "mlp" / "run.json").write_text(json.dumps(record))
    run = read_run(runs / "mlp")
    assert run.epoch_sample == (7, None, None)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(page(run, load(runs), 120))
    assert "a sample of 7 queries, the table above on all" in console.export_text()
    record["epoch_sample"] = {"queries": 7, "documents": 30, "of": 1107}
    (runs / "mlp" / "run.json").write_text(json.dumps(record))
    run = read_run(runs / "mlp")
    assert run.epoch_sample == (7, 30, 1107)
    console.print(page(run, load(runs), 120))
    assert "a sample of 7 queries against 30 of 1,107 documents, the table above on all" in console.export_text()
