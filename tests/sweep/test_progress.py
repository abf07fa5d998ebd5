import io
import json

import pytest
from rich.console import Console

from twotower.sweep.journal import Journal
from twotower.sweep.progress import Progress


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path, "s1")
    journal.open()
    return journal


def progress(journal, total=4, live=False, terminal=False):
    console = Console(file=io.StringIO(), width=160, force_terminal=terminal, color_system=None)
    return Progress(journal, total=total, metric="full/mrr_10", console=console, live=live)


def printed(shown):
    return shown.console.file.getvalue()


def test_the_summary_counts_what_is_done_running_failed_and_names_the_best(journal, tmp_path):
    journal.note(tmp_path / "a=1" / "seed=0", "finished", value=0.25, seconds=10.0)
    journal.note(tmp_path / "a=2" / "seed=0", "skipped", value=0.5)
    journal.note(tmp_path / "a=3" / "seed=0", "failed", reason="no memory")
    journal.note(tmp_path / "a=4" / "seed=0", "running")
    shown = progress(journal, total=6)
    shown.started -= 10
    text = shown.summary(journal.outcomes())
    assert text.startswith("2 of 6 done · 1 running · 1 failed · best full/mrr_10 .5000 (a=2/seed=0) · about ")
    assert shown.seconds_left(journal.outcomes()) == pytest.approx(30, rel=0.1), "three are left at ten seconds each"


def test_a_clock_that_jumps_changes_no_estimate(journal, tmp_path, monkeypatch):
    journal.note(tmp_path / "a=1" / "seed=0", "finished", value=0.25, seconds=10.0)
    shown = progress(journal)
    shown.started -= 10
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert shown.seconds_left(journal.outcomes()) == pytest.approx(30, rel=0.1)


def test_every_job_gets_one_line_when_it_ends(journal, tmp_path):
    shown = progress(journal)
    journal.note(tmp_path / "a=1", "running")
    shown.show_lines()
    assert printed(shown) == ""
    journal.note(tmp_path / "a=1", "finished", value=0.25, seconds=61.0)
    shown.show_lines()
    shown.show_lines()
    assert printed(shown).count("[1/4] finished  a=1  full/mrr_10 .2500  in 1 min 1 s") == 1


def test_the_panel_shows_the_epoch_of_running_jobs(journal, tmp_path):
    (tmp_path / "a=1").mkdir()
    record = {"config": {"trainer": {"max_epochs": 9}}, "history": [{"epoch": 3, "metrics": {"full/mrr_10": 0.125}}]}
    (tmp_path / "a=1" / "run.json").write_text(json.dumps(record))
    journal.note(tmp_path / "a=1", "running")
    journal.note(tmp_path / "a=2", "running")
    shown = progress(journal, live=True, terminal=True)
    shown.console.print(shown.panel(journal.outcomes()))
    assert "a=1  epoch 3 of 9, full/mrr_10 .1250" in printed(shown)
    assert "a=2  starting" in printed(shown)


def test_the_live_panel_comes_and_goes(journal, tmp_path):
    journal.note(tmp_path / "a=1", "running")
    shown = progress(journal, live=True, terminal=True)
    shown.start()
    shown.close()
    assert not shown.is_alive()


def test_sessions_whose_leader_died_are_cleared_away(journal, tmp_path):
    dead = tmp_path / ".sweep" / "old"
    dead.mkdir()
    facts = json.loads((journal.folder / "session.json").read_text())
    (dead / "session.json").write_text(json.dumps({**facts, "pid": 2**22 + 1}))
    Journal(tmp_path, "s2").open()
    assert not dead.exists()
    assert journal.folder.exists(), "its leader lives"
    journal.close()
    assert not journal.folder.exists()


def test_a_stop_reaches_every_process_of_the_session_only(journal, tmp_path):
    journal.stop("one failed")
    assert Journal(tmp_path, "s1").stopped() == "one failed"
    assert Journal(tmp_path, "s2").stopped() is None


def test_the_time_left_counts_down_but_never_below_what_the_others_need(journal, tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    shown = progress(journal)
    clock[0] += 10
    journal.note(tmp_path / "a=1", "finished", value=0.25, seconds=10.0)
    left = []
    for seconds in (0, 4, 6, 50):
        clock[0] += seconds
        left.append(shown.seconds_left(journal.outcomes()))
    assert left == [30, 26, 20, 20]
    journal.note(tmp_path / "a=2", "finished", value=0.25, seconds=60.0)
    assert shown.seconds_left(journal.outcomes()) == pytest.approx(2 * 70 / 2)


def test_the_last_line_says_that_all_are_done_and_no_time_is_left(journal, tmp_path):
    shown = progress(journal, total=2)
    journal.note(tmp_path / "a=1", "finished", value=0.25, seconds=7.0)
    shown.show_lines()
    journal.note(tmp_path / "a=2", "skipped", value=0.5)
    shown.show_lines()
    last = printed(shown).splitlines()[-1]
    assert "2 of 2 done" in last
    assert "left" not in last
