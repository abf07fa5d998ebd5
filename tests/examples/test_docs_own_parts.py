"""The parts that docs/own_parts.md shows do what it says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from twotower.config.protocols import Encoder, Tokenizer, WordVectors
from twotower.data.collection import Collection, Judgements
from twotower.loss.output import LossOutput, as_output
from twotower.model.two_tower import TwoTower
from twotower.scheduler.build import build_scheduler
from twotower.text.tokens import TokenBatch

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "own_parts.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def shown():
    texts, questions, answers = ["one", "two", "three"], [f"which {number}" for number in range(12)], [0, 1, 2] * 4
    space = {
        **{"np": np, "pl": pl, "torch": torch, "F": F, "nn": nn, "LambdaLR": LambdaLR},
        **{"Collection": Collection, "Judgements": Judgements},
        "read_my_file": lambda path: (texts, questions, answers),
        "read_my_vectors": lambda path, dim: {"two": [1.0] * dim},
    }
    blocks = re.findall(r"```python\n((?:class|def) .*?)```", PAGE, re.DOTALL)  # the parts, not how they are used
    assert len(blocks) == 7
    for block in blocks:
        exec(compile(block, "docs/own_parts.md", "exec"), space)
    return space


def batch() -> TokenBatch:
    return TokenBatch.from_rows([[2, 3], [4]])


def test_the_loss_is_small_for_the_right_order(shown):
    loss, unit_BD, mask_BN = shown["SoftMargin"](), torch.eye(3), torch.zeros(3, 3, dtype=torch.bool)
    right = as_output(loss(unit_BD, unit_BD, mask_BN), unit_BD, unit_BD, mask_BN)
    wrong = as_output(loss(unit_BD, unit_BD.roll(1, 0), mask_BN), unit_BD, unit_BD.roll(1, 0), mask_BN)
    assert isinstance(right, LossOutput)
    assert right.loss < wrong.loss
    assert (float(right.accuracy), float(wrong.accuracy)) == (1.0, 0.0)


def test_the_tower_encodes(shown, monkeypatch):
    monkeypatch.setattr("twotower.loss.MeanTower", shown["MeanTower"], raising=False)
    shown["MeanTower"].__module__ = "twotower.loss"
    tower = {"_target_": "twotower.loss.MeanTower"}
    model = TwoTower(vocabulary_size=9, embedding_dim=5, query_tower=tower, document_tower=tower, output_dim=7)
    assert model.output_dim == 7
    assert model.encode_queries(batch()).shape == (2, 7)


def test_the_module_encodes_and_trains(shown):
    from twotower.loss.margin import MarginLoss

    torch.manual_seed(0)
    module = shown["MyModule"](vocabulary_size=9, loss=lambda *rows: MarginLoss()(*rows).loss, optimizer=None)
    assert isinstance(module, Encoder)
    assert module.encode_documents(batch()).shape == (2, 64)
    train = type("Batch", (), {"query": batch(), "document": batch(), "mask_BN": torch.zeros(2, 2, dtype=torch.bool)})
    module.training_step(train, 0).backward()
    assert module.words.weight.grad.abs().sum() > 0


def test_data_tokenizer_vectors_and_schedule(shown):
    collection = shown["load"]("somewhere")
    assert len(collection.split("dev")) == 10
    assert isinstance(shown["Words"](), Tokenizer)
    source = shown["Vectors"](path="somewhere", dim=3)
    assert isinstance(source, WordVectors)
    known_K, vectors_KD = source.vectors(["[PAD]", "[UNK]", "two"])
    assert (known_K.tolist(), vectors_KD.shape) == ([2], (1, 3))
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = shown["inverse_root"](optimizer, total_steps=100)
    assert schedule.lr_lambdas[0](9) == 1.0
    config = {"_target_": "torch.optim.lr_scheduler.OneCycleLR", "max_lr": 0.01}
    assert build_scheduler(config, optimizer, total_steps=100, steps_per_epoch=10)["interval"] == "step"
