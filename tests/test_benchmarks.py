"""What the benchmarks say about the machine; what they measure is no matter of tests."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "experiments" / "benchmarks"


@pytest.fixture
def run_all(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    import run_all

    yield run_all
    for name in set(sys.modules) - before:
        if FOLDER in Path(getattr(sys.modules[name], "__file__", None) or "").parents:
            del sys.modules[name]  # names this plain are for whoever asks next


def test_machines_that_differ_only_in_what_was_installed_are_one_line(run_all):
    with_ranx = "P 9 (model 1, stepping 2), 2 cores, Python 3.11.7, torch 2.0, ranx 0.3"
    without = "P 9 (model 1, stepping 2), 2 cores, Python 3.11.7, torch 2.0, ranx not installed"
    assert run_all.merged([without, with_ranx, without]) == [with_ranx]
    assert run_all.merged([without]) == [without]
    for other in (with_ranx.replace("2.0", "2.1"), with_ranx.replace("2 cores", "4 cores"), f"Q{with_ranx}"):
        assert sorted(run_all.merged([with_ranx, other])) == sorted([with_ranx, other])


def test_a_machine_is_named_as_earlier_results_named_it(run_all):
    now = "Maker Name (model 2, stepping 1), 2 cores, Python 3.11.7"
    assert run_all.merged(["Maker Name 2 1, 2 cores, Python 3.11.7", now]) == [now]
    assert run_all.merged([run_all.machine()]) == [run_all.machine()]


def test_the_processor_s_name_is_the_system_s(run_all):
    told = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    names = {line.partition(":")[2].strip() for line in told.splitlines() if line.startswith("model name")}
    if not names:
        pytest.skip("this system does not name its processor in /proc/cpuinfo")
    assert run_all.common.processor().partition(" (model ")[0] in names


@pytest.mark.parametrize(
    ("name", "typed", "expected"),
    [
        ("training", "--epochs 2 --batch 64 --lr 0.5 --seed 3", {"epochs": 2, "batch": 64, "lr": 0.5, "seed": 3}),
        ("quality", "--seed 3", {"epochs": 10, "batch": 1024, "lr": 0.0, "seed": 3}),
    ],
)
def test_what_is_set_reaches_the_sides(run_all, monkeypatch, name, typed, expected):
    module, given = importlib.import_module(name), []

    class StartedError(Exception):
        """Ends the script where it would start the sides."""

    def started(script, sides, arguments, **_):
        given.extend(arguments)
        raise StartedError

    monkeypatch.setattr(module.common, "alternate", started)
    monkeypatch.setattr(sys, "argv", [name, "--data", "tldr", *typed.split(), "model.dropout=0"])
    with pytest.raises(StartedError):
        module.main()
    seen = []
    for side in ("ours", "theirs"):
        monkeypatch.setattr(sys.modules["training"], side, lambda options: seen.append(vars(options)) or {})
        monkeypatch.setattr(module, side, lambda options: seen.append(vars(options)) or {}, raising=False)
    for side in ("twotower", "sentence-transformers"):
        monkeypatch.setattr(sys, "argv", [name, "--side", side, *given])
        module.main()
    for options in seen:
        assert {key: options[key] for key in expected} == expected
        assert (options["data"], options["overrides"]) == ("tldr", ["model.dropout=0"])
    assert len(seen) == 2


def test_an_option_that_would_change_nothing_is_not_taken(run_all, monkeypatch):
    quality = importlib.import_module("quality")
    monkeypatch.setattr(quality.common, "alternate", lambda *_, **__: pytest.fail("it was taken"))
    monkeypatch.setattr(sys, "argv", ["quality", "--epochs", "2"])
    with pytest.raises(SystemExit) as ended:
        quality.main()
    assert ended.value.code == 2
