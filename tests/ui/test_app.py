"""The terminal app as a person drives it: real runs, real keys."""

import asyncio
import shutil
from pathlib import Path

import pytest

pytest.importorskip("textual")
from textual.widgets import DataTable, Input, OptionList, Static

from twotower.ui import cells
from twotower.ui.app import TwoTowerApp
from twotower.ui.hits import HitScreen
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
        left, right = app.query(OptionList)
        assert left.option_count == right.option_count == 10
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


def test_a_curve_shows_rise_and_fall():
    assert cells.curve([0, 1]) == "▁█"
    assert cells.curve([2.0, 2.0, 2.0]) == "▄▄▄"
    assert len(cells.curve(list(range(100)), 12)) == 12
    assert cells.curve([]) == ""
