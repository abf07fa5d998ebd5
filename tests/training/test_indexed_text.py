"""A run whose data source gives people another text to search: figures from the one text, the index from the other."""

from __future__ import annotations

import json
import os
import shutil

import pyarrow.parquet as parquet
import pytest

from tests.started import TRAIN, started
from twotower.data.documents import DocumentStore
from twotower.model.checkpoint import load
from twotower.model.encoding import encode
from twotower.runs.find import find_checkpoint
from twotower.search.engine import SearchEngine

SMALL = [
    "data=beir",
    "embedding=random",
    "embedding.dim=32",
    "model.hidden_dim=32",
    "model.output_dim=32",
    "data.batch_size=24",
    "trainer.max_epochs=1",
    "trainer.enable_progress_bar=false",
    "trainer.threads=1",
]


@pytest.fixture(scope="module")
def runs(tiny_beir, tmp_path_factory):
    """The same run twice, searched by the text it is trained on and by another: that of the document before."""
    folder = tmp_path_factory.mktemp("indexed")
    data = folder / "data"
    shutil.copytree(tiny_beir, data)
    lines = [json.loads(line) for line in (data / "corpus.jsonl").read_text().splitlines()]
    lines = [{**line, "whole": lines[number - 1]["text"]} for number, line in enumerate(lines)]
    (data / "corpus.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = {}
    for name, field in (("text", "null"), ("whole", "whole")):
        settings = [f"data.path={data}", f"hydra.run.dir={folder / name}", f"data.source.indexed_text={field}"]
        command = [TRAIN, *SMALL, *settings]
        done = started(*command, cwd=folder, environment={**os.environ, "COLUMNS": "200"})
        assert done.returncode == 0, done.stderr[-3000:]
        made[name] = (folder / name, done.stdout)
    return made


def test_every_figure_is_that_of_the_text_trained_on(runs):
    tables = [parquet.read_table(folder / "per_query.parquet") for folder, _ in runs.values()]
    assert tables[0].equals(tables[1])


def test_the_index_and_the_documents_are_of_the_text_that_people_search(runs):
    folder = runs["whole"][0]
    with DocumentStore(runs["text"][0] / "documents.db") as trained, DocumentStore(folder / "documents.db") as searched:
        texts = [document.text for document in trained]
        assert [document.text for document in searched] == [texts[-1], *texts[:-1]]
    engine = SearchEngine.open(folder)
    document = engine.documents.fetch([7])[0]
    tokens = engine.model.tokenizer
    model = load(find_checkpoint(folder)).model
    vector_1D = encode(model, tokens.encode([f"{document.title} {document.text}"], 256), side="document")
    scores, rows = engine.index.search(vector_1D, 1)
    assert rows[0, 0] == 7
    assert scores[0, 0] == pytest.approx(1, abs=1e-5)


def test_table_and_manifest_say_so(runs):
    folder, told = runs["whole"]
    assert "the field 'whole'" in told
    manifest = json.loads((folder / "index/faiss_flat/manifest.json").read_text())
    assert "the field 'whole'" in manifest["documents"]["text"]
    assert json.loads((folder / "run.json").read_text())["data"]["report"]["indexed"]["text"].startswith("the field")
    assert "text" not in json.loads((runs["text"][0] / "index/faiss_flat/manifest.json").read_text())["documents"]
