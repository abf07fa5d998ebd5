import threading

import pytest

EXACT = {"exact": {"_target_": "twotower.index.exact.ExactIndex", "device": "cpu"}}


@pytest.fixture(scope="session")
def run_folder(search_helpers, tmp_path_factory):
    """A small finished run that searches by vectors and words, and a second one beside it, by vectors alone."""
    small, modes = search_helpers("small_run"), search_helpers("test_modes")
    folder = tmp_path_factory.mktemp("web")
    small.make_run(folder / "outputs" / "other", small.collection(), EXACT, seed=1)
    run = small.make_run(folder / "outputs" / "small", small.collection(), EXACT)
    modes.add_side(run)
    return run


@pytest.fixture(scope="session")
def web_engine(run_folder):
    from twotower.search.engine import SearchEngine

    return SearchEngine.open(run_folder)


@pytest.fixture(scope="session")
def site(run_folder, web_engine):
    """The address of a real server over the two runs."""
    import uvicorn

    from twotower.web.app import make_app
    from twotower.web.library import Library
    from twotower.web.serve import listen

    opened = listen("127.0.0.1", 0)
    library = Library(run_folder, web_engine, [str(run_folder.parent)])
    server = uvicorn.Server(uvicorn.Config(make_app(library), log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{opened.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
