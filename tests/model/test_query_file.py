"""The safetensors file beside an exported model: what stands in it, and what is refused."""

from __future__ import annotations

import errno
import hashlib
import json
import struct

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from twotower.core.errors import UserError
from twotower.model import checkpoint
from twotower.model.query_file import query_file_of, read_query_file
from twotower.model.two_tower import TwoTower
from twotower.search.query import MlpQuery, open_query_model
from twotower.text.tokenizer import Tokenizer

TEXT = {"kind": "words", "min_frequency": 1}


def export(path, **model):
    tokenizer = Tokenizer.train(["prune roses in spring", "Tulpen brauchen Kälte"], TEXT)
    sizes = {"vocabulary_size": tokenizer.size, "embedding_dim": 8}
    config = {"text": TEXT, "data": {"max_query_length": 8, "max_document_length": 8}, "model": model}
    torch.manual_seed(0)
    checkpoint.save(
        path,
        model=TwoTower(**sizes, hidden_dim=8, output_dim=8, **model),
        model_config={**sizes, "hidden_dim": 8, "output_dim": 8, **model},
        tokenizer=tokenizer,
        training_stats={"config": {"resolved": config}},
        epoch=1,
        eval_results={},
        wandb_run_id=None,
    )
    return path


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def written_anew(path, state=None, **metadata):
    """Writes the file beside a model again with other arrays or metadata."""
    file = query_file_of(path)
    with safe_open(str(file), framework="numpy") as opened:
        about = opened.metadata()
    save_file(state or load_file(file), file, metadata={**about, **metadata})


def test_it_holds_the_query_side_of_the_model(tmp_path):
    path = export(tmp_path / "model.pt", shared=False, document_tower="gru")
    content, whole = read_query_file(path, sha256(path)), torch.load(path, weights_only=True)
    assert content.word_to_index == whole["word_to_index"]
    assert content.max_query_length == 8
    names = {name for name in whole["model_state_dict"] if not name.startswith("document_tower")}
    assert content.state.keys() == names
    for name in names:
        np.testing.assert_array_equal(content.state[name], whole["model_state_dict"][name].numpy())


def test_search_reads_it_and_agrees_with_the_model(tmp_path):
    path = export(tmp_path / "model.pt", count_power=0.8)
    quick = open_query_model(path)
    assert isinstance(quick.encode, MlpQuery)
    query_file_of(path).unlink()
    slow = open_query_model(path)
    assert not isinstance(slow.encode, MlpQuery)
    assert (quick.sha256, quick.tokenizer.hash) == (slow.sha256, slow.tokenizer.hash)
    ids = quick.tokenizer.read("roses roses kälte")[2]
    np.testing.assert_allclose(quick.encode(ids), slow.encode(ids), atol=1e-6)


def test_a_model_exported_without_it_is_read_through_torch_once(tmp_path, monkeypatch):
    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path / "cache"))
    path = export(tmp_path / "model.pt", count_power=0.8)
    query_file_of(path).unlink()
    first, second = open_query_model(path), open_query_model(path)
    assert not isinstance(first.encode, MlpQuery)
    assert isinstance(second.encode, MlpQuery)
    assert not query_file_of(path).exists()  # a run's folder stays as it is
    np.testing.assert_allclose(first.encode([2, 3]), second.encode([2, 3]), atol=1e-6)
    export(path, count_power=0.1)
    query_file_of(path).unlink()
    assert not isinstance(open_query_model(path).encode, MlpQuery)  # what was kept belongs to the file, not its name


def test_a_length_that_is_not_recorded_is_the_default_with_and_without_torch(tmp_path, monkeypatch):
    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path / "cache"))
    path = export(tmp_path / "model.pt")
    query_file_of(path).unlink()
    content = torch.load(path, weights_only=True)
    del content["training_stats"]["config"]["resolved"]["data"]["max_query_length"]
    torch.save(content, path)
    first, second = open_query_model(path), open_query_model(path)
    assert isinstance(second.encode, MlpQuery)
    assert first.max_query_length == second.max_query_length == 32


def test_a_cache_that_is_closed_costs_time_alone(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("no folder")
    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path / "cache"))
    path = export(tmp_path / "model.pt")
    query_file_of(path).unlink()
    for _ in range(2):
        assert open_query_model(path).encode([2, 3]).shape == (1, 8)


def test_a_full_disk_costs_time_alone(tmp_path, monkeypatch):
    def write(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path / "cache"))
    path = export(tmp_path / "model.pt")
    query_file_of(path).unlink()
    monkeypatch.setattr("twotower.search.query.write_query_file", write)
    assert open_query_model(path).encode([2, 3]).shape == (1, 8)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_recurrent_query_towers_have_none(tmp_path, monkeypatch):
    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path / "cache"))
    path = export(tmp_path / "model.pt", query_tower="gru", document_tower="gru", num_layers=1)
    assert not query_file_of(path).exists()
    assert open_query_model(path).encode([2, 3]).shape == (1, 8)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_one_of_another_model_is_not_used(tmp_path):
    path = export(tmp_path / "model.pt")
    other = export(tmp_path / "other.pt", count_power=0.1)
    query_file_of(path).write_bytes(query_file_of(other).read_bytes())
    assert read_query_file(path, sha256(path)) is None
    assert not isinstance(open_query_model(path).encode, MlpQuery)


def test_damage_is_refused_by_name(tmp_path):
    path = export(tmp_path / "model.pt")
    file, state = query_file_of(path), load_file(query_file_of(path))
    whole = file.read_bytes()
    with safe_open(str(file), framework="numpy") as opened:
        about = opened.metadata()
    file.write_bytes(whole[:-9])
    with pytest.raises(UserError, match=r"model\.safetensors can't be read .* Remove "):
        open_query_model(path)
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(UserError, match="not what was written"):
        open_query_model(path)
    file.write_bytes(whole)
    written_anew(path, {**state, "embedding.weight": state["embedding.weight"][:-1]})
    with pytest.raises(UserError, match="not what was written"):
        open_query_model(path)
    file.write_bytes(whole)
    written_anew(path, max_query_length=json.dumps("many"))
    with pytest.raises(UserError, match=r"max_query_length is .*, not a whole number"):
        open_query_model(path)
    file.write_bytes(whole)
    written_anew(path, word_to_index=json.dumps({"[PAD]": 0, "[UNK]": 1}))
    with pytest.raises(UserError, match="vocabulary and its arrays"):
        open_query_model(path)
    file.write_bytes(whole)
    written_anew(path, text="[" * 100_000)
    with pytest.raises(UserError, match=r"can't be read \(maximum recursion depth"):
        open_query_model(path)
    header = json.dumps({"__metadata__": about, "x": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}})
    file.write_bytes(struct.pack("<Q", len(header)) + header.encode() + b"x")
    with pytest.raises(UserError, match=r"can't be read .*float8"):
        open_query_model(path)
    save_file(state, file)
    with pytest.raises(UserError, match="it lacks format"):
        open_query_model(path)


def test_its_text_settings_build_only_what_is_trusted(tmp_path):
    path = export(tmp_path / "model.pt")
    written_anew(path, text=json.dumps({**TEXT, "_target_": "os.system"}))
    with pytest.raises(UserError, match=r"os\.system"):
        open_query_model(path)
