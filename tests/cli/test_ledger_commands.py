import csv
import io
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from twotower.cli.main import cli
from twotower.core.errors import UserError


def call(*arguments):
    result = CliRunner().invoke(cli, [str(item) for item in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def words(result):
    return " ".join(result.stdout.split())


def test_runs_shows_every_run_and_the_levels(at_home):
    text = call("runs", "--sort", "mrr_10").stdout
    assert text.count("finished") == 12
    assert "BM25" in text


def test_runs_top_keeps_the_spread_of_all_seeds(at_home):
    text = call("runs", "--sort", "mrr_10", "--top", "2").stdout
    assert text.count("finished") == 2
    assert "(3)" in text


def test_runs_as_json_and_csv(at_home):
    entries = json.loads(call("runs", "--where", "model=gru", "--json").stdout)
    assert len(entries) == 6
    assert entries[0]["metrics"]["full/mrr_10"]["low"] is not None
    rows = list(csv.DictReader(io.StringIO(call("runs", "--csv").stdout)))
    assert len(rows) == 12
    assert {row["model"] for row in rows} == {"gru", "mlp"}
    assert float(rows[0]["full/mrr_10"]) > 0
    with pytest.raises(UserError, match="exclude"):
        call("runs", "--json", "--csv")


def test_runs_by_config(at_home):
    lines = [line for line in call("runs", "--seeds").stdout.splitlines() if "3/3" in line]
    assert len(lines) == 4


def test_unreadable_records_are_named_in_every_form(fake, tmp_path):
    fake.make_run(tmp_path / "a", files=False)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "run.json").write_text("{")
    assert "cut short" in call("runs", tmp_path).stdout
    assert [item["status"] for item in json.loads(call("runs", tmp_path, "--json").stdout)].count("unreadable") == 1
    assert "cut short" in call("runs", tmp_path, "--csv").stderr


def test_no_runs_at_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "No run matches" in call("runs").stdout


def test_best_prints_a_path_for_scripts_and_warns_on_the_side(at_home):
    result = call("best", "--path")
    assert (at_home / result.stdout.strip() / "run.json").is_file()
    assert "not distinguishable from the next config" in result.stderr
    assert result.stdout.count("\n") == 1
    entry = json.loads(call("best", "--metric", "ndcg_10", "--json").stdout)
    assert entry["metric"] == "full/ndcg_10"


def test_compare_and_diff(at_home):
    text = words(call("compare", "mlp-contrastive-0", "gru-triplet-0"))
    assert "A is better than B by" in text
    assert "p (Holm)" in text
    assert "A beats B most on" in text
    content = json.loads(call("compare", "mlp-contrastive-0", "gru-triplet-0", "mlp-triplet-1", "--json").stdout)
    assert len(content["differences"]) == 3
    assert content["config"]["model"] == ["mlp", "gru", "mlp"]
    diff = json.loads(call("diff", "mlp-contrastive-0", "gru-contrastive-0", "--json").stdout)
    assert diff["model"] == ["mlp", "gru"]
    assert "The configs are the same" not in words(call("diff", "mlp-contrastive-0", "mlp-contrastive-1"))


def test_a_diff_tells_null_from_a_key_that_is_not_there(fake, tmp_path):
    first, second = (
        fake.make_run(tmp_path / name, model=model, files=False) for name, model in (("a", "mlp"), ("b", "gru"))
    )
    record = json.loads((first / "run.json").read_text())
    record["config"]["model"]["residual"] = None
    (first / "run.json").write_text(json.dumps(record))
    lines = call("diff", first, second).stdout.splitlines()
    assert ["model.residual", "null", "–"] in [line.split() for line in lines]


def test_brackets_and_control_characters_of_queries_are_shown_and_do_nothing():
    from types import SimpleNamespace

    from rich.console import Console

    from twotower.cli.compare import _queries_table

    item = SimpleNamespace(
        query="drop [/tmp] [bold]\x1b[2J", ranks=[1, None], first_hits=["d[/x]"] * 2, texts=["", "n" * 99]
    )
    out = io.StringIO()
    Console(file=out, width=160).print(_queries_table([item], [100, 20]))
    assert "drop [/tmp] [bold]\u241b[2J" in out.getvalue()
    assert "n…" in out.getvalue()
    assert ">20" in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_compare_says_when_two_are_alike(at_home):
    assert "can't be told apart" in words(call("compare", "mlp-contrastive-1", "mlp-contrastive-2"))
    with pytest.raises(UserError, match="2 to 26 runs"):
        call("compare", "mlp-contrastive-1")
    with pytest.raises(UserError, match="two runs"):
        call("diff", "mlp-contrastive-1")


def test_checkpoints(at_home):
    text = call("checkpoints", ".", "--top", "3").stdout
    assert text.count(".pt") == 3
    assert text.count("sweep: demo") == 3
    assert "Recall@10" in text
    assert call("checkpoints", ".", "--path").stdout.strip().endswith(".pt")
    assert len(json.loads(call("checkpoints", ".", "--json").stdout)) == 12


def test_clean_only_shows_until_told(fake, tmp_path):
    fake.make_run(tmp_path / "best", quality=0.9)
    fake.make_run(tmp_path / "poor", quality=0.4, model="gru")
    assert "would remove" in call("clean", tmp_path).stdout
    assert (tmp_path / "poor" / "index" / "faiss_flat").exists()
    assert "Freed" in call("clean", tmp_path, "--yes", "--no-documents").stdout
    assert not (tmp_path / "poor" / "index" / "faiss_flat").exists()
    assert (tmp_path / "poor" / "documents.db").exists()
    assert (tmp_path / "best" / "index" / "faiss_flat").exists()


def test_report(at_home, tmp_path):
    call("report", "demo", "--out", tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    with pytest.raises(UserError, match="nothing-here"):
        call("report", "nothing-here")


@pytest.mark.parametrize("name", ["runs", "best", "compare", "diff", "checkpoints", "clean", "report"])
def test_help(name):
    assert "Usage" in call(name, "--help").stdout


def test_a_mistake_is_one_line_and_exit_code_2(at_home):
    code = "from twotower.cli.main import main; main()"
    command = [sys.executable, "-c", code, "runs", "--where", "modle=gru"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=at_home)
    assert result.returncode == 2
    assert result.stderr.strip().count("\n") == 0
    assert "Did you mean 'model'" in result.stderr


def test_runs_best_and_compare_start_without_torch(at_home):
    for arguments in (["runs"], ["best", "--path"], ["compare", "mlp-contrastive-0", "gru-triplet-0"], ["checkpoints"]):
        code = f"import sys; from twotower.cli.main import cli; cli({arguments!r}, standalone_mode=False); " + (
            "sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=at_home).returncode == 0


def test_the_module_is_a_program_too(at_home):
    command = [sys.executable, "-m", "twotower.cli.main", "runs"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.count("finished") == 12


def test_failed_runs_are_one_line_until_asked_for(fake, tmp_path):
    fake.make_run(tmp_path / "a", files=False)
    fake.make_run(tmp_path / "b", files=False, status="failed")
    text = call("runs", tmp_path).stdout
    assert "1 failed run is not shown: twotower runs --where status=failed" in text
    assert str(tmp_path / "b") not in text
    assert str(tmp_path / "b") in call("runs", tmp_path, "--where", "status=failed").stdout


def test_the_help_of_runs_has_no_marks_of_its_own(at_home):
    assert "\\b" not in call("runs", "--help").stdout


def test_checkpoints_never_cut_numbers(at_home, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    wide = call("checkpoints", ".", "--top", "3").stdout
    assert "…" not in wide
