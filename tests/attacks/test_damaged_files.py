"""Every file that is read from disk, damaged in its bytes and in its structure: one line, or as if nothing were.

A few cases of each kind run with the other tests; `make attack` runs many and prints what became of them.
"""

from __future__ import annotations

import importlib.util
import json
import random
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from twotower.core.files import sha256_file
from twotower.data.documents import DocumentStore
from twotower.index.rebuild import encode_queries
from twotower.model import checkpoint
from twotower.model.encoding import encode
from twotower.model.query_file import query_file_of, write_query_file
from twotower.runs.checkpoints import _read_pt
from twotower.runs.per_query import pair, read_per_query
from twotower.runs.run import read_run
from twotower.search.engine import SearchEngine
from twotower.search.query import open_query_model
from twotower.training.training_state import check_resume, read_training_state

OLD = Path(__file__).resolve().parents[1] / "old_run"
FEW, MANY = 40, 600


def load_mutations():
    if "mutations" not in sys.modules:
        spec = importlib.util.spec_from_file_location("mutations", Path(__file__).with_name("mutations.py"))
        sys.modules["mutations"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["mutations"])
    return sys.modules["mutations"]


mutations = load_mutations()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return Path(shutil.copytree(OLD / "mlp", tmp_path_factory.mktemp("attack") / "mlp"))


def model_of(folder: Path) -> Path:
    return next((folder / "checkpoints").glob("*.pt"))


def index_of(folder: Path) -> Path:
    return next(path.parent for path in (folder / "index").glob("*/manifest.json"))


def search(folder: Path) -> None:
    engine = SearchEngine.open(folder, index_of(folder).name)
    engine.search("list the files of a folder", 5)
    engine.close()


def fix_manifest(folder: Path) -> None:
    """Makes a manifest that names the files as they are now, so that only their readers stand in the way."""
    from twotower.index.manifest import _stamp

    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = {path.name: _stamp(path) for path in folder.iterdir() if path.name != "manifest.json"}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def attack_file(path: Path, action, count: int, *, structure=None, write=None, extra=None, prepare=None):
    """Damages a file again and again and runs `action`; the file is as before afterwards."""
    tally, whole, chance = mutations.Tally(), path.read_bytes(), random.Random(0)
    try:
        for number in range(count):
            if structure is not None and number % 2:
                write(mutations.mutated_values(structure, chance, extra), path)
            else:
                path.write_bytes(mutations.mutated_bytes(whole, chance))
            if prepare is not None:
                prepare()
            tally.run(f"{path.name} {number}", action)
    finally:
        path.write_bytes(whole)
    return tally


def manifest_cases(run: Path, count: int):
    path = index_of(run) / "manifest.json"
    structure = json.loads(path.read_text())
    return attack_file(
        path, lambda: search(run), count, structure=structure, write=lambda value, to: to.write_text(json.dumps(value))
    )


def model_cases(run: Path, count: int):
    path = model_of(run)
    structure = torch.load(path, weights_only=True)
    texts = ["list the files", "x"]

    def use() -> None:
        _read_pt(path)
        loaded = checkpoint.load(path)
        encode(loaded.model, loaded.tokenizer.encode(texts, loaded.max_query_length), side="query")

    extra = [torch.zeros(3), torch.zeros(1).expand(10**9), torch.tensor(float("nan")), torch.zeros(2, 2).to_sparse()]
    return attack_file(path, use, count, structure=structure, write=torch.save, extra=extra)


def query_model_cases(run: Path, count: int):
    path = model_of(run)
    structure = torch.load(path, weights_only=True)
    extra = [torch.zeros(3), torch.zeros(4, 4), torch.tensor(float("nan"))]
    return attack_file(
        path, lambda: open_query_model(path).encode([1, 2]), count, structure=structure, write=torch.save, extra=extra
    )


def query_file_cases(run: Path, count: int):
    path = model_of(run)
    write_query_file(path, torch.load(path, weights_only=True), sha256_file(path))
    return attack_file(query_file_of(path), lambda: open_query_model(path).encode([1, 2]), count)


def training_state_cases(run: Path, count: int):
    path = run / "checkpoints" / "last.ckpt"
    structure = torch.load(path, weights_only=True)
    config = structure["hyper_parameters"]["config"]
    extra = [torch.zeros(3), torch.tensor(float("nan"))]
    return attack_file(
        path, lambda: check_resume(path, config), count, structure=structure, write=torch.save, extra=extra
    )


def per_query_cases(run: Path, count: int):
    path = run / "per_query.parquet"
    model, record = checkpoint.load(model_of(run)), read_run(run)

    def use() -> None:
        encode_queries(model, path)
        read_per_query(record, "full")
        pair([record, record], "full/mrr_10")

    return attack_file(path, use, count)


def sample_cases(run: Path, count: int):
    folder = index_of(run)
    tally = mutations.Tally()
    for path in (folder / "random_documents.npy", folder / "random_rows.npy"):
        one = attack_file(path, lambda: search(run), count // 2, prepare=lambda: fix_manifest(folder))
        tally.cases += one.cases
        tally.refused += one.refused
        tally.fine += one.fine
        tally.escaped += one.escaped
        fix_manifest(folder)
    return tally


def document_cases(run: Path, count: int):
    path = run / "documents.db"

    def use() -> None:
        with DocumentStore(path) as store:
            store.fetch(range(min(5, store.count)))
            store.fetch_ids(store.ids()[:3])
            assert len(list(store)) >= 0
            assert isinstance(store.hash, str)

    return attack_file(path, use, count)


def record_cases(run: Path, count: int):
    path = run / "run.json"
    structure = json.loads(path.read_text())
    return attack_file(
        path,
        lambda: read_run(run).scores,
        count,
        structure=structure,
        write=lambda value, to: to.write_text(json.dumps(value)),
    )


def data_cases(run: Path, count: int):
    """Pairs and MS MARCO's own files as parquet, their bytes damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from twotower.data import jsonl, msmarco

    folder = run.parent / "data"
    folder.mkdir(exist_ok=True)
    rows = [{"query": f"question {n} about things", "positive": f"answer {n} of many words"} for n in range(300)]
    pairs = folder / "pairs.parquet"
    pq.write_table(pa.Table.from_pylist(rows), pairs)
    marco = folder / "train-0.parquet"
    passages = {"is_selected": [1, 0], "passage_text": ["a text of words", "another one"], "url": ["u", "v"]}
    lines = [{"query": f"q {n}", "query_id": n, "passages": passages, "answers": ["a"]} for n in range(200)]
    pq.write_table(pa.Table.from_pylist(lines), marco)
    tally = attack_file(pairs, lambda: jsonl.load(path=pairs), count // 2)
    other = attack_file(marco, lambda: msmarco.load(path=marco), count - count // 2)
    tally.cases += other.cases
    tally.refused += other.refused
    tally.fine += other.fine
    tally.escaped += other.escaped
    return tally


def lexical_cases(run: Path, count: int):
    """What search by words reads: its facts, and arrays whose sizes the facts confirm."""
    from twotower.index.lexical import FILE, FOLDER, open_side, write_side
    from twotower.index.manifest import run_identity
    from twotower.lexical.bm25 import Bm25
    from twotower.lexical.fusion import Fusion

    folder = run / "index" / FOLDER
    model = open_query_model(model_of(run))
    with DocumentStore(run / "documents.db") as store:
        identity, texts = run_identity(model, store), store.texts(range(store.count))
    vectors_ND = np.random.default_rng(0).standard_normal((len(texts), SearchEngine.open(run).index.dim))
    fusion = Fusion(pairs=0.2, stem="english")
    bm25 = Bm25.build(texts, stem="english", pairs=True)
    write_side(run, bm25, vectors_ND, fusion=fusion, identity=identity, measured={"hybrid": 0.5}, objective="m")
    facts = json.loads((folder / FILE).read_text())

    def use() -> None:
        engine = SearchEngine.open(run, index_of(run).name)
        for mode in ("lexical", "hybrid"):
            engine.search("list the files of a folder", 5, mode=mode)
        engine.close()

    def confirm() -> None:
        files = {path.name: {"bytes": path.stat().st_size} for path in folder.iterdir() if path.name != FILE}
        (folder / FILE).write_text(json.dumps({**facts, "files": files}))

    assert open_side(run, identity) is not None
    use()
    names = sorted(path.name for path in folder.iterdir())
    tally = mutations.Tally()
    for number, name in enumerate(names):
        path, part = folder / name, count // len(names) + (number < count % len(names))
        read = json.loads(path.read_text()) if path.suffix == ".json" else None
        one = attack_file(
            path,
            use,
            part,
            structure=read,
            write=lambda value, to: to.write_text(json.dumps(value)),
            prepare=None if name == FILE else confirm,
        )
        tally.cases += one.cases
        tally.refused += one.refused
        tally.fine += one.fine
        tally.escaped += [f"{name}: {line}" for line in one.escaped]
        confirm()
    shutil.rmtree(folder)
    return tally


KINDS = {
    "index/lexical": lexical_cases,
    "data as parquet": data_cases,
    "manifest.json": manifest_cases,
    "model.pt": model_cases,
    "model.pt for queries": query_model_cases,
    "model.safetensors": query_file_cases,
    "last.ckpt": training_state_cases,
    "per_query.parquet": per_query_cases,
    "random_*.npy": sample_cases,
    "documents.db": document_cases,
    "run.json": record_cases,
}


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_refused_in_one_line(run, kind):
    tally = KINDS[kind](run, FEW)
    assert tally.cases == FEW
    assert tally.escaped == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files(run, kind):
    tally = KINDS[kind](run, MANY)
    print(f"\n{kind}: {tally}")
    assert tally.escaped == []


@pytest.mark.parametrize("count", [60, pytest.param(400, marks=pytest.mark.slow)])
def test_a_damaged_training_state_passes_only_where_it_says_the_same(run, count):
    """A run that goes on from damaged numbers would end with others and say nothing."""
    path = run / "checkpoints" / "last.ckpt"
    whole, chance = path.read_bytes(), random.Random(1)
    original = torch.load(path, weights_only=True)
    passed = other = 0
    try:
        for _ in range(count):
            path.write_bytes(mutations.mutated_bytes(whole, chance))
            try:
                content = read_training_state(path)
            except ValueError:
                continue
            passed += 1
            other += not same(content, original)
    finally:
        path.write_bytes(whole)
    print(f"\nlast.ckpt: {passed} of {count} damaged files pass, {other} of them with other numbers")
    assert other == 0


def same(one, two) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(two, torch.Tensor) and torch.equal(one, two)
    if isinstance(one, dict):
        return isinstance(two, dict) and one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    return one == two
