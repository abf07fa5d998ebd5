"""Every YAML in conf/ composes, and trains one step to the end: export, record and all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir

from twotower.config.instantiate import config_hash, plain
from twotower.training.train import train

CONF = Path(__file__).resolve().parents[1] / "conf"
SMALL = {
    "data": "beir",
    "embedding": "random",
    "embedding.dim": "16",
    "model.hidden_dim": "16",
    "model.output_dim": "16",
    "data.batch_size": "32",
    "trainer.max_epochs": "1",
    "trainer.limit_train_batches": "1",
    "trainer.enable_progress_bar": "false",
    "callbacks.evaluate.max_queries": "20",
    "index": "none",
}
NEEDS_MORE = {
    ("data", "docstrings"): ["data.source.packages=[rich,click]"],
    ("embedding", "glove"): ["embedding.dim=50", "model.output_dim=50"],
}
ELSEWHERE = ("hydra", "experiment", "sweep", "local", "callbacks")
"""Groups that tests of their own run; every run here has all the default callbacks."""
CASES = sorted(
    (path.parent.name, path.stem)
    for path in CONF.glob("*/*.yaml")
    if path.parent.name not in ELSEWHERE and path.stem not in ("base", "default")
)


def settings(tiny_beir: Path, run_dir: Path, group: str, choice: str) -> list[str]:
    chosen = dict(SMALL)
    chosen["data.path"] = str(tiny_beir)
    if group == "embedding" and choice == "glove":
        del chosen["embedding.dim"]
    if group == "data" and choice == "docstrings":
        del chosen["data.path"]
    chosen[group] = choice
    more = NEEDS_MORE.get((group, choice), [])
    return [*(f"{key}={value}" for key, value in chosen.items()), f"paths.run={run_dir}", *more]


def prepare(tiny_beir: Path, tmp_path: Path, group: str, choice: str, request: pytest.FixtureRequest) -> list[str]:
    """Gives what a choice needs from outside: a file of pairs, word vectors, a Redis."""
    if (group, choice) in (("data", "jsonl"), ("data", "hf")):
        pairs = [
            {"query": f"word{i} one", "positive": f"text{i} about word{i}", "negatives": [f"none{i}"]}
            for i in range(80)
        ]
        (tmp_path / "pairs").mkdir()
        (tmp_path / "pairs" / "train.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
        named = tmp_path / "pairs" / ("train.jsonl" if choice == "jsonl" else "")
        return [f"data.path={named}", *(["data.source.streaming=true"] if choice == "hf" else [])]
    if (group, choice) == ("data", "msmarco"):
        rows = [
            {
                "query_id": i,
                "query": f"what is word{i}",
                "query_type": "description",
                "answers": ["x"],
                "passages": {
                    "passage_text": [f"word{i} is thing{i}", f"other{i} words"],
                    "is_selected": [1, 0],
                    "url": ["a", "b"],
                },
            }
            for i in range(60)
        ]
        for split in ("train", "validation"):
            part = rows[:40] if split == "train" else rows[40:]
            (tmp_path / "msmarco").mkdir(exist_ok=True)
            lines = "".join(json.dumps(row) + "\n" for row in part)
            (tmp_path / "msmarco" / f"{split}.json").write_text(lines)
        return [f"data.path={tmp_path / 'msmarco'}"]
    if (group, choice) == ("data", "texts"):
        (tmp_path / "texts").mkdir()
        for i in range(40):
            words = " ".join(f"word{i} about{i} thing{j}" for j in range(30))
            (tmp_path / "texts" / f"page{i}.md").write_text(f"# Page {i}\n\n{words}\n")
        return [f"data.path={tmp_path / 'texts'}"]
    if (group, choice) == ("embedding", "file"):
        words = ["noise1", "noise2"]
        lines = [f"{len(words)} 16", *(f"{word} " + " ".join(f"{x:.3f}" for x in np.ones(16)) for word in words)]
        (tmp_path / "vectors.txt").write_text("\n".join(lines) + "\n")
        return [f"embedding.path={tmp_path / 'vectors.txt'}"]
    if (group, choice) == ("index", "redis"):
        return [f"index.redis.url={request.getfixturevalue('redis_url')}"]
    return []


PACKAGES = {"lance": "lancedb", "mlflow": "mlflow", "comet": "comet_ml", "aim": "aim"}
"""What some choices need and the development install hasn't."""


@pytest.mark.parametrize(("group", "choice"), CASES)
def test_every_choice_runs_a_step(tiny_beir, tmp_path, group, choice, request, monkeypatch):
    if choice in ("gpu", "faiss_gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU")
    if (group, choice) in (("trainer", "ddp"), ("data", "ir_datasets")):
        pytest.skip("run for real by its own test: it needs processes of its own, or a registered data set")
    if choice in PACKAGES:
        pytest.importorskip(PACKAGES[choice], reason=f"{PACKAGES[choice]} isn't installed")
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    monkeypatch.chdir(tmp_path)
    overrides = settings(tiny_beir, run_dir, group, choice)
    overrides += prepare(tiny_beir, tmp_path, group, choice, request)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = plain(compose("train", overrides=overrides))
    value = train(config, run_dir=run_dir, overrides=overrides, choices={"model": "mlp", group: choice})
    record = json.loads((run_dir / "run.json").read_text())
    assert record["status"] in ("finished", "at_chance", "collapsed")
    assert record["objective"]["value"] == pytest.approx(value)
    assert record["config_hash"] == config_hash(config)
    assert bool(record["history"]) == config["data"]["train_pairs"]
    if group == "index" and choice != "none":
        assert (run_dir / "index" / choice / "manifest.json").is_file()


def test_there_is_a_case_for_every_yaml():
    assert {("model", "gru"), ("loss", "triplet"), ("index", "redis"), ("logger", "wandb")} <= set(CASES)
    assert len(CASES) > 30
