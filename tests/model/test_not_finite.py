"""A model with a weight that is no number is refused wherever it is saved, loaded, encoded with or searched."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from twotower.core.errors import UserError
from twotower.kernels.unit import normalise
from twotower.model import checkpoint
from twotower.model.encoding import encode
from twotower.model.two_tower import TwoTower
from twotower.search.query import open_query_model
from twotower.text.tokenizer import Tokenizer

TEXTS = ["one two three four", "five six seven", "eight nine ten one", "two"]
TEXT = {"kind": "words", "lowercase": True, "split_identifiers": True, "min_frequency": 1}
SMALL = {"hidden_dim": 8, "output_dim": 8, "shared": False}
MODELS = {
    "mlp": {**SMALL, "query_tower": "mlp", "document_tower": "mlp"},
    "plain_mlp": {**SMALL, "query_tower": "mlp", "document_tower": "mlp", "residual": False, "output_dim": 6},
    "gru": {**SMALL, "query_tower": "gru", "document_tower": "gru", "pooling": "attention"},
    "gru_max": {**SMALL, "query_tower": "gru", "document_tower": "gru", "pooling": "max", "num_layers": 2},
    "lstm": {**SMALL, "query_tower": "lstm", "document_tower": "lstm", "pooling": "mean"},
    "rnn": {**SMALL, "query_tower": "rnn", "document_tower": "rnn", "bidirectional": False},
    "mixed": {**SMALL, "query_tower": "mlp", "document_tower": "gru"},
}


def build(kind: str) -> TwoTower:
    torch.manual_seed(0)
    sizes = {"vocabulary_size": Tokenizer.train(TEXTS, TEXT).size, "embedding_dim": 8}
    model = TwoTower(**sizes, **MODELS[kind])
    with torch.no_grad():  # blocks start at zero, where the weights before them have no effect
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model


TENSORS = [(kind, name) for kind in MODELS for name in build(kind).state_dict()]


def write(path, kind: str, state: dict) -> None:
    """As `checkpoint.save`, which itself refuses such weights."""
    tokenizer = Tokenizer.train(TEXTS, TEXT)
    config = {"text": TEXT, "data": {"max_query_length": 8, "max_document_length": 8}, "model": MODELS[kind]}
    sizes = {"vocabulary_size": tokenizer.size, "embedding_dim": 8}
    torch.save(
        {
            "model_state_dict": state,
            "embedding_matrix": state["embedding.weight"],
            "word_to_index": dict(tokenizer.word_to_index),
            "index_to_word": dict(enumerate(tokenizer.index_to_word)),
            "model_config": {**MODELS[kind], **sizes},
            "training_stats": {"config": {"resolved": config}},
            "epoch": 1,
            "eval_results": {},
            "wandb_run_id": None,
        },
        path,
    )


@pytest.mark.parametrize(("kind", "name"), TENSORS)
def test_each_weight_in_turn(tmp_path, kind, name):
    model, tokenizer = build(kind), Tokenizer.train(TEXTS, TEXT)
    tokens = tokenizer.encode(TEXTS)
    for side in ("query", "document"):
        assert np.isfinite(encode(model, tokens, side=side)).all()
    write(tmp_path / "good.pt", kind, model.state_dict())
    assert open_query_model(tmp_path / "good.pt").encode([2]).shape == (1, model.output_dim)

    model.state_dict()[name].fill_(float("nan"))
    readers = [side for side in ("query", "document") if name.startswith((f"{side}_tower", "embedding"))]
    assert readers
    for side in readers:
        with pytest.raises(UserError, match=rf"4 of 4 {side} vectors are not finite"):
            encode(model, tokens, side=side)
    write(tmp_path / "bad.pt", kind, model.state_dict())
    for opens in (checkpoint.load, open_query_model):
        with pytest.raises(UserError, match=rf"bad\.pt holds weights that are not finite: {name}"):
            opens(tmp_path / "bad.pt")
    with pytest.raises(UserError, match=rf"The model to export holds weights that are not finite: {name}"):
        checkpoint.save(
            tmp_path / "export.pt",
            model=model,
            model_config={},
            tokenizer=tokenizer,
            training_stats={},
            epoch=1,
            eval_results={},
            wandb_run_id=None,
        )
    assert not (tmp_path / "export.pt").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 3e38])
def test_a_row_that_is_no_number_never_becomes_a_valid_vector(value):
    rows = torch.tensor([[3.0, 4.0], [value, 1.0], [0.0, 0.0]])
    unit = normalise(rows)
    assert torch.allclose(unit[0], torch.tensor([0.6, 0.8]))
    assert not torch.isfinite(unit[1]).all() or value == 3e38
    if value == 3e38:  # torch scales before it squares, or the length is infinite: right, or no number
        assert not torch.isfinite(unit[1]).all() or torch.allclose(unit[1], torch.tensor([1.0, 0.0]))
    assert torch.allclose(unit[2], torch.full((2,), 2**-0.5))


def test_word_vectors_to_start_from_are_looked_at():
    model = build("mlp")
    matrix = np.ones((model.embedding.num_embeddings, 8), np.float32)
    matrix[3, 3] = np.inf
    with pytest.raises(UserError, match="word vectors to start from holds weights that are not finite"):
        model.load_embedding(matrix)
