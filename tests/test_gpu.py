"""What only a CUDA GPU can show; skipped elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU, and torch finds none here"),
]


@pytest.mark.parametrize("model", ["mlp", "gru"])
def test_a_run_on_the_gpu_finishes_and_learns(tiny_beir, tmp_path, model):
    settings = ["data=beir", f"data.path={tiny_beir}", "embedding=random", "optimizer.lr=0.005", "index=none"]
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        "trainer=gpu",
        f"model={model}",
        "trainer.max_epochs=3",
        *settings,
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, env={**os.environ})
    assert done.returncode == 0, done.stderr[-3000:]
    record = json.loads(next(tmp_path.glob("outputs/*/*/run.json")).read_text())
    assert record["device"].startswith("cuda")
    assert record["precision"] == "bf16-mixed"
    losses = [entry["train_loss"] for entry in record["history"]]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("kind", ["mlp", "gru"])
def test_vectors_on_the_gpu_are_those_of_the_cpu(kind):
    from twotower.model.two_tower import TwoTower
    from twotower.text.tokens import TokenBatch

    model = TwoTower(vocabulary_size=50, embedding_dim=16, query_tower=kind, document_tower=kind).eval()
    batch = TokenBatch.from_rows([[1, 2, 3, 3], [], [4], list(range(1, 40))])
    expected = model.encode_documents(batch)
    found = model.cuda().encode_documents(batch.to("cuda"))
    torch.testing.assert_close(found.cpu(), expected, atol=1e-4, rtol=0)
    found.sum().backward()
    assert all(torch.isfinite(item.grad).all() for item in model.parameters() if item.grad is not None)
