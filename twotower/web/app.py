"""The pages and their JSON twins: every view is an address that can be sent to somebody."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio.to_thread
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from starlette.exceptions import HTTPException

from twotower.core.errors import UserError
from twotower.core.format import id_parts
from twotower.core.version import __version__
from twotower.evaluation.names import label
from twotower.index.lexical import MODES
from twotower.search.engine import SearchEngine
from twotower.search.explain import WordEffect, word_effects
from twotower.search.results import Results
from twotower.web import views
from twotower.web.guards import Rate, guard
from twotower.web.library import Library
from twotower.web.parameters import BOTH, LONGEST_QUERY, Beside, DocumentId, K, Mode, Q, RunKey
from twotower.web.run_pages import add_run_pages

HERE = Path(__file__).parent
MODE_NAMES = {"dense": "vectors", "lexical": "words (BM25)", "hybrid": "vectors and words"}
"""The ways of searching as people read them."""
THREADS = 4


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
    pages.env.filters.update(broken=id_parts, label=label)
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    guard(app, host=host, rate=rate)
    _errors(app, pages, library)
    _search(app, pages, library)
    _map(app, pages, library)
    _documents(app, pages, library)
    add_run_pages(app, pages, library)
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
        request: Request,
        q: Q = "",
        k: K = 10,
        run: RunKey = "",
        beside: Beside = (),
        mode: Mode = "",
    ) -> Response:
        others = [item for item in beside if item]
        columns = _columns(library, q, k, run, mode, others)
        about = library.run(run)
        examples = [] if q.strip() else views.examples(about, library.engine(run))
        context = {"q": q, "k": k, "run": run, "beside": others, "columns": columns, "about": about}
        context |= {"mode": mode, "modes": MODES, "names": MODE_NAMES}
        context |= {
            "engine": library.engine(run),
            "lexical": library.engine(run).lexical is not None,
            "examples": examples,
            "known": any(item.answer for item in examples),
            "runs": library.runs().ended,
        }
        return pages.TemplateResponse(request, "search.html", context)

    @app.head("/api/search", include_in_schema=False)
    @app.get("/api/search", tags=["search"])
    def api_search(q: Q, k: K = 10, run: RunKey = "", mode: Mode = "") -> dict[str, Any]:
        """Finds the k best documents for a text; `mode` of the answer says what the scores are."""
        return library.engine(run).search(q, k, mode or None).to_dict()


def _columns(library: Library, q: str, k: int, run: str, mode: str, beside: list[str]) -> list[dict[str, Any]]:
    """Returns what each column of the search page shows; none without a question."""
    if not q.strip():
        return []
    wanted = [(run, mode), *((run, item) if item in MODES else (item, mode) for item in beside)]
    engines = [library.engine(key) for key, _ in wanted]
    pairs = zip(engines, wanted, strict=True)
    answers: list[Results] = [engine.search(q, k, how or None) for engine, (_, how) in pairs]
    return [
        {
            "name": library.run(key).name,
            "key": key,
            "results": answer,
            "chance": answer.random and round(100 * answer.place(answer.random.best_by_chance)),
            "hits": views.hit_views(answer, engine.model.tokenizer.token_spans, _others(answers, place)),
        }
        for place, ((key, _), engine, answer) in enumerate(zip(wanted, engines, answers, strict=True))
    ]


def _others(answers: list[Results], place: int) -> list[Results]:
    """Returns the answers that a column's ranks are held against: the first column's, or the second's for the first."""
    return answers[:1] if place else answers[1:2]


def _map(app: FastAPI, pages: Jinja2Templates, library: Library) -> None:
    @app.api_route("/map", methods=BOTH, response_class=HTMLResponse, include_in_schema=False)
    def page(request: Request, q: Q = "", k: K = 10, run: RunKey = "", mode: Mode = "") -> Response:
        engine = library.engine(run)
        answer = engine.search(q, k, mode or None) if q.strip() else None
        spots, lit, at = views.map_spots(engine, answer)
        context = {"q": q, "k": k, "run": run, "mode": mode, "about": library.run(run), "engine": engine}
        return pages.TemplateResponse(request, "map.html", context | {"spots": spots, "lit": lit, "at": at})

    @app.head("/api/map", include_in_schema=False)
    @app.get("/api/map", tags=["search"])
    def api_map(q: Q = "", k: K = 10, run: RunKey = "", mode: Mode = "") -> dict[str, Any]:
        """Places documents, a question and its hits on the two directions in which documents differ most."""
        engine = library.engine(run)
        spots, lit, at = views.map_spots(engine, engine.search(q, k, mode or None) if q.strip() else None)
        return {"documents": [vars(spot) for spot in spots], "hits": [vars(spot) for spot in lit], "question": at}


def _documents(app: FastAPI, pages: Jinja2Templates, library: Library) -> None:
    @app.api_route("/document", methods=BOTH, response_class=HTMLResponse, include_in_schema=False)
    def document(request: Request, id: DocumentId, q: Q = "", run: RunKey = "", mode: Mode = "", k: K = 10) -> Response:
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
            "mode": mode,
            "k": k,
            "effects": _effects(engine, q, item.doc_id, k, mode),
            "near": [hit for hit in near if hit.doc_id != item.doc_id][:6],
        }
        return pages.TemplateResponse(request, "document.html", context)

    @app.head("/api/document", include_in_schema=False)
    @app.get("/api/document", tags=["search"])
    def api_document(id: DocumentId, run: RunKey = "") -> dict[str, Any]:
        """Returns a document by its id: title, text and further fields."""
        item = library.engine(run).documents.fetch_ids([id])[0]
        return {"id": item.doc_id, "title": item.title, "text": item.text, "metadata": item.metadata}


def _effects(engine: SearchEngine, q: str, doc_id: str, k: int, mode: str) -> list[WordEffect]:
    return word_effects(engine, engine.search(q, k, mode or None), doc_id) if q.strip() else []


def _service(app: FastAPI, pages: Jinja2Templates) -> None:
    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", tags=["service"])
    async def health() -> dict[str, str]:  # on the loop itself: it waits for no thread that searches
        """Says that the server answers."""
        return {"status": "ok", "version": __version__}

    @app.api_route("/docs", methods=BOTH, response_class=HTMLResponse, include_in_schema=False)
    def docs(request: Request) -> Response:
        return pages.TemplateResponse(request, "docs.html", {"schema": app.openapi()})

    @app.api_route("/favicon.ico", methods=BOTH, include_in_schema=False)
    def favicon() -> Response:
        return Response((HERE / "static" / "favicon.svg").read_bytes(), media_type="image/svg+xml")


def _errors(app: FastAPI, pages: Jinja2Templates, library: Library) -> None:
    def answer(request: Request, message: str, code: int) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": message}, code)
        return pages.TemplateResponse(request, "error.html", {"message": message, "q": "", "run": ""}, status_code=code)

    @app.exception_handler(UserError)
    def refused(request: Request, error: UserError) -> Response:
        return answer(request, library.public(str(error)), 400)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return answer(request, f"{first['loc'][-1]}: {first['msg']}.", 400)

    @app.exception_handler(HTTPException)
    def failed(request: Request, error: HTTPException) -> Response:
        message = (
            "Not here: the pages are /search, /map, /runs, /compare and /docs." if error.status_code == 404 else ""
        )
        return answer(request, message or str(error.detail), error.status_code)
