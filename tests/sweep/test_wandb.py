"""What runs tell W&B, read back: from the file of an offline run, and by a stand-in server from real agents."""

import importlib.util
import json
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def load_server():
    spec = importlib.util.spec_from_file_location("wandb_server", ROOT / "tests" / "wandb_server.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["wandb_server"] = module
    spec.loader.exec_module(module)
    return module.WandbServer


def records_in(path):
    """The records of a .wandb file: a log of 32 kB blocks, each record in pieces with a 7-byte header."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, pieces = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        pieces += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or last piece
            record = Record()
            record.ParseFromString(pieces)
            pieces = b""
            yield record


def name_of(item):
    return ".".join(item.nested_key) or item.key


def read_offline(path):
    """Config, history, summary and exit code in a .wandb file."""
    found = {"config": {}, "history": [], "summary": {}, "exit": None, "artifacts": []}
    for record in records_in(path):
        kind = record.WhichOneof("record_type")
        if kind in ("run", "config"):
            config = record.run.config if kind == "run" else record.config
            found["config"] |= {name_of(item): json.loads(item.value_json) for item in config.update}
        elif kind == "history":
            found["history"].append({name_of(item): json.loads(item.value_json) for item in record.history.item})
        elif kind == "summary":
            found["summary"] |= {name_of(item): json.loads(item.value_json) for item in record.summary.update}
        elif kind == "exit":
            found["exit"] = record.exit.exit_code
        elif kind == "request" and record.request.HasField("log_artifact"):
            found["artifacts"].append(record.request.log_artifact.artifact.type)
        elif kind == "artifact":
            found["artifacts"].append(record.artifact.type)
    return found


def same_epochs(history, record):
    """Every epoch's metrics reached W&B under sortable names."""
    for epoch in record["history"]:
        sent = [row for row in history if row.get("epoch") == epoch["epoch"] or any(k.startswith("eval_") for k in row)]
        for name, value in epoch["metrics"].items():
            assert "@" not in name
            assert any(row.get(f"eval_{name}") == pytest.approx(value) for row in sent), (epoch["epoch"], name)
        assert any(row.get("train_loss") == pytest.approx(epoch["train_loss"], rel=1e-5) for row in history)


def same_summary(summary, record):
    best = next(item for item in record["history"] if item["epoch"] == record["best_epoch"])
    for name, value in best["metrics"].items():
        assert summary[f"eval_{name}"] == pytest.approx(value), name
    for protocol in ("full", "rerank"):
        for name, figure in record["evaluation"][protocol]["metrics"].items():
            assert summary[f"best/{protocol}/{name}"] == pytest.approx(figure["value"])
    assert summary["objective"] == pytest.approx(record["objective"]["value"])
    assert summary["best_epoch"] == record["best_epoch"]


def test_an_offline_run_holds_all_that_its_record_holds(place):
    wandb = ["logger=[wandb]", "logger.wandb.log_artifacts=true"]
    place.real("trainer.max_epochs=2", "index=none", *wandb, WANDB_MODE="offline")
    (run_dir,) = place.folder.glob("outputs/*/*")
    record = json.loads((run_dir / "run.json").read_text())
    (path,) = run_dir.glob("wandb/offline-run-*/run-*.wandb")
    found = read_offline(path)
    assert found["config"] | {"_wandb": 0} == {**record["config"], "_wandb": 0}
    same_epochs(found["history"], record)
    same_summary(found["summary"], record)
    assert found["exit"] == 0
    assert record["wandb"]["run_id"] in path.name
    assert sorted(found["artifacts"]) == ["embeddings", "model"]
    assert list(run_dir.glob("*/metrics.csv")), "written whatever other loggers are chosen"


class Agent:
    """A sweep made by `wandb sweep` and worked on by `wandb agent`, both real, against the stand-in."""

    def __init__(self, place, jobs):
        self.place, self.server = place, load_server()(jobs)
        self.server.program = str(ROOT / "train.py")
        self.server.start()
        path = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(place.folder), "WANDB_SILENT": "false"}
        self.environment = place.environment(**self.server.environment(), **path)

    def wandb(self, *arguments):
        return subprocess.Popen(
            [str(BIN / "wandb"), *arguments],
            cwd=self.place.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def make_sweep(self):
        sweep = yaml.safe_load((ROOT / "experiments" / "sweeps" / "try.yaml").read_text())
        sweep["command"][-1:] = [*self.place.tiny(), "index=none", "${args_no_hyphens}"]
        (self.place.folder / "sweep.yaml").write_text(yaml.safe_dump(sweep))
        process = self.wandb("sweep", "sweep.yaml")
        output, _ = process.communicate(timeout=120)
        assert "wandb agent team/twotower/sweep0" in output, output
        return "team/twotower/sweep0"


@pytest.fixture
def agent(place):
    made = []

    def make(*jobs):
        made.append(Agent(place, list(jobs)))
        return made[0]

    yield make
    made[0].server.stop()


def without_empty(value):
    """W&B's protocol has no empty dict: such a value is not sent."""
    if isinstance(value, dict):
        return {key: without_empty(item) for key, item in value.items() if item != {}}
    return value


def test_an_agent_trains_and_what_it_logged_is_what_was_recorded(agent):
    good = {"model": "mlp", "loss": "triplet", "optimizer.lr": 0.02, "trainer.max_epochs": 2, "model.dropout": 0.1}
    bad = {"evaluation.objective": "full/nonsense"}
    agent = agent(good, bad)
    output, _ = agent.wandb("agent", agent.make_sweep()).communicate(timeout=300)
    server = agent.server
    assert server.unknown == [], output
    run_dirs = sorted(agent.place.folder.glob("outputs/*/*"))
    records = {}
    for path in run_dirs:
        record = json.loads((path / "run.json").read_text())
        records[record["wandb"]["run_id"]] = record
    assert set(records) == set(server.runs) == {"run1", "run2"}, output
    assert {record["wandb"]["sweep_id"] for record in records.values()} == {"sweep0"}

    run, record = server.runs["run1"], records["run1"]
    assert (run.sweep, run.exit_code, record["status"]) == ("sweep0", 0, "finished")
    sent = without_empty(record["config"])
    lost = {key for key, value in sent.items() if value and run.config.get(key) != value}
    assert lost == {"model", "loss"}, "what the sweep file names, W&B keeps for itself"
    assert run.config["resolved"] == {key: record["config"][key] for key in ("model", "loss")}
    assert (run.config["model"], run.config["loss"]) == ("mlp", "triplet")
    assert record["config"]["model"]["dropout"] == 0.1
    same_epochs(list(run.history.values()), record)
    same_summary(run.summary, record)

    assert (server.runs["run2"].exit_code, records["run2"]["status"]) == (1, "failed")
    assert "nonsense" in records["run2"]["error"]["message"]

    import torch

    (checkpoint,) = run_dirs[0].glob("checkpoints/two_tower_best_*.pt")
    content = torch.load(checkpoint, weights_only=True)
    assert content["wandb_run_id"] == "run1"
    assert content["training_stats"]["config"]["wandb"] == {"run_id": "run1", "sweep_id": "sweep0"}


@pytest.mark.slow
def test_a_run_stopped_by_hyperband_is_no_fault_of_the_agent(agent, wait_for):
    """W&B stops a run by SIGTERM; an agent that saw an exit code above 0 would count a failure and give up."""
    agent = agent({"trainer.max_epochs": 2000, "callbacks.early_stopping.patience": 2000})
    process = agent.wandb("agent", agent.make_sweep())
    wait_for(lambda: any(len(run.history) > 3 for run in agent.server.runs.values()), 120)
    agent.server.stop_running = True
    output, _ = process.communicate(timeout=120)
    (run_dir,) = agent.place.folder.glob("outputs/*/*")
    record = json.loads((run_dir / "run.json").read_text())
    assert record["status"] == "interrupted"
    assert (run_dir / "checkpoints" / "last.ckpt").is_file()
    assert "failed runs" not in output


def test_sigterm_ends_a_run_by_that_signal(place, wait_for):
    arguments = ["trainer.max_epochs=2000", "callbacks.early_stopping.patience=2000", "index=none"]
    process = place.start(*place.tiny(), *arguments, script=place.train)
    wait_for(lambda: list(place.folder.glob("outputs/*/*/checkpoints/last.ckpt")), 120)
    process.send_signal(signal.SIGTERM)
    output = "".join(process.communicate(timeout=60))
    assert process.returncode == -signal.SIGTERM, output
    (path,) = place.folder.glob("outputs/*/*/run.json")
    assert json.loads(path.read_text())["status"] == "interrupted"
    assert "Traceback" not in output
