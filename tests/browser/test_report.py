"""The report in a browser without a network: sorting, filtering, opening runs, hover, light and dark, small screens."""

import pytest

from twotower.reports.html import report_html
from twotower.runs.ledger import load

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(sweep, tmp_path_factory):
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(report_html(load(sweep), metric="mrr_10", title="a sweep"), encoding="utf-8")
    return file.as_uri()


@pytest.fixture
def page(open_page, address):
    opened = open_page(address, offline=True)
    opened.wait_for_selector("[data-ready]", state="attached")
    return opened


def column(page, name):
    heads = page.locator("#runs thead th").all_inner_texts()
    place = next(at for at, head in enumerate(heads) if head.strip(" ▲▼") == name)
    rows = page.locator("#runs tbody tr:visible")
    return [rows.nth(row).locator("td").nth(place).inner_text() for row in range(rows.count())]


def test_every_figure_is_drawn_and_says_what_it_shows(page):
    figures = page.locator("figure")
    assert figures.count() == 8
    for number in range(8):
        assert figures.nth(number).locator("svg").count() == 1
        assert len(figures.nth(number).get_attribute("aria-label")) > 40


def test_a_heading_sorts_and_sorts_back(page):
    values = [float(text) for text in column(page, "full/mrr_10")]
    assert values == sorted(values, reverse=True)
    page.get_by_role("button", name="full/mrr_10").click()
    assert [float(text) for text in column(page, "full/mrr_10")] == sorted(values)
    page.get_by_role("button", name="full/mrr_10").click()
    assert [float(text) for text in column(page, "full/mrr_10")] == values
    assert page.locator("th[aria-sort=descending]").count() == 1


@pytest.mark.parametrize(
    ("terms", "kept"),
    [
        ("model=gru", lambda row: "gru" in row),
        ("triplet", lambda row: "triplet" in row),
        ("mrr_10>2", lambda row: False),
    ],
)
def test_a_filter_keeps_what_it_names(page, terms, kept):
    every = page.locator("#runs tbody tr").all_inner_texts()
    page.fill("#filter", terms)
    assert page.locator("#runs tbody tr:visible").count() == sum(map(kept, every))
    page.fill("#filter", "nosuchcolumn=1")
    assert "no column for nosuchcolumn=1" in page.locator("#count").inner_text()


def test_a_click_on_a_run_opens_its_settings_and_history(page):
    page.locator("#runs tbody tr").first.locator("td").first.click()
    box = page.locator("dialog[open]")
    assert box.is_visible()
    shown = box.inner_text()
    for part in ("Settings", "optimizer.lr", "By epoch", "Final evaluation", "rerun"):
        assert part in shown
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0


def test_a_click_on_a_point_opens_its_run_and_pointing_tells_its_name(page):
    dot = page.locator("#chart-1 svg .mark-symbol.role-mark path").last
    dot.scroll_into_view_if_needed()
    dot.hover(force=True)
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert "seed" in page.locator("#vg-tooltip-element").inner_text()
    dot.click(force=True)
    page.wait_for_selector("dialog[open]")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_and_follows_the_scheme(open_page, address, width, dark):
    page = open_page(address, width=width, dark=dark, offline=True)
    page.wait_for_selector("[data-ready]", state="attached")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.evaluate("document.documentElement.dataset.theme") == ("dark" if dark else "light")
    page.locator("#theme").click()
    assert page.evaluate("document.documentElement.dataset.theme") == ("light" if dark else "dark")
