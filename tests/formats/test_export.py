"""Exported models opened by the libraries they are for; tests of those not installed are skipped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

import twotower
from twotower.cli.export import command
from twotower.core.errors import UserError
from twotower.model.checkpoint import load
from twotower.model.encoding import encode
from twotower.runs.find import resolve_model

OLD = Path(__file__).resolve().parents[1] / "old_run"
TEXTS = ["how to prune roses in spring", "tulips", "", "words nobody knows: xyzzy, and list files", "list files " * 40]


def exported(kind: str, form: str, out: Path) -> Path:
    done = CliRunner().invoke(command, [str(OLD / kind), "--to", form, "--out", str(out)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return resolve_model(str(OLD / kind))[1]


def by_twotower(path: Path, side: str) -> np.ndarray:
    checkpoint = load(path)
    most = checkpoint.max_query_length if side == "query" else checkpoint.max_document_length
    return encode(checkpoint.model, checkpoint.tokenizer.encode(TEXTS, most), side=side)


@pytest.mark.parametrize("kind", ["mlp", "gru"])
def test_sentence_transformers_gives_the_same_vectors_and_trains_on(kind, tmp_path):
    package = pytest.importorskip("sentence_transformers", reason="sentence-transformers isn't installed")
    path = exported(kind, "sentence-transformers", tmp_path / "st")
    model = package.SentenceTransformer(str(tmp_path / "st"), device="cpu", trust_remote_code=True)
    for side, vectors in (("query", model.encode_query(TEXTS)), ("document", model.encode_document(TEXTS))):
        np.testing.assert_allclose(vectors, by_twotower(path, side), atol=1e-5)
    routes = model[0].sub_modules
    assert routes["query"][0].model is routes["document"][0].model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    words = load(path).tokenizer.index_to_word[2:8]
    query = model(model.preprocess(words[:3], task="query"), task="query")["sentence_embedding"]
    document = model(model.preprocess(words[3:], task="document"), task="document")["sentence_embedding"]
    (query * document).sum().backward()
    optimizer.step()
    model.save_pretrained(str(tmp_path / "tuned"), create_model_card=False)
    tuned = package.SentenceTransformer(str(tmp_path / "tuned"), device="cpu", trust_remote_code=True)
    np.testing.assert_allclose(tuned.encode_query(TEXTS), model.encode_query(TEXTS), atol=1e-6)
    before = package.SentenceTransformer(str(tmp_path / "st"), device="cpu", trust_remote_code=True)
    assert np.abs(tuned.encode_query(words) - before.encode_query(words)).max() > 1e-4


@pytest.mark.parametrize("kind", ["mlp", "gru"])
def test_onnx_gives_the_same_vectors_for_any_number_and_length_of_texts(kind, tmp_path):
    pytest.importorskip("onnx", reason="onnx isn't installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime isn't installed")
    path = exported(kind, "onnx", tmp_path / "graphs")
    checkpoint = load(path)
    for side, most in (("query", checkpoint.max_query_length), ("document", checkpoint.max_document_length)):
        session = runtime.InferenceSession(str(tmp_path / "graphs" / f"{side}.onnx"))
        expected = by_twotower(path, side)
        rows = [checkpoint.tokenizer.encode([text], most).ids_T for text in TEXTS]
        for chosen in (range(len(TEXTS)), [0], [1, 4]):
            ids = np.zeros((len(chosen), max(1, *(len(rows[at]) for at in chosen), 1)), dtype=np.int64)
            for number, at in enumerate(chosen):
                ids[number, : len(rows[at])] = rows[at]
            lengths = np.array([len(rows[at]) for at in chosen])
            (vectors,) = session.run(None, {"ids": ids, "lengths": lengths})
            np.testing.assert_allclose(vectors, expected[list(chosen)], atol=1e-5)


@pytest.mark.parametrize("model", ["mlp", "gru", "mlp_gru"])
def test_onnx_of_a_model_of_today_s_settings(model, tmp_path, monkeypatch):
    """As above, of what `train` makes by default: BM25's saturation, the sum of words, the words that a gru reads."""
    pytest.importorskip("onnx", reason="onnx isn't installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime isn't installed")
    monkeypatch.chdir(tmp_path)
    settings = ["data=beir", f"data.path={OLD / 'collection'}", f"model={model}", "trainer.max_epochs=1", "index=none"]
    run = twotower.train([*settings, "model.hidden_dim=16", "model.output_dim=16", "pretrain.max_steps=2"])
    twotower.export(run, "onnx", tmp_path / "graphs")
    checkpoint = load(resolve_model(str(run.path))[1])
    texts = [*TEXTS, "prune roses in spring and tulips " * 40]
    for side in ("query", "document"):
        rows = [checkpoint.tokenizer.encode([text], 256).ids_T for text in texts]
        ids = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = row
        session = runtime.InferenceSession(str(tmp_path / "graphs" / f"{side}.onnx"))
        (vectors,) = session.run(None, {"ids": ids, "lengths": np.array([len(row) for row in rows])})
        expected = encode(checkpoint.model, checkpoint.tokenizer.encode(texts, 256), side=side)
        np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_safetensors_holds_every_weight_and_what_shapes_the_model(tmp_path):
    path = exported("mlp", "safetensors", tmp_path / "plain")
    state, weights = load(path).model.state_dict(), load_file(tmp_path / "plain" / "model.safetensors")
    assert state.keys() == weights.keys()
    assert all(torch.equal(state[name], weights[name]) for name in state)
    words = json.loads((tmp_path / "plain" / "vocabulary.json").read_text())
    assert len(words) == len(state["embedding.weight"])
    assert json.loads((tmp_path / "plain" / "config.json").read_text())["model_sha256"] == load(path).sha256


def test_the_card_shows_the_honest_table(tmp_path):
    exported("mlp", "safetensors", tmp_path / "plain")
    card = (tmp_path / "plain" / "README.md").read_text()
    record = json.loads((OLD / "mlp" / "run.json").read_text())
    figures = record["evaluation"]["full"]["metrics"]["mrr_10"]
    row = next(line for line in card.splitlines() if line.startswith("| MRR@10 |"))
    for key in ("value", "low", "high", "chance", "bm25", "untrained"):
        assert f"{figures[key]:.4f}" in row
    assert record["evaluation"]["full"]["verdict"]["line"] in card
    assert record["data"]["fingerprint"] in card
    assert "python train.py" in card


def test_mistakes_are_named(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for arguments, message in (
        (["--to", "onix", "--out", str(tmp_path / "new")], "--to=onix"),
        (["--to", "safetensors", "--out", str(tmp_path / "full")], "is not empty"),
    ):
        with pytest.raises(UserError, match=message):
            CliRunner().invoke(command, [str(OLD / "mlp"), *arguments], catch_exceptions=False)
