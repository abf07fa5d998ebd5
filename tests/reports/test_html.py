import json
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from twotower.core.errors import UserError
from twotower.reports.html import report_html
from twotower.runs.ledger import Ledger, load


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.figures, self.links, self.open = [], [], []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag not in ("meta", "input", "br"):
            self.open.append(tag)
        if tag == "figure":
            self.figures.append(given["aria-label"])
        self.links += [value for name, value in given.items() if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def html(sweep):
    return report_html(load(sweep), metric="mrr_10", title="demo <&>", folder=sweep)


def page_data(html):
    return json.loads(re.search(r'<script type="application/json" id="page">(.*?)</script>', html, re.S)[1])


def test_it_holds_everything_and_needs_nothing_from_outside(html, sweep):
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    assert len(reader.figures) == len(page_data(html)["charts"]) == 8
    assert all(len(said) > 40 for said in reader.figures)
    assert {(sweep / unquote(link)).resolve() for link in reader.links} == {run.path.resolve() for run in load(sweep)}
    assert not re.search(r"<link|@import|<script[^>]* src", html)
    assert "demo &lt;&amp;&gt;" in html
    assert len(html) < 5_000_000


def test_a_run_opens_with_its_whole_config_and_history(html, sweep):
    runs = page_data(html)["runs"]
    for run in load(sweep):
        shown = runs[str(run.path)]
        assert dict(shown["config"]).keys() == run.flat.keys()
        assert [item["epoch"] for item in shown["history"]] == [item["epoch"] for item in run.history]
        assert any(row[0] == "full/mrr_10" for row in shown["metrics"])
        assert "rerun" in dict(shown["facts"])["run again"]


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
    html = report_html(load(tmp_path))
    assert html.count("<script") == 3
    assert "alert(0)<" not in html


def test_nothing_to_report():
    with pytest.raises(UserError, match="no readable run"):
        report_html(Ledger())


def test_what_one_run_gives_no_picture_for_is_said_below_the_others(sweep):
    html = report_html(Ledger(load(sweep).ended[:1]), title="one", folder=sweep)
    headings = re.findall(r"<h2>(.*?)</h2>", html)
    assert headings.index("Not drawn") > headings.index("Learning curves")
    assert "Hyper-parameters in pairs" not in headings
    assert "Hyper-parameters in pairs: No two hyper-parameters were varied together." in html
    assert html.count("<figure ") == len(page_data(html)["charts"]) >= 3
