import contextlib
import copy
import json
import pkgutil
import subprocess
import sys

import pytest

import twotower.reports
import twotower.runs
from twotower.core.errors import UserError
from twotower.reports.best import best
from twotower.reports.table import groups_table, levels, runs_table
from twotower.runs.ledger import load, rows
from twotower.runs.schema import problem_of


def places(value, path=()):
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from places(item, (*path, number))


def test_real_records_have_no_problem(fake):
    for status in ("finished", "failed", "interrupted", "at_chance", "collapsed"):
        assert problem_of(json.loads(json.dumps(fake.record(status=status)))) is None


@pytest.mark.parametrize("bad", [None, "x", 3, [], {}, [1], {"a": 1}, True, 1e400, float("nan"), "absent"], ids=repr)
def test_whatever_stands_in_a_record_the_other_runs_are_shown(fake, tmp_path, bad):
    base = fake.record()
    base["evaluation"]["full"]["metrics"] = {"mrr_10": base["evaluation"]["full"]["metrics"]["mrr_10"]}
    base["history"] = base["history"][:1]
    fake.make_run(tmp_path / "good", files=False, model="gru", seed=1)
    (tmp_path / "odd").mkdir()
    for path in places(base):
        record = copy.deepcopy(base)
        holder = record
        for key in path[:-1]:
            holder = holder[key]
        if bad == "absent":
            del holder[path[-1]]
        else:
            holder[path[-1]] = bad
        (tmp_path / "odd" / "run.json").write_text(json.dumps(record))
        runs = load(tmp_path, sort="mrr_10")
        assert any(run.path.name == "good" and run.status == "finished" for run in runs)
        for draw in (runs_table, groups_table):
            draw(runs, metric="full/mrr_10", width=100)
        levels(runs.readable, "full/mrr_10")
        assert len(rows(runs)) + len(runs.unreadable) == 2
        with contextlib.suppress(UserError):
            best(runs)


@pytest.mark.parametrize("odd", [float("nan"), float("-inf"), 1e301, 10**400], ids=["nan", "inf", "1e301", "10^400"])
@pytest.mark.parametrize("place", ["evaluation", "objective", "history", "timings"])
def test_what_is_no_finite_number_enters_no_mean_over_seeds(fake, tmp_path, odd, place):
    for seed in (0, 1):
        fake.make_run(tmp_path / str(seed), files=False, seed=seed)
    file = tmp_path / "1" / "run.json"
    record = json.loads(file.read_text())
    if place == "evaluation":
        record["evaluation"]["full"]["metrics"]["mrr_10"]["value"] = odd
    elif place == "objective":
        record["objective"]["value"] = odd
    elif place == "history":
        record["history"][0]["metrics"] = {"full/mrr_10": odd}
    else:
        record["timings"]["total_seconds"] = odd
    file.write_text(json.dumps(record))
    runs = load(tmp_path)
    assert [place in (run.problem or "") for run in runs.unreadable] == [True]
    (spread,) = runs.spreads("full/mrr_10").values()
    assert spread.runs == 1


def test_no_module_of_these_rooms_imports_torch():
    rooms = (twotower.runs, twotower.reports)
    names = [module.name for room in rooms for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}.")]
    assert "twotower.reports.plots.style" in names
    code = f"import sys, importlib\nfor name in {names!r}: importlib.import_module(name)\nprint('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
