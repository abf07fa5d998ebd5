import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from twotower.cli.index import command as index_command
from twotower.cli.search import command as search_command
from twotower.core.errors import UserError
from twotower.runs.find import find_newest_run


def run(command, *arguments, **given):
    # In a terminal this wide nothing that is looked for is broken over two lines.
    runner = CliRunner(env={"COLUMNS": "200"})
    return runner.invoke(command, [str(item) for item in arguments], catch_exceptions=False, **given)


def test_table_shows_rank_score_id_and_where_the_time_went(run_dir):
    result = run(search_command, "invert", "a", "matrix", "--run", run_dir, "-k", 3)
    assert result.exit_code == 0
    for piece in ("matrix-", "random document", "tokenise", "fetch", "recall@10 1.000"):
        assert piece in result.output


def test_json_is_only_json_on_stdout(run_dir):
    answer = json.loads(run(search_command, "sort a list", "--run", run_dir, "-k", 2, "--json").stdout)
    assert len(answer["hits"]) == 2
    assert answer["run"] == str(run_dir)


def test_prompt_asks_until_end_of_input(run_dir):
    given = "sort numbers in place with a stable algorithm\n\nxyzzy\ncompress a folder\n"
    result = run(search_command, "--run", run_dir, "-k", 1, input=given)
    assert result.exit_code == 0
    assert "sorting-" in result.output
    assert "cannot be searched" in result.output
    assert "archive-" in result.output


@pytest.mark.parametrize(
    ("arguments", "says"), [((" ",), "empty"), (("--json",), "needs a query"), (("x", "--web"), "takes no query")]
)
def test_mistakes_are_told_before_anything_is_loaded(arguments, says):
    with pytest.raises(UserError, match=says):
        run(search_command, *arguments)


def test_newest_finished_run_is_the_default(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="No finished run"):
        find_newest_run()
    for number, (name, status) in enumerate((("old", "finished"), ("new", "at_chance"), ("failed", "failed"))):
        folder = tmp_path / "outputs" / "day" / name
        folder.mkdir(parents=True)
        record = small._record(name, {}, status)
        record["updated"] = record["ended"] = f"2026-01-0{number + 1}T00:00:00+00:00"
        (folder / "run.json").write_text(json.dumps(record))
    assert find_newest_run().name == "new"


def test_index_is_built_for_an_earlier_run_and_then_found(small, tmp_path):
    folder = small.make_run(tmp_path / "run", small.collection(), {})
    result = run(index_command, "--run", folder, "--index", "faiss_hnsw,exact", "faiss_hnsw.ef_search=40")
    assert result.exit_code == 0
    assert "efSearch=40" in result.output
    assert f"twotower search --run {folder}" in result.output
    assert sorted(item.name for item in (folder / "index").iterdir()) == ["exact", "faiss_hnsw"]
    found = run(search_command, "compress a folder", "--run", folder, "--index", "faiss_hnsw", "--json")
    assert json.loads(found.stdout)["hits"][0]["doc_id"].startswith("archive-")


def test_redis_is_searched_like_the_others(small, tmp_path, redis_url):
    folder = small.make_run(tmp_path / "run", small.collection(), {})
    run(index_command, "--run", folder, "--index", "redis")
    found = run(search_command, "compress a folder", "--run", folder, "--json")
    answer = json.loads(found.stdout)
    assert (answer["index"], answer["hits"][0]["doc_id"][:8]) == ("redis", "archive-")


def test_make_redis_listens_on_this_machine_only(tmp_path):
    import socket

    import redis

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.redis_server"],
        cwd=tmp_path,
        env={**os.environ, "PORT": str(port), "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.DEVNULL,
    )
    try:
        client = redis.Redis(port=port)
        for _ in range(200):
            try:
                client.ping()
                break
            except redis.ConnectionError:
                time.sleep(0.05)
        assert client.execute_command("FT._LIST") == []
        assert "127.0.0.1" in str(client.config_get("bind"))
        assert "0.0.0.0" not in str(client.config_get("bind"))
        assert (tmp_path / ".redis").is_dir()
    finally:
        process.terminate()
        process.wait(20)
