import io

from rich.console import Console

from twotower.search.results import Hit, Results, Timings
from twotower.search.terminal import render


def test_nothing_in_a_document_steers_the_terminal():
    evil = "a\x1b[2Jb \x1b]0;title\x07 \x9b1m [bold]c[/bold] [/x]"
    results = Results(
        query="b",
        words=["b"],
        unknown=[],
        hits=[Hit(rank=1, score=0.5, doc_id=evil, title=evil, text=evil)],
        notice=evil,
        random=None,
        timings=Timings(tokenise_ms=1, encode_ms=1, search_ms=1, fetch_ms=1),
        index="exact",
    )
    out = io.StringIO()
    Console(file=out, width=200).print(render(results, lambda text: [], width=200))
    shown = out.getvalue()
    assert shown.count("[bold]c[/bold]") == 4  # as it is written, neither markup nor lost
    assert not {"\x1b", "\x07", "\x9b"} & set(shown)
