"""The search page: one HTML document without anything from elsewhere, and how results are put into it.

Everything that comes from a query or a document goes through `html.escape`.
"""

from __future__ import annotations

from html import escape

from twotower.search.highlight import Snippet, Spans, marked, snippet
from twotower.search.results import Hit, Results

STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --dim: #6a7077; --line: #e3e5e8; --paper: #fff; --accent: #0b57d0;
  --mark: #ffec99; --good: #18794e; --poor: #b45309; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --dim: #9aa1a9; --line: #32363b; --paper: #17191c;
  --accent: #8ab4f8; --mark: #665200; --good: #5fd39b; --poor: #f0b060; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 52rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.05rem; font-weight: 600; margin: 0 0 .75rem; }
h1 small { color: var(--dim); font-weight: 400; }
form { display: flex; gap: .5rem; }
input[type=search] { flex: 1; min-width: 0; font: inherit; padding: .6rem .8rem; border: 1px solid var(--line);
  border-radius: .5rem; background: transparent; color: inherit; }
input[type=search]:focus { outline: 2px solid var(--accent); outline-offset: -1px; }
button { font: inherit; padding: .6rem 1.1rem; border: 0; border-radius: .5rem; background: var(--accent);
  color: var(--paper); cursor: pointer; }
.facts { color: var(--dim); font-size: .875rem; margin: .9rem 0 0; }
.notice { color: var(--poor); margin: .9rem 0 0; }
ol { list-style: none; margin: 1.25rem 0 0; padding: 0; }
li { display: grid; grid-template-columns: 4.2rem 1fr; gap: 0 1rem; padding: .9rem 0;
  border-top: 1px solid var(--line); }
.score { font-variant-numeric: tabular-nums; font-weight: 600; color: var(--good); }
.score.poor { color: var(--poor); }
.bar { height: 4px; border-radius: 2px; background: var(--line); margin-top: .35rem; position: relative; }
.bar i { position: absolute; inset: 0 auto 0 0; border-radius: 2px; background: currentColor; }
.bar b { position: absolute; top: -3px; width: 2px; height: 10px; background: var(--ink); }
.title { font-weight: 600; overflow-wrap: anywhere; }
.id { color: var(--dim); font-size: .8rem; overflow-wrap: anywhere; }
.text { margin: .15rem 0 0; overflow-wrap: anywhere; }
mark { background: var(--mark); color: inherit; border-radius: 2px; padding: 0 1px; }
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{name} <small>{about}</small></h1>
<form action="/" method="get" role="search">
<input type="search" name="q" value="{query}" aria-label="Search" placeholder="What are you looking for?" autofocus>
<input type="hidden" name="k" value="{k}">
<button type="submit">Search</button>
</form>
{body}
</main>
</body>
</html>
"""


def page(*, name: str, about: str, query: str, k: int, body: str = "") -> str:
    """Returns the whole page.

    Args:
        name: what is searched, e.g. the run's name.
        about: a few words on it.
        query: what stands in the box.
        k: how many hits the next search returns.
        body: HTML below the box, from `results_html` or `notice_html`.
    """
    heading = f"{query} · {name}" if query else name
    fields = {
        "title": escape(heading),
        "name": escape(name),
        "about": escape(about),
        "query": escape(query, quote=True),
    }
    return PAGE.format(style=STYLE, k=int(k), body=body, **fields)


def notice_html(text: str) -> str:
    """Returns a line that says why there is nothing to show."""
    return f'<p class="notice" role="status">{escape(text)}</p>'


def results_html(results: Results, spans: Spans) -> str:
    """Returns the timings, the score of a random document and the hits."""
    times, random = results.timings, results.random
    lines = [notice_html(results.notice)] if results.notice else []
    if results.hits:
        stages = (f"tokenise {times.tokenise_ms:.2f}", f"encode {times.encode_ms:.2f}",
                  f"search {times.search_ms:.2f}", f"fetch {times.fetch_ms:.2f}")  # fmt: skip
        took = f"{len(results.hits)} of the nearest in {times.total_ms:.2f} ms ({', '.join(stages)})"
        scale = ""
        if random is not None:
            best = f"the best by chance would score {random.best_by_chance:.3f}"
            scale = f" A random document scores {random.mean:.3f}; {best}."
        lines.append(f'<p class="facts">{escape(took)}.{escape(scale)}</p>')
    items = "\n".join(_item(hit, results, spans) for hit in results.hits)
    return "\n".join(lines) + (f"\n<ol>\n{items}\n</ol>" if items else "")


def _item(hit: Hit, results: Results, spans: Spans) -> str:
    random = results.random
    poor = " poor" if random is not None and hit.score <= random.best_by_chance else ""
    tick = f'<b style="left:{_percent(random.mean)}%" title="a random document"></b>' if random is not None else ""
    title = f'<div class="title">{_marked(marked(hit.title, results.words, spans))}</div>' if hit.title else ""
    return (
        f'<li><div class="score{poor}" title="rank {hit.rank}">{hit.score:.3f}'
        f'<div class="bar"><i style="width:{_percent(hit.score)}%"></i>{tick}</div></div>'
        f'<div>{title}<div class="id">{escape(hit.doc_id)}</div>'
        f'<p class="text">{_marked(snippet(hit.text, results.words, spans, width=320))}</p></div></li>'
    )


def _percent(score: float) -> int:
    return round(100 * min(1.0, max(0.0, score)))


def _marked(piece: Snippet) -> str:
    return "".join(f"<mark>{escape(part)}</mark>" if hit else escape(part) for part, hit in piece.parts())
