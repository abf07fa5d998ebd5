import re
from html.parser import HTMLParser

import pytest

from twotower.core.errors import UserError
from twotower.reports.html import report_html
from twotower.runs.ledger import Ledger, load


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.images, self.links, self.open = [], [], []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        if tag == "img":
            self.images.append(given["src"])
        self.links += [value for name, value in given.items() if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def html(sweep):
    return report_html(load(sweep), metric="mrr_10", title="demo <&>")


def test_it_holds_everything_and_needs_nothing_from_outside(html):
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    assert len(reader.images) == 8
    assert all(link.startswith("data:image/png;base64,") for link in reader.links)
    assert not re.search(r"https?://|url\(|<script|<link", html)
    assert "demo &lt;&amp;&gt;" in html


def test_it_ranks_judges_and_tests(html, sweep):
    runs = load(sweep, sort="mrr_10")
    values = [f"{run.scores['full/mrr_10'].value:.4f}"[1:] for run in runs]
    places = [html.index(f">{value}<", html.index("Ranked runs")) for value in values]
    assert places == sorted(places)
    assert "BETTER THAN BM25" in html
    assert "BELOW BM25" in html
    assert "told apart" in html
    assert "ot distinguishable from the next config" in html


def test_failed_and_unreadable_runs_are_named(fake, tmp_path):
    fake.make_run(tmp_path / "good")
    fake.make_run(tmp_path / "bad", status="failed", files=False, lr=0.5)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "run.json").write_text("{")
    html = report_html(load(tmp_path))
    assert "loss is not finite" in html
    assert "cut short" in html


def test_a_script_in_a_config_stays_text(fake, tmp_path):
    for number in range(2):
        fake.make_run(tmp_path / str(number), files=False, note={"text": f"<script>alert({number})</script>"})
    assert "<script" not in report_html(load(tmp_path))


def test_nothing_to_report():
    with pytest.raises(UserError, match="no readable run"):
        report_html(Ledger())
