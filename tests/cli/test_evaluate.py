"""`twotower evaluate` on a run folder made by hand, with a model that has learned nothing."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from click.testing import CliRunner

from twotower.cli import encode
from twotower.cli.evaluate import command
from twotower.config import compose as choices
from twotower.core.errors import UserError
from twotower.core.files import sha256_file
from twotower.data import beir
from twotower.index.rebuild import rebuild
from twotower.model import checkpoint
from twotower.model.two_tower import TwoTower
from twotower.runs.record import RunRecord
from twotower.text.tokenizer import Tokenizer

DOCUMENTS = {"d1": "prune roses in spring", "d2": "tulips need cold", "d3": "soil for all flowers"}
QUERIES = {"q1": "when to prune", "q2": "cold flowers", "q3": "soil"}


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    (folder / "qrels").mkdir(parents=True)
    lines = [json.dumps({"_id": key, "title": "", "text": text}) for key, text in DOCUMENTS.items()]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    (folder / "queries.jsonl").write_text("\n".join(json.dumps({"_id": k, "text": t}) for k, t in QUERIES.items()))
    for split in ("dev", "test"):
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t2\nq3\td3\t1\n")
    return folder


@pytest.fixture
def run(tmp_path, data, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "outputs" / "first"
    text = {"kind": "words", "min_frequency": 1}
    tokenizer = Tokenizer.train([*DOCUMENTS.values(), *QUERIES.values()], text)
    torch.manual_seed(0)
    model = {"hidden_dim": 8, "output_dim": 8}
    sizes = {"vocabulary_size": tokenizer.size, "embedding_dim": 8}
    source = {"_target_": "twotower.data.beir.load", "path": str(data)}
    config = {
        "data": {"source": source, "eval_split": "dev", "max_query_length": 8, "max_document_length": 8},
        "text": text,
        "model": model,
        "evaluation": {"protocols": ["full"], "objective": "full/ndcg_10", "k": 100, "max_memory": "64MiB"},
        "seed": 0,
    }
    (folder / "checkpoints").mkdir(parents=True)
    checkpoint.save(
        folder / "checkpoints" / "two_tower_best_first_20260101_000000.pt",
        model=TwoTower(**sizes, **model),
        model_config={**model, **sizes},
        tokenizer=tokenizer,
        training_stats={"config": {"resolved": config}},
        epoch=1,
        eval_results={},
        wandb_run_id=None,
    )
    record = RunRecord.open(folder, run_name="first", config=config, config_hash="0123456789abcdef")
    record.update(
        data={"fingerprint": beir.load(path=data).fingerprint},
        evaluation={"split": "dev", "full": {"metrics": {"mrr_10": {"untrained": 0.125}}}},
    )
    record.close("finished")
    return folder


def invoke(*arguments):
    result = CliRunner().invoke(command, [str(item) for item in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_newest_finished_run_on_its_own_data(run):
    output = invoke()
    assert "full corpus of 3" in output
    assert "nDCG@10 ◂" in output
    assert "0.1250" in output  # the untrained model, from the record


def test_json_and_trec_run(run, data, tmp_path):
    output = invoke("--run", "first", "--json", "--split", "test", "--trec-run", tmp_path / "run.trec")
    content = json.loads(output)
    assert content["evaluation"]["split"] == "test"
    assert content["evaluation"]["full"]["num_queries_evaluated"] == 3
    assert content["evaluation"]["full"]["metrics"]["mrr_10"]["untrained"] is None  # not known on this split
    lines = (tmp_path / "run.trec").read_text().splitlines()
    assert len(lines) == 9
    assert {line.split()[0] for line in lines} == set(QUERIES)


def test_a_checkpoint_file_and_another_folder(run, data, tmp_path):
    other = data.rename(tmp_path / "elsewhere")
    (other / "qrels" / "dev.tsv").unlink()
    path = next((run / "checkpoints").glob("*.pt"))
    content = json.loads(invoke("--run", path, "--data", other, "--json"))
    assert content["evaluation"]["split"] == "test"  # the only one there
    with pytest.raises(UserError, match=r"own data can't be read.*--data DIR"):
        invoke("--run", path)


def test_a_model_that_changed_after_its_run_is_refused(run, tmp_path):
    path = next((run / "checkpoints").glob("*.pt"))
    record = json.loads((run / "run.json").read_text())
    entry = {"path": f"checkpoints/{path.name}", "sha256": sha256_file(path), "bytes": 1, "kind": "checkpoint"}
    (run / "run.json").write_text(json.dumps({**record, "artefacts": [entry]}))
    invoke("--run", "first")
    content = torch.load(path, weights_only=True)
    content["model_state_dict"]["embedding.weight"] += 1
    torch.save(content, path)
    for given in ("first", path):
        with pytest.raises(UserError, match=rf"{path.name} is not the model that .*run.json tells of"):
            invoke("--run", given)
    with pytest.raises(UserError, match="changed after the run"):
        rebuild(run, choices.compose(["exact"], []))
    texts = tmp_path / "texts.txt"
    texts.write_text("one\ntwo\n")
    given = [str(texts), "--run", str(run), "--out", str(tmp_path / "out")]
    with pytest.raises(UserError, match="changed after the run"):
        CliRunner().invoke(encode.command, given, catch_exceptions=False)
    with pytest.raises(UserError, match=r"take a copy .* by --run COPY\.pt; `twotower index` needs the run's own"):
        rebuild(run, choices.compose(["exact"], []))
    (run / "run.json").write_text(json.dumps({**record, "artefacts": [{**entry, "sha256": 5}]}))
    with pytest.raises(UserError, match="instead of 5"):
        invoke("--run", path)
    shutil.copy(path, tmp_path / "other.pt")
    invoke("--run", tmp_path / "other.pt")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "tset"], "no split 'tset'.*Did you mean 'test'"),
        (["--run", "frist"], "Did you mean 'first'"),
        (["--data", "nowhere"], "nowhere"),
        (["--run", "absent.pt"], "No checkpoint at absent.pt"),
    ],
)
def test_mistakes_are_named(run, arguments, message):
    with pytest.raises(UserError, match=message):
        invoke(*arguments)


def test_no_run_at_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="No finished run"):
        invoke()


def test_judgements_of_absent_documents_are_left_out_where_that_is_said(run, data):
    with open(data / "qrels" / "test.tsv", "a") as file:
        file.write("q1\tgone\t1\n")
    arguments = ["--run", run, "--data", data, "--split", "test"]
    with pytest.raises(UserError, match="gone"):
        CliRunner().invoke(command, [str(item) for item in arguments], catch_exceptions=False)
    assert "full" in invoke(*arguments, "--missing", "skip")


def test_the_tag_of_a_run_file_is_the_runs_name(run, tmp_path):
    invoke("--run", run, "--trec-run", tmp_path / "run.trec")
    tags = {line.split()[5] for line in (tmp_path / "run.trec").read_text().splitlines()}
    assert tags == {"first"}
