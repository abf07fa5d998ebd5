"""A folder of text, Markdown, HTML and PDF, without a question: trained on, indexed again, searched."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("selectolax")
pytest.importorskip("markdown_it")
pytest.importorskip("pypdf")

from tests.pdf_file import write_pdf
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
    write_pdf(files / "deep" / "paper.pdf", "The okapi reads a newspaper. " + sentences("okapi", 7))
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
