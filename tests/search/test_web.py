import json
import threading
import urllib.error
import urllib.request
from html.parser import HTMLParser

import pytest

from twotower.core.errors import UserError
from twotower.search.web import SearchServer


@pytest.fixture(scope="module")
def server(engine):
    with SearchServer(engine, port=0, title="small <run>") as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def get(server, path, **headers):
    request = urllib.request.Request(server.url.rstrip("/") + path, headers=headers)
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
        self.tags.append(tag)
        self._in_mark = tag == "mark"

    def handle_endtag(self, tag):
        self._in_mark = False

    def handle_data(self, data):
        if self._in_mark:
            self.marked.append(data.lower())


def test_empty_page_has_a_box_and_no_hits(server):
    status, headers, body = get(server, "/")
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert Tags(body).tags.count("input") == 2
    assert "<li>" not in body
    assert "small &lt;run&gt;" in body


def test_page_shows_hits_with_marks_timings_and_scale(server):
    _, _, body = get(server, "/?q=invert+a+square+matrix&k=4")
    page = Tags(body)
    assert page.tags.count("li") == 4
    assert {"invert", "square", "matrix"} <= set(page.marked)
    assert "A random document scores" in body
    for stage in ("tokenise", "encode", "search", "fetch"):
        assert stage in body


def test_what_documents_and_queries_hold_is_only_text(server):
    _, headers, body = get(server, "/?q=%3Cscript%3Ealert(1)%3C/script%3E+%22+escaping+quotes+text")
    assert "script" not in Tags(body).tags
    assert "&lt;" in body
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_api_gives_what_the_engine_gives(server, engine):
    status, headers, body = get(server, "/api/search?q=sort+a+list&k=3")
    answer = json.loads(body)
    assert (status, headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    expected = engine.search("sort a list", 3).to_dict()
    assert answer["hits"] == expected["hits"]
    assert set(answer) == set(expected)


@pytest.mark.parametrize(
    "path", ["/api/search", "/api/search?q=", "/api/search?q=x&k=0", "/api/search?q=x&k=-1", "/api/search?q=x&k=1e9",
             "/api/search?q=x&k=99999999999999999999", "/api/search?q=x&k=²", "/api/search?q=" + "x" * 10_001]
)  # fmt: skip
def test_bad_requests_are_answered_as_such(server, path):
    from urllib.parse import quote

    status, _, body = get(server, quote(path, safe="/?=&-"))
    assert status == 400
    assert json.loads(body)["error"]


def test_unknown_path(server):
    assert get(server, "/../../etc/passwd")[0] == 404


def test_other_host_names_are_refused(server):
    """A page elsewhere could otherwise point its own name at 127.0.0.1 and read the answers."""
    assert get(server, "/", Host="evil.example")[0] == 403
    assert get(server, "/", Host=f"localhost:{server.server_address[1]}")[0] == 200


def test_port_in_use_is_named(engine, server):
    with pytest.raises(UserError, match="Cannot listen on"):
        SearchServer(engine, port=server.server_address[1])
