"""The web app over a real connection: what pages hold, what is refused, and that texts stay texts."""

import json
import shutil
import socket
import threading
import urllib.error
import urllib.request
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from twotower.core.errors import UserError
from twotower.search.engine import SearchEngine
from twotower.web.app import make_app
from twotower.web.guards import Rate
from twotower.web.library import Library
from twotower.web.serve import listen

OLD = Path(__file__).resolve().parents[1] / "old_run"


def get(site, path, method="GET", **headers):
    request = urllib.request.Request(site + path, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.marked, self._in_mark = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._in_mark = tag == "mark"

    def handle_endtag(self, tag):
        self._in_mark = False

    def handle_data(self, data):
        if self._in_mark:
            self.marked.append(data.lower())

    def named(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


def test_home_says_what_this_is(site):
    status, headers, body = get(site, "/")
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "45</strong> documents" in body
    assert "How to read a hit" in body
    assert not Tags(body).named("li")


def test_a_search_shows_hits_with_marks_timings_and_scale(site):
    _, _, body = get(site, "/search?q=invert+a+square+matrix&k=4")
    page = Tags(body)
    assert len(page.named("li")) == 4
    assert {"invert", "square", "matrix"} <= set(page.marked)
    assert "A random document scores" in body
    for stage in ("tokenise", "encode", "search", "fetch"):
        assert stage in body


def test_two_runs_stand_side_by_side_with_moved_ranks(site, run_folder):
    key = "/".join(run_folder.parent.joinpath("other").resolve().parts[-3:])
    _, _, body = get(site, f"/search?q=sort+a+list&k=5&beside={quote(key, safe='')}")
    assert len(Tags(body).named("li")) == 10
    assert "there</span>" in body or "only here" in body


def test_ways_of_searching_stand_side_by_side(site, web_engine):
    _, _, body = get(site, "/search?q=sort+a+list&k=3&mode=hybrid&beside=dense&beside=lexical")
    for mode, name in (("hybrid", "vectors and words"), ("dense", "vectors"), ("lexical", "words (BM25)")):
        assert f"<h2>{name} <small>" in body
        for hit in web_engine.search("sort a list", 3, mode).hits:
            assert f"{hit.score:.3f}" in body
    assert body.count('class="tick"') == 9  # where the best by chance would stand, on every bar
    assert get(site, "/search?q=x&beside=a&beside=b&beside=c&beside=d&beside=e")[0] == 400


def test_the_map_shows_every_document_and_lights_up_a_question_and_its_hits(site, web_engine):
    _, _, body = get(site, "/map")
    assert len(Tags(body).named("circle")) == 45
    assert 'class="question"' not in body
    _, _, body = get(site, "/map?q=sort+a+list&k=4")
    assert len(Tags(body).named("circle")) == 45 + 4
    assert 'class="question"' in body
    assert "style=" not in body  # the policy would forbid it
    answer = json.loads(get(site, "/api/map?q=sort+a+list&k=4")[2])
    hits = web_engine.search("sort a list", 4).hits
    assert [(spot["rank"], spot["doc_id"]) for spot in answer["hits"]] == [(hit.rank, hit.doc_id) for hit in hits]
    places = {spot["doc_id"]: (spot["x"], spot["y"]) for spot in answer["documents"]}
    assert all(places[spot["doc_id"]] == (spot["x"], spot["y"]) for spot in answer["hits"])


def test_a_document_says_which_words_brought_it(site, web_engine):
    results = web_engine.search("invert a square matrix", 5)
    page = get(site, f"/document?id={quote(results.hits[0].doc_id, safe='')}&q=invert+a+square+matrix&k=5")[2]
    assert "What brought it" in page
    assert "<b>invert</b>" in page


def test_what_documents_and_queries_hold_is_only_text(site):
    _, headers, body = get(site, "/search?q=%3Cscript%3Ealert(1)%3C/script%3E+%22+escaping+quotes+text")
    assert [item.get("src") for item in Tags(body).named("script")] == ["/static/keys.js"]
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    _, _, body = get(site, "/document?id=script&q=quotes")
    assert [item.get("src") for item in Tags(body).named("script")] == ["/static/keys.js"]
    assert "&lt;script&gt;" in body


def test_a_document_has_its_own_page_with_neighbours(site):
    status, _, body = get(site, f"/document?id={quote('umlaut/ä ö')}&q=datei")
    assert status == 200
    assert "datei" in Tags(body).marked
    assert "More like this" in body
    assert get(site, "/document?id=none-such")[0] == 400


def test_every_address_is_on_this_server(site):
    for path in ("/", "/search?q=matrix", "/map?q=matrix", "/runs", "/run", "/docs"):
        page = Tags(get(site, path)[2])
        places = [item.get("src") or item.get("href") or item.get("action") for _, item in page.tags]
        assert all(place.startswith("/") for place in places if place), path


def test_api_gives_what_the_engine_gives(site, web_engine):
    status, headers, body = get(site, "/api/search?q=sort+a+list&k=3")
    answer = json.loads(body)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    expected = web_engine.search("sort a list", 3).to_dict()
    assert [hit["doc_id"] for hit in answer["hits"]] == [hit["doc_id"] for hit in expected["hits"]]
    assert set(answer) == set(expected)
    assert {item["name"] for item in json.loads(get(site, "/api/runs")[2])} == {"small", "other"}
    paths = json.loads(get(site, "/openapi.json")[2])["paths"]
    assert {"/api/search", "/api/map", "/api/document", "/api/runs", "/healthz"} <= set(paths)


@pytest.mark.parametrize(
    "path",
    ["/api/search", "/api/search?q=", "/api/search?q=x&k=0", "/api/search?q=x&k=-1", "/api/search?q=x&k=1e9",
     "/api/search?q=x&k=0000000019999999", "/api/search?q=x&k=99999999999999999999", "/api/search?q=x&k=²",
     "/api/search?q=" + "x" * 10_001, "/api/search?q=x&run=../../etc", "/api/document?id=%00"],
)  # fmt: skip
def test_bad_requests_are_answered_as_such(site, path):
    status, _, body = get(site, quote(path, safe="/?=&-%"))
    assert status == 400
    assert json.loads(body)["error"]


def test_unknown_addresses_are_404_and_say_what_there_is(site):
    status, _, body = get(site, "/../../etc/passwd")
    assert status == 404
    assert "/search" in body
    assert get(site, "/static/../app.py")[0] == 404


def test_health_head_and_favicon(site):
    assert json.loads(get(site, "/healthz")[2])["status"] == "ok"
    for path in ("/", "/search?q=matrix", "/map", "/healthz", "/favicon.ico", "/api/search?q=matrix", "/api/runs"):
        status, headers, body = get(site, path, method="HEAD")
        assert (status, body) == (200, "")
        assert int(headers["Content-Length"]) > 0


def test_other_host_names_are_refused(site):
    """A page elsewhere could otherwise point its own name at 127.0.0.1 and read the answers."""
    assert get(site, "/", Host="evil.example")[0] == 403
    assert get(site, "/", Host=f"localhost:{site.rpartition(':')[2]}")[0] == 200


@pytest.mark.parametrize("request_line", [b"GET http://[::1 HTTP/1.1", b"GET", b"\x00\xff", b"GET / HTTP/1.1\r\nHost"])
def test_malformed_requests_and_aborted_clients_leave_the_server_answering(site, request_line, capfd):
    with socket.create_connection(("127.0.0.1", int(site.rpartition(":")[2])), timeout=5) as client:
        client.sendall(request_line + b"\r\n\r\n")
    assert get(site, "/healthz")[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_one_address_cannot_ask_without_end():
    now = [0.0]
    rate = Rate(2.0, 3.0, clock=lambda: now[0])
    assert [rate.allows("a") for _ in range(4)] == [True, True, True, False]
    assert rate.allows("b")
    now[0] = 1.0
    assert [rate.allows("a") for _ in range(3)] == [True, True, False]


def test_a_port_in_use_is_named():
    with listen("127.0.0.1", 0) as opened, pytest.raises(UserError, match="Cannot listen on"):
        listen("127.0.0.1", opened.getsockname()[1])


def test_real_runs_have_pages_with_levels_curves_examples_and_a_comparison(tmp_path):
    for name in ("mlp", "gru"):
        shutil.copytree(OLD / name, tmp_path / name)
    engine = SearchEngine.open(tmp_path / "mlp")
    client = TestClient(make_app(Library(tmp_path / "mlp", engine, [str(tmp_path)])), base_url="http://127.0.0.1")
    home = client.get("/").text
    assert home.count("right answer") == 6
    assert "BELOW BM25" in home
    run = client.get("/run").text
    assert "polyline" in run
    assert "0.1656" in run
    keys = [item["key"] for item in client.get("/api/runs").json()]
    for params in ({}, {"a": keys[0]}, {"a": keys[0], "b": keys[0]}):
        refused = client.get("/compare", params=params)
        assert refused.status_code == 400
        assert "choose A and B in /runs" in refused.text
    compared = client.get("/compare", params={"a": keys[0], "b": keys[1]}).text
    assert "A is better" in compared
    assert "Where B wins most" in compared


def test_a_record_without_a_size_and_with_drawn_documents_has_its_page(tmp_path):
    shutil.copytree(OLD / "mlp", tmp_path / "mlp")
    file = tmp_path / "mlp" / "run.json"
    record = json.loads(file.read_text())
    record["evaluation"]["full"]["pool"]["mean_size"] = None
    record["epoch_sample"] = {"queries": 7, "documents": 30, "of": 1107}
    file.write_text(json.dumps(record))
    library = Library(tmp_path / "mlp", SearchEngine.open(tmp_path / "mlp"), [str(tmp_path)])
    page = TestClient(make_app(library), base_url="http://127.0.0.1").get("/run").text
    assert "<h2>full</h2>" in page
    assert "each epoch on a sample of 7 queries against 30 of 1,107 documents" in page


@pytest.mark.parametrize("page", ["/search", "/api/search"])
def test_an_error_names_no_folder_of_the_machine(run_folder, web_engine, tmp_path, page):
    place = tmp_path / "a folder" / "outputs" / "day" / "broken"
    shutil.copytree(run_folder, place)
    (place / "index" / "exact" / "manifest.json").write_text("{")
    library = Library(run_folder, web_engine, [str(tmp_path)])
    client = TestClient(make_app(library), base_url="http://127.0.0.1")
    answer = client.get(page, params={"q": "sort", "run": "outputs/day/broken"})
    assert answer.status_code == 400
    assert "outputs/day/broken/index/exact/manifest.json" in answer.text
    assert str(tmp_path.parent) not in answer.text


def test_what_is_public_of_a_message(run_folder, web_engine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    library = Library(run_folder, web_engine)
    key = "/".join(run_folder.resolve().parts[-3:])
    for said, public in (
        (
            f"{run_folder}/index lacks x. Use `twotower index --run {run_folder}`.",
            f"{key}/index lacks x. Use `twotower index --run {key}`.",
        ),
        (f"{tmp_path}/outputs/a/run.json: cut", "outputs/a/run.json: cut"),
        (f"{tmp_path}/other/x.npy holds", "./other/x.npy holds"),
        ("No /usr/lib/secret/file.so: (/srv/data/it.db)", "No file.so: (it.db)"),
        (
            "No Redis at redis://host:6379/0, see https://x.org/a/b",
            "No Redis at redis://host:6379/0, see https://x.org/a/b",
        ),
        ("outputs/a/b is damaged, 3/4 of ./x/y and ~/z/w too", "outputs/a/b is damaged, 3/4 of ./x/y and ~/z/w too"),
    ):
        assert library.public(said) == public


def test_a_run_that_opens_slowly_holds_up_no_other(run_folder, web_engine, monkeypatch):
    library = Library(run_folder, web_engine, [str(run_folder.parent)])
    started, end = threading.Event(), threading.Event()

    def slow(path):
        started.set()
        end.wait(60)
        return web_engine

    monkeypatch.setattr(SearchEngine, "open", slow)
    key = "/".join(run_folder.parent.joinpath("other").resolve().parts[-3:])
    opening = threading.Thread(target=library.engine, args=(key,))
    asking = threading.Thread(target=library.engine)
    opening.start()
    assert started.wait(60)
    asking.start()
    asking.join(10)
    answered = not asking.is_alive()
    end.set()
    opening.join(60)
    assert answered
    assert library.engine(key) is web_engine
