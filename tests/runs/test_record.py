import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from twotower.core.errors import UserError
from twotower.runs.record import RunRecord

CONFIG = {
    "seed": 0,
    "optimizer": {"lr": 0.1, "betas": [0.9, 0.99]},
    "index": {"redis": {"url": "redis://u:pw@h:6379/0"}},
}


def start(folder, config_hash="a" * 16, **keys):
    given = {"run_name": "r", "config": CONFIG, "overrides": ["model=gru"], "choices": {"model": "gru"}, "seed": 0}
    return RunRecord.open(folder, config_hash=config_hash, **{**given, **keys})


def on_disk(folder):
    return json.loads((folder / "run.json").read_text())


def test_the_record_is_complete_from_the_first_second(tmp_path):
    start(tmp_path / "run")
    record = on_disk(tmp_path / "run")
    assert record["status"] == "running"
    assert record["schema"] == 1
    assert record["config"]["optimizer"] == {"lr": 0.1, "betas": [0.9, 0.99]}
    assert record["host"]["pid"] == os.getpid()
    assert record["versions"]["numpy"] == __import__("numpy").__version__
    assert set(record["git"]) == {"commit", "dirty"}
    assert record["started"] <= record["updated"]
    assert record["history"] == []
    assert record["ended"] is None


def test_secrets_never_reach_the_disk(tmp_path):
    config = {"redis": {"password": "geheim1", "url": "rediss://user:geheim2@host/0"}, "hub": {"hf_token": "geheim3"}}
    record = start(tmp_path, config=config, overrides=["redis.password=geheim1", "+hub.hf_token=geheim3"])
    record.update(note={"api_key": "geheim4"})
    record.close("failed", RuntimeError("cannot reach rediss://user:geheim2@host/0"))
    text = (tmp_path / "run.json").read_text()
    assert "geheim" not in text
    assert "rediss://user:***@host/0" in text


def test_update_merges_dicts_and_replaces_the_rest(tmp_path):
    record = start(tmp_path)
    record.update(timings={"data_seconds": 1.0}, data={"report": {"documents": 5}})
    record.update(timings={"fit_seconds": 2.0}, data={"report": {"queries": 3}}, device="cpu")
    saved = on_disk(tmp_path)
    assert saved["timings"] == {"data_seconds": 1.0, "fit_seconds": 2.0}
    assert saved["data"]["report"] == {"documents": 5, "queries": 3}
    assert saved["device"] == "cpu"


def test_nan_in_the_history_is_still_json(tmp_path):
    start(tmp_path).add_epoch({"epoch": 1, "train_loss": float("nan")})
    assert on_disk(tmp_path)["history"] == [{"epoch": 1, "train_loss": None}]


def test_resuming_keeps_the_history_up_to_the_resumed_epoch(tmp_path):
    record = start(tmp_path)
    for epoch in (1, 2, 3):
        record.add_epoch({"epoch": epoch, "train_loss": 1 / epoch})
    record.close("interrupted")
    began = on_disk(tmp_path)["started"]
    again = start(tmp_path)
    again.truncate_history(2)
    again.add_epoch({"epoch": 3, "train_loss": 0.25})
    saved = on_disk(tmp_path)
    assert [item["train_loss"] for item in saved["history"]] == [1.0, 0.5, 0.25]
    assert saved["status"] == "running"
    assert saved["ended"] is None
    assert saved["started"] == began
    assert len(saved["resumed"]) == 1


def test_time_adds_up_over_resumes(tmp_path):
    record = start(tmp_path)
    record.update(timings={"total_seconds": 100.0})
    record._seconds_before = 100.0
    record.close("interrupted")
    again = start(tmp_path)
    again.close("finished")
    assert 100.0 <= on_disk(tmp_path)["timings"]["total_seconds"] < 110.0


def test_another_config_in_the_same_folder_is_refused(tmp_path):
    start(tmp_path).close("finished")
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(UserError, match="another config"):
        start(tmp_path, config_hash="b" * 16)
    assert (tmp_path / "run.json").read_bytes() == before


def test_a_run_that_another_process_is_running_is_refused(tmp_path):
    code = (
        "import sys, time\nfrom twotower.runs.record import RunRecord\n"
        "RunRecord.open(sys.argv[1], run_name='r', config={}, config_hash='a' * 16)\n"
        "print('open', flush=True)\ntime.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline().strip() == "open"
        with pytest.raises(UserError, match=f"process {other.pid}"):
            start(tmp_path)
    finally:
        other.kill()
        other.wait()
    assert start(tmp_path).data["status"] == "running"  # the process is gone, so the run may go on


def test_a_cut_record_is_not_overwritten(tmp_path):
    (tmp_path / "run.json").write_text('{"schema": 1, "stat')
    with pytest.raises(UserError, match="not valid JSON"):
        start(tmp_path)
    assert (tmp_path / "run.json").read_text() == '{"schema": 1, "stat'


def test_artefacts_carry_hash_size_and_relative_path(tmp_path):
    record = start(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "m.pt").write_bytes(b"abc")
    record.add_artefact(tmp_path / "checkpoints" / "m.pt", "checkpoint")
    record.add_artefact("checkpoints/m.pt", "checkpoint")
    expected = {
        "path": "checkpoints/m.pt",
        "sha256": hashlib.sha256(b"abc").hexdigest(),
        "bytes": 3,
        "kind": "checkpoint",
    }
    assert on_disk(tmp_path)["artefacts"] == [expected]
    with pytest.raises(UserError, match="no such file"):
        record.add_artefact("nothing.pt", "checkpoint")


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot create"):
        start(tmp_path / "file" / "run")


def test_a_read_only_folder_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere, so ask the question instead
    with pytest.raises(UserError, match="permission denied"):
        start(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_its_reason(tmp_path):
    record = start(tmp_path)
    record.close("failed", ValueError("loss is nan"))
    assert on_disk(tmp_path)["error"] == {"type": "ValueError", "message": "loss is nan"}
    assert on_disk(tmp_path)["ended"]


def test_kill_9_at_any_moment_leaves_a_whole_record(tmp_path):
    code = (
        "import sys\nfrom twotower.runs.record import RunRecord\n"
        "r = RunRecord.open(sys.argv[1], run_name='r', config={'x': ['y' * 1000] * 50}, config_hash='a' * 16)\n"
        "print('open', flush=True)\nn = len(r.data['history'])\n"
        "while True:\n    n += 1\n    r.add_epoch({'epoch': n})"
    )
    before = 0
    for more in (0, 1, 2, 4, 7):
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline().strip() == "open"
        while len(on_disk(tmp_path)["history"]) < before + more:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        history = on_disk(tmp_path)["history"]
        assert [item["epoch"] for item in history] == list(range(1, len(history) + 1))
        assert len(history) >= before + more
        before = len(history)
    start(tmp_path).close("interrupted")
    assert sorted(item.name for item in tmp_path.iterdir()) == [".run.lock", "run.json"]  # nothing half-written is left


def test_of_two_processes_that_start_the_same_job_one_gets_it(tmp_path):
    code = (
        "import sys, time\nfrom twotower.core.errors import UserError\nfrom twotower.runs.record import RunRecord\n"
        "print('ready', flush=True)\nsys.stdin.readline()\n"
        "try:\n    RunRecord.open(sys.argv[1], run_name='r', config={}, config_hash='a' * 16)\n"
        "    print('mine', flush=True)\n"
        "except UserError:\n    print('taken', flush=True)\nsys.stdin.readline()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    both = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], **pipes) for _ in range(2)]
    try:
        assert [process.stdout.readline().strip() for process in both] == ["ready", "ready"]
        for process in both:
            process.stdin.write("go\n")
            process.stdin.flush()
        assert sorted(process.stdout.readline().strip() for process in both) == ["mine", "taken"]
    finally:
        for process in both:
            process.communicate("end\n")
