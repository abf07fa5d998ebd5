"""What every test shares: one thread per process, a cache of its own, no network services."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from twotower.kernels.threads import let_threads_wait

os.environ.setdefault("OMP_NUM_THREADS", "1")
let_threads_wait()
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory):
    """Points every test at a cache of this session, so nothing of the user's is read or written."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["TWOTOWER_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def shared_data():
    """Gives the folder of a real collection by name; skips, saying so, where the collections are not at hand."""

    def folder(name: str) -> Path:
        path = SHARED / name
        if not path.is_dir():
            pytest.skip(f"the real collection {name} is not beside this checkout")
        return path

    return folder


@pytest.fixture(scope="session")
def tiny_beir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gives a small BEIR folder that can be learnt: queries and documents name the same topics with different words.

    30 topics, 8 documents and 8 training queries each, 2 dev queries each; a third of the words are noise.
    Every dev query has 10 candidates.
    """
    folder = tmp_path_factory.mktemp("tiny")
    generator = np.random.default_rng(0)
    (folder / "qrels").mkdir()
    documents, queries, qrels, candidates = [], [], {"train": [], "dev": []}, []

    def text(kind: str, topic: int, words: int) -> str:
        own = [f"{kind}{topic}x{number}" for number in generator.integers(0, 4, words)]
        noise = [f"noise{number}" for number in generator.integers(0, 50, words // 2)]
        return " ".join(generator.permutation(own + noise))

    for topic in range(30):
        for number in range(8):
            documents.append(
                {"_id": f"d{topic}-{number}", "title": f"only{topic}n{number}", "text": text("doc", topic, 12)}
            )
        for number in range(10):
            split = "train" if number < 8 else "dev"
            target = number % 8
            query = {"_id": f"q{topic}-{number}", "text": f"{text('query', topic, 6)} aim{topic}n{target}"}
            queries.append(query)
            qrels[split].append((query["_id"], f"d{topic}-{target}", 1))
            if split == "dev":
                others = [
                    f"d{other}-{generator.integers(8)}" for other in generator.permutation(30)[:9] if other != topic
                ]
                candidates += [(query["_id"], f"d{topic}-{target}", 1), *((query["_id"], other, 0) for other in others)]
    write_lines(folder / "corpus.jsonl", documents)
    write_lines(folder / "queries.jsonl", queries)
    for split, rows in qrels.items():
        lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in rows)]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    lines = ["query-id\tcorpus-id\tlabel", *("\t".join(map(str, row)) for row in candidates)]
    (folder / "candidates.tsv").write_text("\n".join(lines) + "\n")
    return folder


def write_lines(path: Path, rows: list[dict]) -> None:
    """Writes dicts as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="session")
def fake():
    """The maker of invented run folders."""
    name = "fake_runs"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("fake_runs.py"))
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def sweep(fake, tmp_path_factory):
    """Twelve finished runs, gru and mlp x contrastive and triplet x three seeds; not to be changed by a test."""
    return fake.make_sweep(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="session")
def search_helpers():
    """Gives a file of tests/search as a module: `small_run` makes runs, `test_modes` adds a lexical side to one."""

    def load(name: str):
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / "search" / f"{name}.py")
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        return sys.modules[name]

    return load
