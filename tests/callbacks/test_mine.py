"""Hard negatives that the model finds itself: what is let through, and that a stopped run goes on with the same."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import twotower
from twotower.callbacks.mine import MineNegatives
from twotower.core.errors import UserError
from twotower.data.beir import load as read_beir
from twotower.data.datamodule import RetrievalData
from twotower.data.settings import DataSettings
from twotower.model.encoding import encode
from twotower.model.two_tower import TwoTower
from twotower.text.tokenizer import Tokenizer

SETTINGS = ["data=beir", "embedding=random", "embedding.dim=16", "model.output_dim=16", "pretrain=none", "index=none"]
SHORT = [
    "data.batch_size=64",
    "trainer.enable_progress_bar=false",
    "data.negatives.kind=model",
    "data.negatives.count=2",
]


@pytest.fixture(scope="module")
def mined(tiny_beir):
    """Gives what mining finds with some guards, the model's vectors and the data."""
    collection = read_beir(tiny_beir)
    tokenizer = Tokenizer.train(collection.document_texts(), {})
    torch.manual_seed(0)
    model = TwoTower(vocabulary_size=tokenizer.size, embedding_dim=16, output_dim=16)

    def mine(**guards):
        settings = DataSettings(negatives={"kind": "model", "count": 2, **guards})
        data = RetrievalData(collection=collection, tokenizer=tokenizer, settings=settings)
        callback = MineNegatives()
        callback.context = SimpleNamespace(data=data, settings=SimpleNamespace(data=settings))
        pairs = callback._mine(SimpleNamespace(model=model), settings.negatives)
        vectors = [encode(model, getattr(data, f"{side}_tokens"), side=side) for side in ("query", "document")]
        return *pairs, *vectors, data

    return mine


def test_the_best_ranked_are_found(mined):
    query, document, query_QD, document_ND, data = mined(depth=5, near_copy=1.0)
    rows = data.collection.split("train").queries
    expected = np.argsort(-(query_QD[rows] @ document_ND.T), axis=1)[:, :5]
    positives = dict(zip(data.collection.split("train").query, data.collection.split("train").document, strict=True))
    for at, row in enumerate(rows[:40]):
        own = set(document[query == row].tolist())
        assert own <= set(expected[at].tolist())
        assert set(expected[at].tolist()) - own <= {positives[row]}  # only copies of a positive are left out


def test_the_guards_leave_out_what_may_be_right(mined):
    every = mined(depth=10, near_copy=1.0)
    skipped = mined(depth=8, skip=2, near_copy=1.0)
    first = {(q, d) for q, d in zip(*every[:2], strict=True)} - {(q, d) for q, d in zip(*skipped[:2], strict=True)}
    scores = every[2] @ every[3].T
    for query, document in list(first)[:50]:  # what skip took away ranks above all that stayed
        assert (scores[query, document] >= scores[query, skipped[1][skipped[0] == query]]).all()
    query, document, query_QD, document_ND, data = mined(depth=10, margin=0.2, near_copy=0.5)
    split = data.collection.split("train")
    positives = {row: split.document[split.query == row] for row in split.queries}
    assert 0 < len(query) < len(every[0])
    for row, other in zip(query, document, strict=True):
        worst = (document_ND[positives[row]] @ query_QD[row]).min()
        assert query_QD[row] @ document_ND[other] <= worst - 0.2 + 1e-5
        assert (document_ND[positives[row]] @ document_ND[other]).max() < 0.5 + 1e-5


def test_a_stopped_run_goes_on_with_the_same_negatives(tiny_beir, tmp_path):
    def run(name, *more):
        folder = f"hydra.run.dir={tmp_path}/{name}"
        return twotower.train([*SETTINGS, *SHORT, f"data.path={tiny_beir}", folder, *more], show=False).path

    whole = run("whole", "trainer.max_epochs=3", "data.negatives.renew=2")
    half = run("half", "trainer.max_epochs=2", "data.negatives.renew=2", "scheduler=none")
    assert sorted(file.name for file in (whole / "checkpoints" / "negatives").iterdir()) == [
        "epoch_1.npy",
        "epoch_3.npy",
    ]
    assert [file.name for file in (half / "checkpoints" / "negatives").iterdir()] == ["epoch_1.npy"]
    straight = run("straight", "trainer.max_epochs=4", "data.negatives.renew=3", "scheduler=none")
    first = run("first", "trainer.max_epochs=2", "data.negatives.renew=3", "scheduler=none")
    again = run(
        "again", "trainer.max_epochs=4", "data.negatives.renew=3", "scheduler=none",
        f"ckpt_path={first}/checkpoints/last.ckpt",
    )  # fmt: skip
    states = [
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (straight, again)
    ]
    for name, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][name], rtol=0, atol=0)
    (first / "checkpoints" / "negatives" / "epoch_1.npy").unlink()
    with pytest.raises(UserError, match=r"needs .*epoch_1\.npy, the negatives that the run had found"):
        run("lost", "trainer.max_epochs=4", "data.negatives.renew=3", "scheduler=none",
            f"ckpt_path={first}/checkpoints/last.ckpt")  # fmt: skip


def test_guards_that_let_nothing_through_are_named(tiny_beir, tmp_path):
    with pytest.raises(UserError, match="finds no negative that its guards let through"):
        twotower.train(
            [*SETTINGS, *SHORT, f"data.path={tiny_beir}", "data.negatives.margin=2", f"hydra.run.dir={tmp_path}"],
            show=False,
        )
