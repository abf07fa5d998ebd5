import json
from datetime import UTC, datetime, timedelta

import pytest

from twotower.config.instantiate import config_hash
from twotower.config.names import NOT_IN_HASH
from twotower.core.host import host_facts
from twotower.runs.run import read_run


def write(folder, record):
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(record if isinstance(record, str) else json.dumps(record))
    return read_run(folder)


def running(fake, **host):
    return {**fake.record(status="running", minutes_ago=1), "host": {**host_facts(), **host}}


def test_not_compared_are_the_keys_left_out_of_the_hash(fake, tmp_path):
    run, config = write(tmp_path, fake.record()), fake.config()
    assert [key for key in ("optimizer.lr", "seed", *NOT_IN_HASH) if run.counts(key)] == ["optimizer.lr", "seed"]
    assert config_hash({**config, "tags": ["other"], "run_name": "other"}) == config_hash(config)
    assert config_hash({**config, "seed": 7}) != config_hash(config)


def test_a_running_record_is_running_while_its_process_is(fake, tmp_path):
    assert write(tmp_path, running(fake)).status == "running"
    assert write(tmp_path, running(fake, process_started=1)).status == "interrupted"


def test_on_another_host_silence_decides(fake, tmp_path):
    record = running(fake, name="elsewhere")
    assert write(tmp_path, record).status == "running"
    record["updated"] = (datetime.now(UTC) - timedelta(hours=7)).isoformat()
    assert write(tmp_path, record).status == "running?"


def test_a_clock_that_jumped_makes_no_negative_age(fake, tmp_path):
    record = {**fake.record(), "updated": (datetime.now(UTC) + timedelta(days=400)).isoformat()}
    assert write(tmp_path, record).age == 0.0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "cut short"),
        ('{"schema": 1, "status": "fin', "cut short"),
        ("[1, 2]", "holds a list"),
        ('{"schema": 0}', "older version"),
        ('{"schema": 2}', "schema 2"),
        ("{}", "schema None"),
        ('{"schema": 1, "status": "done"}', "unknown status"),
        ('{"schema": 1, "status": "finished", "config": 3}', "'config'"),
        ("\ufeff\x00binary", "not JSON"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_unreadable_records_say_why(tmp_path, content, reason):
    run = write(tmp_path, content)
    assert run.status == "unreadable"
    assert reason in run.problem


@pytest.mark.parametrize("key", ["evaluation", "objective", "data", "history", "timings", "choices", "error", "sweep"])
def test_a_field_of_the_wrong_kind_is_unreadable_not_a_crash(fake, tmp_path, key):
    run = write(tmp_path, {**fake.record(), key: "text"})
    assert run.status == "unreadable"
    assert key in run.problem


def test_every_prefix_of_a_record_is_read_or_refused(fake, tmp_path):
    text = json.dumps(fake.record())
    for length in range(0, len(text), 997):
        assert write(tmp_path, text[:length]).status == "unreadable"


def test_scores_and_fallbacks(fake, tmp_path):
    record = fake.record()
    run = write(tmp_path, record)
    assert run.score("full/mrr_10").value == record["evaluation"]["full"]["metrics"]["mrr_10"]["value"]
    assert run.score("rerank/mrr_10") is None
    unfinished = write(tmp_path, {**record, "evaluation": None, "objective": None})
    assert unfinished.score("full/mrr_10").value == max(item["metrics"]["full/mrr_10"] for item in record["history"])


def test_seeds_of_one_config_share_a_group_and_nothing_else_does(fake, tmp_path):
    zero, one = (write(tmp_path / str(seed), fake.record(seed=seed)).group for seed in (0, 1))
    other = write(tmp_path / "other", fake.record(seed=0, lr=0.5)).group
    elsewhere = write(tmp_path / "data", fake.record(seed=0, fingerprint="0" * 64)).group
    assert zero == one
    assert len({zero, other, elsewhere}) == 3
