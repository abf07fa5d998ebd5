"""A folder of text, Markdown, HTML and PDF, without a question: trained on, indexed again, searched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("selectolax")
pytest.importorskip("markdown_it")
pytest.importorskip("pypdf")

from tests.started import TRAIN, started

ANIMALS = ("badger", "heron", "walrus", "gecko", "ferret", "osprey", "lemur", "tapir")
VERBS = ("digs", "swims", "sleeps", "hunts", "climbs", "sings", "hides", "runs", "eats", "flies", "waits", "jumps")
PLACES = ("river", "forest", "meadow", "desert", "harbour", "valley", "glacier", "swamp", "island", "cellar")


def sentences(animal: str, start: int) -> str:
    parts = [
        f"The {animal} {VERBS[(start + at) % 12]} near the {PLACES[(3 * start + at) % 10]} at dawn number{start}x{at}."
        for at in range(8)
    ]
    return " ".join(parts)


def pdf(path: Path, text: str) -> None:
    from pypdf import PdfWriter
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    writer = PdfWriter()
    page = writer.add_blank_page(600, 800)
    font = DictionaryObject({NameObject("/Type"): NameObject("/Font"), NameObject("/Subtype"): NameObject("/Type1"),
                             NameObject("/BaseFont"): NameObject("/Helvetica")})  # fmt: skip
    page[NameObject("/Resources")] = DictionaryObject(
        {NameObject("/Font"): DictionaryObject({NameObject("/F1"): writer._add_object(font)})}
    )
    stream = DecodedStreamObject()
    lines = [f"({part}.) Tj 0 -20 Td" for part in text.split(".") if part.strip()]
    stream.set_data(f"BT /F1 10 Tf 40 760 Td {' '.join(lines)} ET".encode())
    page[NameObject("/Contents")] = writer._add_object(stream)
    writer.write(path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    files = folder / "files"
    (files / "deep").mkdir(parents=True)
    for number, animal in enumerate(ANIMALS * 3):
        text = sentences(animal, number)
        (files / f"{animal}{number}.txt").write_text(text)
        (files / f"{animal}{number}.md").write_text(f"# {animal}\n\n{sentences(animal, number + 40)}\n")
        page = f"<title>{animal}</title><body><p>{sentences(animal, number + 80)}</p></body>"
        (files / "deep" / f"{animal}{number}.html").write_text(page)
    pdf(files / "deep" / "paper.pdf", "The okapi reads a newspaper. " + sentences("okapi", 7))
    overrides = ["data=texts", f"data.path={files}", "data.source.dev=0.3", "embedding=random", "embedding.dim=32",
                 "model.output_dim=32", "pretrain.epochs=20", "pretrain.lr=0.01", "pretrain.batch_size=32",
                 "index=[exact]", "trainer.threads=1"]  # fmt: skip
    done = started(TRAIN, *overrides, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return done, next(path.parent for path in folder.glob("outputs/*/*/run.json"))


def test_the_corpus_alone_is_trained_on_and_figures_are_called_pseudo(finished):
    done, run = finished
    record = json.loads((run / "run.json").read_text())
    metrics = record["evaluation"]["full"]["metrics"]["mrr_10"]
    assert record["status"] == "finished"
    assert record["history"] == []
    assert record["best_epoch"] == 0
    assert "pseudo" in record["verdict"]
    assert record["pretrain"]["pairs"] < 0.8 * 20 * record["data"]["report"]["documents"]  # evaluated passages are kept
    assert record["pretrain"]["metrics"]["full/mrr_10"] == pytest.approx(metrics["value"])
    assert record["pretrain"]["accuracy"] > 10 / 32, "its own passage is picked among 32"
    assert "pseudo-queries" in done.stdout
    assert json.loads((run / "index" / "lexical" / "lexical.json").read_text())["mode"] == "hybrid"


def test_it_is_indexed_again_and_the_pdf_is_found(finished):
    _, run = finished
    again = ["-m", "twotower", "index", "--run", str(run), "--index", "faiss_flat"]
    assert started(*again, cwd=run).returncode == 0
    search = ["-m", "twotower", "search", "--run", str(run), "--json", "okapi newspaper"]
    for mode in ("hybrid", "lexical", "dense"):
        done = started(*search, "--mode", mode, cwd=run)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["hits"][0]["doc_id"].startswith("deep/paper.pdf"), mode
