import io

from rich.console import Console

from twotower.index.bars import bars


def test_every_stage_has_a_bar_with_its_counts():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with bars(console) as report:
        report("faiss_hnsw: add", 0, 100)
        report("faiss_hnsw: add", 60, 100)
        report("faiss_hnsw: originals", 7, 9)
    shown = console.file.getvalue()
    assert "60/100" in shown
    assert "7/9" in shown
    assert "faiss_hnsw: originals" in shown
