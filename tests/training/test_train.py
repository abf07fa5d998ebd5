"""From the command line to a complete run folder, in this process: what a run leaves and how it resumes."""

from __future__ import annotations

import csv
import json
import os
import pickle
import sqlite3
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch

from tests.started import started

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "data=beir",
    "embedding=random",
    "embedding.dim=32",
    "model.hidden_dim=32",
    "model.output_dim=32",
    "data.batch_size=24",
    "optimizer.lr=0.01",
    "trainer.enable_progress_bar=false",
    "trainer.threads=1",
]


def command(tiny_beir: Path, *overrides: str) -> list[str]:
    return [sys.executable, str(ROOT / "train.py"), *SMALL, f"data.path={tiny_beir}", *overrides]


def launch(folder: Path, tiny_beir: Path, *overrides: str, **environment: str) -> subprocess.CompletedProcess[str]:
    _, *arguments = command(tiny_beir, *overrides)
    return started(*arguments, cwd=folder, environment={**os.environ, "COLUMNS": "200", **environment})


def only_run(folder: Path) -> Path:
    found = [path.parent for path in folder.glob("outputs/*/*/run.json")]
    assert len(found) == 1, found
    return found[0]


@pytest.fixture(scope="module")
def finished(tiny_beir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    done = launch(folder, tiny_beir, "trainer.max_epochs=3", "index=[faiss_flat,exact]")
    assert done.returncode == 0, done.stderr[-3000:]
    return done, only_run(folder)


def test_the_terminal_ends_with_the_table_and_the_search_command(finished):
    done, run = finished
    assert "MRR@10" in done.stdout
    assert "chance" in done.stdout
    assert "BM25" in done.stdout
    assert "twotower search" in done.stdout.splitlines()[-1]
    assert str(run.relative_to(run.parents[2])) in done.stdout.splitlines()[-1]


def test_the_run_folder_is_complete(finished):
    _, run = finished
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["timings"]["encode_documents_per_second"] > 0
    assert record["config"]["model"]["hidden_dim"] == 32
    assert record["choices"]["model"] == "mlp"
    assert [entry["epoch"] for entry in record["history"]] == [1, 2, 3]
    assert all(np.isfinite(entry["train_loss"]) and "full/mrr_10" in entry["metrics"] for entry in record["history"])
    assert {"full", "rerank", "split"} <= set(record["evaluation"])
    for figures in record["evaluation"]["full"]["metrics"].values():
        assert figures["low"] <= figures["value"] <= figures["high"]
        assert None not in (figures["chance"], figures["bm25"], figures["untrained"])
    for artefact in record["artefacts"]:
        assert (run / artefact["path"]).exists(), artefact
    kinds = sorted(artefact["kind"] for artefact in record["artefacts"])
    assert kinds == ["checkpoint", "documents", "history", "index", "index", "lexical", "per_query", "query_model"]
    for name in (
        ".hydra/config.yaml",
        "train.log",
        "checkpoints/last.ckpt",
        "checkpoints/best.ckpt",
        "index/exact/manifest.json",
    ):
        assert (run / name).is_file(), name
    assert parquet.read_table(run / "per_query.parquet").num_rows == 2 * 60
    with sqlite3.connect(run / "documents.db") as database:
        assert database.execute("select count(*) from documents").fetchone() == (240,)


def test_the_model_learns_more_than_chance_and_the_untrained(finished):
    _, run = finished
    figures = json.loads((run / "run.json").read_text())["evaluation"]["full"]["metrics"]["mrr_10"]
    assert figures["low"] > 3 * figures["chance"]
    assert figures["low"] > figures["untrained"]


def test_csv_holds_every_epoch(finished):
    _, run = finished
    with open(run / "metrics" / "metrics.csv") as file:
        rows = [row for row in csv.DictReader(file) if row.get("eval_full/mrr_10")]
    record = json.loads((run / "run.json").read_text())
    assert [float(row["eval_full/mrr_10"]) for row in rows] == pytest.approx(
        [entry["metrics"]["full/mrr_10"] for entry in record["history"]], abs=1e-6
    )


def test_the_exported_checkpoint_is_plain_data_and_whole(finished):
    _, run = finished
    (path,) = (run / "checkpoints").glob("two_tower_best_*.pt")
    content = torch.load(path, weights_only=True)
    assert set(content) == {
        "model_state_dict",
        "embedding_matrix",
        "word_to_index",
        "index_to_word",
        "model_config",
        "training_stats",
        "epoch",
        "eval_results",
        "wandb_run_id",
    }
    assert content["embedding_matrix"].shape == (len(content["word_to_index"]), 32)
    assert all(content["index_to_word"][index] == word for word, index in content["word_to_index"].items())
    stats = content["training_stats"]
    assert set(stats) == {"config", "training_stats", "evaluation_stats", "best_metrics", "best_epoch"}
    flat = "batch_size learning_rate optimizer weight_decay beta1 beta2 loss_type temperature margin scheduler"
    flat += " epochs hidden_dim num_layers dropout patience grad_clip eval_every_epoch eval_max_queries num_workers"
    assert set(flat.split()) <= set(stats["config"])
    assert (stats["config"]["learning_rate"], stats["config"]["optimizer"]) == (0.01, "adam")
    record = json.loads((run / "run.json").read_text())
    assert stats["config"]["resolved"] == record["config"]
    assert [set(entry) for entry in stats["training_stats"]] == [
        {
            "epoch",
            "train_loss",
            "train_accuracy",
            "learning_rate",
            "eval_mrr",
            "eval_mrr@10",
            "eval_recall@10",
            "eval_ndcg@10",
            "eval_map",
        }
    ] * 3
    assert stats["best_epoch"] == record["best_epoch"] == content["epoch"]
    assert stats["evaluation_stats"][0]["evaluation_type"] == "full"
    assert (
        json.loads((path.parent / f"training_history_{path.stem}.json").read_text())["best_epoch"] == content["epoch"]
    )
    names = set(content["model_state_dict"])
    assert "embedding.weight" in names
    assert all(name.startswith(("embedding.", "query_tower.layers.", "document_tower.layers.")) for name in names)


def test_every_lightning_checkpoint_loads_without_running_code(finished):
    _, run = finished
    for name in ("last.ckpt", "best.ckpt"):
        assert torch.load(run / "checkpoints" / name, weights_only=True)["epoch"] in (0, 1, 2)


def test_the_exported_model_gives_the_vectors_of_the_index(finished):
    from twotower.model.checkpoint import load
    from twotower.model.encoding import encode
    from twotower.runs.find import find_checkpoint

    _, run = finished
    checkpoint = load(find_checkpoint(run))
    with sqlite3.connect(run / "documents.db") as database:
        texts = [
            f"{title} {text}".strip()
            for title, text in database.execute("select title, text from documents order by row")
        ]
    vectors = encode(
        checkpoint.model, checkpoint.tokenizer.encode(texts, checkpoint.max_document_length), side="document"
    )
    stored = np.load(next((run / "index" / "exact").glob("*.npy")), mmap_mode="r")
    if stored.shape != vectors.shape:
        stored = next(
            np.load(item) for item in (run / "index" / "exact").glob("*.npy") if np.load(item).shape == vectors.shape
        )
    np.testing.assert_allclose(stored, vectors, atol=1e-5)


def test_a_run_stopped_and_resumed_ends_with_the_same_weights(tiny_beir, tmp_path):
    settings = ("trainer.max_epochs=4", "model.dropout=0.2", "index=none", "callbacks.early_stopping.patience=10")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    assert launch(whole, tiny_beir, *settings).returncode == 0
    process = subprocess.Popen(
        command(tiny_beir, *settings),
        cwd=parts,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ},
    )
    wait_for_epoch(parts, 2, process)
    process.kill()
    process.wait()
    first, second = only_run(whole), only_run(parts)
    stopped = json.loads((second / "run.json").read_text())
    assert stopped["untrained"] == json.loads((first / "run.json").read_text())["untrained"]
    stopped["untrained"]["full"]["mrr_10"] = 0.0123  # that it is read, and not measured once more
    (second / "run.json").write_text(json.dumps(stopped))
    resumed = launch(parts, tiny_beir, *settings, "ckpt_path=last")
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    weights = [
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for run in (first, second)
    ]
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name
    records = [json.loads((run / "run.json").read_text()) for run in (first, second)]
    assert [entry["epoch"] for entry in records[1]["history"]] == [1, 2, 3, 4]
    figures = [record["evaluation"]["full"]["metrics"]["mrr_10"] for record in records]
    assert figures[1]["untrained"] == 0.0123
    figures[1]["untrained"] = figures[0]["untrained"]
    assert [entry["train_loss"] for entry in records[0]["history"]] == [
        entry["train_loss"] for entry in records[1]["history"]
    ]
    assert records[0]["evaluation"] == records[1]["evaluation"]


def wait_for_epoch(folder: Path, epoch: int, process: subprocess.Popen) -> None:
    import time

    for _ in range(2400):
        assert process.poll() is None, "the run ended before it could be stopped"
        for path in folder.glob("outputs/*/*/run.json"):
            if (
                len(json.loads(path.read_text())["history"]) >= epoch
                and (path.parent / "checkpoints" / "last.ckpt").is_file()
            ):
                return
        time.sleep(0.02)
    raise AssertionError("no epoch was finished in time")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["modle=gru"], "model"),
        (["model=gur"], "Did you mean 'gru'"),
        (["model.hiden_dim=3"], "model.hidden_dim"),
        (["model.dropout=1.5"], "model.dropout"),
        (["optimizer.lr=-1", "data.path=/nowhere"], "optimizer.lr"),  # before the data is read
        (["index=[faiss_flat,faiss_flta]"], "Did you mean 'faiss_flat'"),
        (["trainer.limit_train_batches=.001"], "limit_train_batches"),
        (["logger=tensorboard", "+logger.tensorboard.foo=1"], "foo"),
        (["data.eval_split=test"], "dev"),
        (["evaluation.objective=full/mrr_11"], "full/mrr_1"),
        (["index=faiss_gpu"], "GPU"),
        (["index=redis", "index.redis.url=redis://127.0.0.1:1"], "make redis"),
        (["ckpt_path=last"], "ckpt_path"),
        (["data.path=/nowhere"], "/nowhere"),
        (["callbacks.evaluate.every_n_epochs=0"], "callbacks.evaluate.every_n_epochs"),
        (["loss._target_=os.system"], "not allowed"),
        (["trainer.max_epochs=0"], "trainer.max_epochs"),
        (["trainer.gradient_clip_val=-1"], "trainer.gradient_clip_val"),
        (["evaluation.confidence=2"], "evaluation.confidence"),
        (["seed=-1"], "seed"),
        (["data=docstrings"], "data.path"),
        (["+optimzer=3"], "optimizer"),  # keys of one's own are welcome, misspelt ones of ours are not
        (["~callbacks.record"], "callbacks.record"),
        (["evaluation.protocols=rerank"], "evaluation.objective=rerank/mrr_10"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(tiny_beir, tmp_path, overrides, message):
    if overrides == ["index=faiss_gpu"] and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = launch(tmp_path, tiny_beir, "trainer.max_epochs=1", *overrides)
    assert done.returncode == 2, done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert "Traceback" not in done.stderr
    assert message in lines[-1]
    assert len(lines) == 1, lines
    assert not (tmp_path / "outputs").exists(), "a config that was refused leaves no run folder"


def test_precision_auto_stays_what_it_was_for_a_resumed_or_repeated_run():
    from twotower.runs.settings import TrainerSettings
    from twotower.training.train import choose_precision, earlier_precision

    assert earlier_precision({}) is None
    assert earlier_precision({"precision": "32-true", "rerun_of": {"precision": "bf16-mixed"}}) == "32-true"
    assert earlier_precision({"rerun_of": {"precision": "bf16-mixed"}}) == "bf16-mixed"
    for wanted, chosen in (("auto", "bf16-mixed"), ("32-true", "32-true")):
        trainer = TrainerSettings(lightning={}, max_epochs=1, precision=wanted)
        assert choose_precision(trainer, None, before="bf16-mixed") == chosen


@pytest.mark.parametrize(
    ("flags", "gru"),
    [("avx2 amx_bf16 amx_tile", "bf16-mixed"), ("avx512f avx512_bf16", "bf16-mixed"), ("avx2 avx512f", "32-true")],
)
def test_precision_auto_follows_the_processor_and_the_towers(monkeypatch, flags, gru):
    from twotower.kernels import cpu

    monkeypatch.setattr(cpu, "processor_name", lambda: f"Some Processor 1 2 {flags}")
    assert {cpu.precision_for(recurrent=True) for _ in range(3)} == {gru}
    assert cpu.precision_for(recurrent=False) == "32-true"


def test_a_foreign_or_unfitting_checkpoint_is_one_line(finished, tiny_beir, tmp_path):
    from twotower.core.errors import UserError
    from twotower.model.checkpoint import read
    from twotower.training.train import train
    from twotower.training.training_state import check_resume

    _, run = finished
    last = run / "checkpoints" / "last.ckpt"
    config = json.loads((run / "run.json").read_text())["config"]
    check_resume(last, config)
    with pytest.raises(UserError, match=r"optimizer\.lr=0\.01, not 0\.5"):
        check_resume(last, {**config, "optimizer": {**config["optimizer"], "lr": 0.5}})
    (tmp_path / "half.ckpt").write_bytes(last.read_bytes()[:5000])
    (tmp_path / "empty.pt").write_bytes(b"")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    torch.save({"model": Path}, tmp_path / "code.ckpt")
    for name, message in (("half.ckpt", "cut short"), ("other.ckpt", "no training state"), ("code.ckpt", "refused")):
        with pytest.raises(UserError, match=message):
            check_resume(tmp_path / name, config)
    with pytest.raises(UserError, match="cut short"):
        read(tmp_path / "empty.pt")
    (tmp_path / "pickle.pt").write_bytes(pickle.dumps(Path("x")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch's own remark would be a second line
        with pytest.raises(UserError, match="refused"):
            read(tmp_path / "pickle.pt")
    content = torch.load(last, weights_only=True)
    content["state_dict"]["model.embedding.weight"] = content["state_dict"]["model.embedding.weight"][:-1]
    torch.save(content, tmp_path / "shape.ckpt")
    config = json.loads(json.dumps(config).replace(str(run), str(tmp_path / "run")))  # leaves the finished run alone
    config["trainer"]["max_epochs"] += 1
    with pytest.raises(UserError, match="weights have another shape"):
        train(config, run_dir=tmp_path / "run", overrides=[], choices={}, resume=tmp_path / "shape.ckpt")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    record["data"]["fingerprint"] = "of other data"
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"the data of .*run has changed since that run began"):
        train(config, run_dir=tmp_path / "run", overrides=[], choices={}, resume=last)


def test_pre_training_is_recorded_and_not_repeated_by_a_run_that_goes_on(tiny_beir, tmp_path):
    quick = ["pretrain=crops", "pretrain.epochs=3", "pretrain.batch_size=64", "trainer.max_epochs=1", "index=none"]
    done = launch(tmp_path, tiny_beir, *quick)
    assert done.returncode == 0, done.stderr[-3000:]
    run = only_run(tmp_path)
    first = json.loads((run / "run.json").read_text())
    assert first["pretrain"]["steps"] == 12
    assert first["pretrain"]["metrics"]["full/mrr_10"] != first["evaluation"]["full"]["metrics"]["mrr_10"]["untrained"]
    again = [*quick[:3], "trainer.max_epochs=2", "index=none", f"ckpt_path={run / 'checkpoints' / 'last.ckpt'}"]
    done = launch(tmp_path, tiny_beir, *again)
    assert done.returncode == 0, done.stderr[-3000:]
    other = next(path for path in tmp_path.glob("outputs/*/*") if path != run)
    second = json.loads((other / "run.json").read_text())
    assert second["history"][0]["epoch"] == 2, "it goes on after the epoch of the checkpoint"
    assert "pretrain" not in second, "what was learnt from the corpus is in the checkpoint"
