"""A real browser: Playwright driving the Chromium that is installed here."""

import os
import shutil
import threading

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="make test-browser installs playwright")


def chromium():
    """The browser's program, None where there is none."""
    named = os.environ.get("CHROMIUM")
    programs = (named, "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((found for name in programs if name and (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser():
    program = chromium()
    if program is None:
        pytest.skip("there is no Chromium here: apt-get install chromium, or CHROMIUM=/path/to/it")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser):
    """Opens pages of a given width and scheme; whatever a page logs as an error, or asks elsewhere, fails the test."""
    contexts, troubles = [], []

    def open_(address, *, width=1280, height=900, dark=False, offline=False):
        scheme = "dark" if dark else "light"
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, offline=offline)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: elsewhere(request.url, address))
        contexts.append(context)
        page.goto(address)
        return page

    def elsewhere(url, address):
        home = "/".join(address.split("/")[:3])
        if not url.startswith((home, "data:", "blob:")):
            troubles.append(f"asked {url}")

    yield open_
    for context in contexts:
        context.close()
    assert troubles == []


@pytest.fixture(scope="session")
def site(search_helpers, tmp_path_factory):
    """The address of a real server over a run that searches by vectors and words, with a second run beside it."""
    import uvicorn

    from twotower.search.engine import SearchEngine
    from twotower.web.app import make_app
    from twotower.web.library import Library
    from twotower.web.serve import listen

    small, folder = search_helpers("small_run"), tmp_path_factory.mktemp("browser") / "outputs"
    exact = {"exact": {"_target_": "twotower.index.exact.ExactIndex", "device": "cpu"}}
    documents = small.collection()
    documents.document_ids[0] = f"package.of.modules.with.long.names.AndAClass{'WithAVeryLongName' * 3}.inverse"
    small.make_run(folder / "other", documents, exact, seed=1)
    run = small.make_run(folder / "small", documents, exact)
    search_helpers("test_modes").add_side(run)
    opened = listen("127.0.0.1", 0)
    app = make_app(Library(run, SearchEngine.open(run), [str(folder)]))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{opened.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
