"""A kill at any moment of an exchange of folders leaves the old or the new one, and nothing stays for ever."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from twotower.cli.clean import command
from twotower.core import files
from twotower.core.files import atomic_path, exchange
from twotower.core.leftovers import leftovers, recover

WRITER = """
import sys, os, itertools
from pathlib import Path
from twotower.core.files import atomic_path
for number in itertools.count():
    with atomic_path(Path(sys.argv[1])) as temporary:
        temporary.mkdir()
        (temporary / "value").write_text(str(number))
    print(number, flush=True)
"""


def write(folder: Path, value: str) -> None:
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        (temporary / "value").write_text(value)


def test_two_folders_are_exchanged_in_one_step(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "here").touch()
    if not exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system does not exchange")
    assert (tmp_path / "b" / "here").exists()
    with pytest.raises(OSError, match="No such file"):
        exchange(tmp_path / "a", tmp_path / "missing")


def test_a_folder_is_replaced_and_nothing_is_left(tmp_path):
    for value in ("one", "two", "three"):
        write(tmp_path / "index", value)
        assert (tmp_path / "index" / "value").read_text() == value
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_a_writer_killed_at_any_moment_leaves_a_whole_folder(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(files.__file__).parents[2])}
    for wait in (1, 2, 5):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "index")], stdout=subprocess.PIPE, env=environment
        )
        for _ in range(wait):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert (tmp_path / "index" / "value").read_text().isdigit()


def test_without_an_exchange_a_kill_in_between_is_recovered_from(tmp_path, monkeypatch):
    write(tmp_path / "index", "old")
    monkeypatch.setattr(files, "exchange", lambda one, two: False)
    whole, calls = os.replace, []

    def killed(one, two):
        calls.append(one)
        if len(calls) == 2:
            raise KeyboardInterrupt
        whole(one, two)

    monkeypatch.setattr(files.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "index", "new")
    assert not (tmp_path / "index").exists()
    recover(tmp_path)
    assert (tmp_path / "index" / "value").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_what_is_left_is_found_and_what_is_at_work_is_not(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    run = tmp_path / "outputs" / "run" / "index"
    for name in (f".x.{dead.pid}.0123abcd.tmp", f".y.{os.getpid()}.0123abcd.tmp", ".flat.part", ".busy.part"):
        (run / name / "inner").mkdir(parents=True)
    (run / ".gone.0123abcd.old").mkdir()
    (run / ".there.0123abcd.old").mkdir()
    (run / "there").mkdir()
    (run / f".run.json.{dead.pid}.0123abcd.tmp").touch()
    busy = os.open(run / ".busy.part", os.O_RDONLY)
    fcntl.flock(busy, fcntl.LOCK_EX)
    try:
        names = {path.name for path in leftovers(tmp_path)}
    finally:
        os.close(busy)
    wanted = {f".x.{dead.pid}.0123abcd.tmp", ".flat.part", ".there.0123abcd.old", f".run.json.{dead.pid}.0123abcd.tmp"}
    assert names == wanted


def test_clean_removes_what_is_left_in_runs_and_in_the_cache(tmp_path, monkeypatch):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path / "cache"))
    left = [
        tmp_path / "outputs" / "run" / f".index.{dead.pid}.0123abcd.tmp",
        tmp_path / "cache" / "tokens" / f".key.{dead.pid}.0123abcd.tmp",
    ]
    for path in left:
        path.mkdir(parents=True)
        (path / "half").touch()
    shown = CliRunner().invoke(command, [str(tmp_path / "outputs")])
    assert shown.output.count("would remove") == 2
    assert all(path.exists() for path in left)
    CliRunner().invoke(command, [str(tmp_path / "outputs"), "--yes"])
    assert not any(path.exists() for path in left)
