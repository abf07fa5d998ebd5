"""Makes a run folder that can be searched without training: mean-pooled random word vectors, which match by words."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import numpy as np
import torch

from twotower.data.collection import Collection
from twotower.data.documents import DocumentStore
from twotower.index.export import export
from twotower.index.manifest import run_identity
from twotower.index.rebuild import encode_documents
from twotower.model import checkpoint
from twotower.model.two_tower import TwoTower
from twotower.text.tokenizer import Tokenizer
from twotower.text.tokens import idf

MODEL = {"num_layers": 0, "output_dim": 64, "hidden_dim": 64, "word_pooling": "weighted", "dropout": 0.0}
TOPICS = {
    "matrix": "Invert a square matrix or solve a linear system with Gaussian elimination",
    "archive": "Compress a folder into a tar archive and list what the archive holds",
    "network": "Download a file over HTTP and follow redirects until the server answers",
    "process": "Stop a running process by its number and wait until it has ended",
    "string": "Split a string at a separator and strip blanks from both ends",
    "sorting": "Sort a list of numbers in place with a stable algorithm",
}
ODD = [
    ("script", "Escaping", "<script>alert('x')</script> & \"quotes\" must appear as text"),
    ("umlaut/ä ö", "Größe", "Die Größe einer Datei ändern"),
    ("lonely", "", "A document without a title about eigenvalues of a matrix"),
]


def collection() -> Collection:
    """Forty-five documents: seven variations of six topics and three odd ones."""
    rows = [
        (f"{name}-{number}", f"{name.title()} {number}", f"{text}, variation {number} of the {name} family.")
        for name, text in TOPICS.items()
        for number in range(7)
    ] + ODD
    ids, titles, texts = (list(column) for column in zip(*rows, strict=True))
    return Collection(
        name="small", document_ids=ids, titles=titles, texts=texts, query_ids=[], query_texts=[], judgements={}
    )


def make_run(
    folder: Path, documents: Collection, index_config: dict, *, seed: int = 0, status: str = "finished"
) -> Path:
    """Writes checkpoint, documents.db, run.json and the indexes of a config; `seed` makes another model."""
    text = {"kind": "words", "lowercase": True, "split_identifiers": True, "min_frequency": 1}
    config = {
        "seed": seed,
        "text": text,
        "data": {
            "name": documents.name,
            "max_query_length": 32,
            "max_document_length": 128,
            "batch_size": 8,
            "num_workers": 0,
        },
        "model": dict(MODEL),
        "loss": {},
        "optimizer": {"lr": 0.001},
        "trainer": {"max_epochs": 1},
        "callbacks": {},
    }
    tokenizer = Tokenizer.train(documents.document_texts(), text)
    torch.manual_seed(seed)
    sizes = {"vocabulary_size": tokenizer.size, "embedding_dim": MODEL["output_dim"]}
    model = TwoTower(**sizes, **MODEL)
    model.set_word_weights(idf(tokenizer.encode(documents.document_texts()), tokenizer.size))
    path = folder / "checkpoints" / f"two_tower_best_small_20260101_00000{seed}.pt"
    path.parent.mkdir(parents=True)
    checkpoint.save(
        path,
        model=model,
        model_config={**MODEL, **sizes},
        tokenizer=tokenizer,
        training_stats={"config": checkpoint.flat_config(config, {})},
        epoch=1,
        eval_results={},
        wandb_run_id=None,
    )
    store = DocumentStore.write(folder / "documents.db", documents)
    loaded = checkpoint.load(path)
    vectors = encode_documents(loaded, store, folder / "vectors.npy")
    identity = run_identity(loaded, store)
    export(index_config, np.array(vectors), documents.document_ids, identity=identity, run_dir=folder)
    (folder / "vectors.npy").unlink()
    store.close()
    (folder / "run.json").write_text(json.dumps(_record(folder.name, config, status)))
    return folder


def _record(name: str, config: dict, status: str) -> dict:
    host = {"name": socket.gethostname(), "pid": os.getpid(), "process_started": 1, "boot_id": ""}
    return {
        "schema": 1, "status": status, "run_name": name, "config": config, "config_hash": "0" * 16, "overrides": [],
        "choices": {}, "seed": 0, "host": host, "timings": {}, "history": [], "started": "2026-01-01T00:00:00+00:00",
        "updated": "2026-01-01T00:00:00+00:00", "ended": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
