"""The pages and their JSON twins: every view is an address that can be sent to somebody."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import anyio.to_thread
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from starlette.exceptions import HTTPException

from twotower.core.errors import UserError
from twotower.core.version import __version__
from twotower.index.lexical import MODES
from twotower.reports.compare import differences, extreme_queries
from twotower.runs.per_query import pair
from twotower.search.results import Results
from twotower.web import views
from twotower.web.guards import Rate, guard
from twotower.web.library import Library

HERE = Path(__file__).parent
MOST_HITS, LONGEST_QUERY = 1000, 10_000
THREADS = 4
BOTH = ["GET", "HEAD"]

Q = Annotated[str, Query(max_length=LONGEST_QUERY, description="What to look for.")]
K = Annotated[int, Query(ge=1, le=MOST_HITS, description="How many documents.")]
Mode = Annotated[
    str, Query(pattern="^(dense|lexical|hybrid|)$", description="By vectors, words or both; empty: the run's best.")
]
RunKey = Annotated[str, Query(max_length=400, description="A run's key, as in /runs; empty for the one served.")]


def make_app(library: Library, *, host: str = "127.0.0.1", rate: Rate | None = None) -> FastAPI:
    """Returns the web app over a library of runs.

    Args:
        library: the runs and engines.
        host: the address it will listen on.
        rate: how often one address may ask.
    """
    app = FastAPI(title="twotower", version=__version__, docs_url=None, redoc_url=None, lifespan=_few_threads)
    pages = Jinja2Templates(HERE / "templates")
    pages.env.globals.update(library=library, version=__version__)
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    guard(app, host=host, rate=rate)
    _errors(app, pages)
    _search(app, pages, library)
    _documents(app, pages, library)
    _runs(app, pages, library)
    _service(app, pages)
    return app


@contextlib.asynccontextmanager
async def _few_threads(app: FastAPI) -> AsyncIterator[None]:
    """Lets few requests be worked on at a time, the others in the order they came: they share one interpreter."""
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield


def _search(app: FastAPI, pages: Jinja2Templates, library: Library) -> None:
    @app.api_route("/", methods=BOTH, response_class=HTMLResponse, include_in_schema=False)
    @app.api_route("/search", methods=BOTH, response_class=HTMLResponse, include_in_schema=False)
    def search(
        request: Request, q: Q = "", k: K = 10, run: RunKey = "", beside: RunKey = "", mode: Mode = ""
    ) -> Response:
        columns = _columns(library, q, k, [run, *([beside] if beside else [])], mode)
        about = library.run(run)
        examples = [] if q.strip() else views.examples(about, library.engine(run))
        context = {"q": q, "k": k, "run": run, "beside": beside, "columns": columns, "about": about}
        context |= {"mode": mode, "modes": MODES}
        context |= {"engine": library.engine(run), "examples": examples, "runs": library.runs().ended}
        return pages.TemplateResponse(request, "search.html", context)

    @app.get("/api/search", tags=["search"])
    def api_search(q: Q, k: K = 10, run: RunKey = "", mode: Mode = "") -> dict[str, Any]:
        """Finds the k best documents for a text; `mode` of the answer says what the scores are."""
        return library.engine(run).search(q, k, mode or None).to_dict()


def _columns(library: Library, q: str, k: int, keys: list[str], mode: str = "") -> list[dict[str, Any]]:
    """Returns what each column of the search page shows; none without a question."""
    if not q.strip():
        return []
    engines = [library.engine(key) for key in keys]
    answers: list[Results] = [engine.search(q, k, mode or None) for engine in engines]
    others = [answers[1], answers[0]] if len(answers) == 2 else [None]
    return [
        {
            "name": library.run(key).name,
            "key": key,
            "results": answer,
            "hits": views.hit_views(answer, engine.model.tokenizer.token_spans, other),
        }
        for key, engine, answer, other in zip(keys, engines, answers, others, strict=True)
    ]


def _documents(app: FastAPI, pages: Jinja2Templates, library: Library) -> None:
    @app.api_route("/document", methods=BOTH, response_class=HTMLResponse, include_in_schema=False)
    def document(request: Request, id: Annotated[str, Query(max_length=2000)], q: Q = "", run: RunKey = "") -> Response:
        engine = library.engine(run)
        item = engine.documents.fetch_ids([id])[0]
        spans = engine.model.tokenizer.token_spans
        words = engine.model.tokenizer.read(q)[0] if q.strip() else []
        near = engine.search(f"{item.title} {item.text}"[:LONGEST_QUERY], 7, "dense").hits
        context = {
            "q": q,
            "run": run,
            "item": item,
            "title": views.whole_text(item.title or item.doc_id, words, spans),
            "text": views.whole_text(item.text, words, spans),
            "near": [hit for hit in near if hit.doc_id != item.doc_id][:6],
        }
        return pages.TemplateResponse(request, "document.html", context)

    @app.get("/api/document", tags=["search"])
    def api_document(id: Annotated[str, Query(max_length=2000)], run: RunKey = "") -> dict[str, Any]:
        """Returns a document by its id: title, text and further fields."""
        item = library.engine(run).documents.fetch_ids([id])[0]
        return {"id": item.doc_id, "title": item.title, "text": item.text, "metadata": item.metadata}


def _runs(app: FastAPI, pages: Jinja2Templates, library: Library) -> None:
    @app.api_route("/runs", methods=BOTH, response_class=HTMLResponse, include_in_schema=False)
    def runs(request: Request) -> Response:
        found = library.runs()
        return pages.TemplateResponse(request, "runs.html", {"runs": found, "metric": found.metric()})

    @app.api_route("/run", methods=BOTH, response_class=HTMLResponse, include_in_schema=False)
    def one(request: Request, run: RunKey = "") -> Response:
        item = library.run(run)
        names = dict.fromkeys(["train_loss", item.objective, *item.scores])
        curves = [(name, values) for name in names if name and (values := _history(item, name))][:4]
        context = {"item": item, "run": run or library.key(item), "curves": curves, "polyline": views.polyline}
        return pages.TemplateResponse(request, "run.html", context)

    @app.api_route("/compare", methods=BOTH, response_class=HTMLResponse, include_in_schema=False)
    def compare(request: Request, a: RunKey, b: RunKey) -> Response:
        both = [library.run(a), library.run(b)]
        metric = library.runs().metric()
        paired = pair(both, metric)
        won, lost = extreme_queries(paired, both, count=50)
        context = {"both": both, "a": a, "b": b, "metric": metric, "difference": differences(paired)[0]}
        return pages.TemplateResponse(request, "compare.html", context | {"won": won, "lost": lost})

    @app.get("/api/runs", tags=["runs"])
    def api_runs() -> list[dict[str, Any]]:
        """Lists the runs, best first, with every metric of the final evaluation and its interval, chance and BM25."""
        return [
            {
                "key": library.key(run),
                "name": run.name,
                "status": run.status,
                "verdict": run.verdict,
                "choices": run.choices,
                "metrics": {name: score._asdict() for name, score in run.scores.items()},
            }
            for run in library.runs()
        ]


def _history(run: Any, name: str) -> list[float]:
    values = [item.get(name, (item.get("metrics") or {}).get(name)) for item in run.history]
    return [value for value in values if isinstance(value, (int, float))]


def _service(app: FastAPI, pages: Jinja2Templates) -> None:
    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", tags=["service"])
    def health() -> dict[str, str]:
        """Says that the server answers."""
        return {"status": "ok", "version": __version__}

    @app.api_route("/docs", methods=BOTH, response_class=HTMLResponse, include_in_schema=False)
    def docs(request: Request) -> Response:
        return pages.TemplateResponse(request, "docs.html", {"schema": app.openapi()})

    @app.api_route("/favicon.ico", methods=BOTH, include_in_schema=False)
    def favicon() -> Response:
        return Response((HERE / "static" / "favicon.svg").read_bytes(), media_type="image/svg+xml")


def _errors(app: FastAPI, pages: Jinja2Templates) -> None:
    def answer(request: Request, message: str, code: int) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": message}, code)
        return pages.TemplateResponse(request, "error.html", {"message": message, "q": "", "run": ""}, status_code=code)

    @app.exception_handler(UserError)
    def refused(request: Request, error: UserError) -> Response:
        return answer(request, str(error), 400)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return answer(request, f"{first['loc'][-1]}: {first['msg']}.", 400)

    @app.exception_handler(HTTPException)
    def failed(request: Request, error: HTTPException) -> Response:
        message = "Not here: the pages are /search, /runs, /compare and /docs." if error.status_code == 404 else ""
        return answer(request, message or str(error.detail), error.status_code)
