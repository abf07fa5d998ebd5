"""The pages about runs: the ledger, one run, two runs held against each other."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from fastapi.templating import Jinja2Templates

from twotower.core.errors import UserError
from twotower.reports.compare import differences, extreme_queries
from twotower.reports.details import epoch_sample
from twotower.runs.per_query import pair
from twotower.runs.run import ENDED, Run
from twotower.web import views
from twotower.web.library import Library
from twotower.web.parameters import BOTH, RunKey


def add_run_pages(app: FastAPI, pages: Jinja2Templates, library: Library) -> None:
    """Adds /runs, /run, /compare and /api/runs to an app."""

    @app.api_route("/runs", methods=BOTH, response_class=HTMLResponse, include_in_schema=False)
    def runs(request: Request) -> Response:
        runs = library.runs()
        return pages.TemplateResponse(request, "runs.html", {"runs": runs, "metric": runs.metric(), "ended": ENDED})

    @app.api_route("/run", methods=BOTH, response_class=HTMLResponse, include_in_schema=False)
    def run_page(request: Request, run: RunKey = "") -> Response:
        item = library.run(run)
        names = dict.fromkeys(["train_loss", item.objective, *item.scores])
        curves = [(name, values) for name in names if name and (values := _history(item, name))][:4]
        context = {"item": item, "run": run or library.key(item), "curves": curves, "polyline": views.polyline}
        return pages.TemplateResponse(request, "run.html", context | {"sample": epoch_sample(item)})

    @app.api_route("/compare", methods=BOTH, response_class=HTMLResponse, include_in_schema=False)
    def compare(request: Request, a: RunKey = "", b: RunKey = "") -> Response:
        if not a or not b or a == b:
            raise UserError("Two runs are compared: choose A and B in /runs.")
        both = [library.run(a), library.run(b)]
        metric = library.runs().metric()
        paired = pair(both, metric)
        won, lost = extreme_queries(paired, both, count=50)
        context = {"both": both, "a": a, "b": b, "metric": metric, "difference": differences(paired)[0]}
        return pages.TemplateResponse(request, "compare.html", context | {"won": won, "lost": lost})

    @app.head("/api/runs", include_in_schema=False)
    @app.get("/api/runs", tags=["runs"])
    def api_runs() -> list[dict[str, Any]]:
        """Lists the runs, best first, with every final metric, its interval, chance, BM25 and hybrid."""
        return [
            {
                "key": library.key(run),
                "name": run.name,
                "status": run.status,
                "verdict": run.verdict,
                "choices": run.choices,
                "metrics": {name: score._asdict() for name, score in run.scores.items()},
                "hybrid": {name: both.value for name in run.scores if (both := run.hybrid_score(name)) is not None},
            }
            for run in library.runs()
        ]


def _history(run: Run, name: str) -> list[float]:
    values = [item.get(name, (item.get("metrics") or {}).get(name)) for item in run.history]
    return [value for value in values if isinstance(value, (int, float))]
