"""The web app as a person uses it: typing, keys, small screens, dark mode, and texts that try to be markup."""

import pytest

pytestmark = pytest.mark.browser


def fits(page):
    """Whether nothing stands out of the page sideways."""
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def lightness(page):
    """How light the page's ground is, 0 to 255."""
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in colour[4:-1].split(",")) / 3


def test_a_question_is_typed_and_its_address_can_be_shared(open_page, site):
    page = open_page(site)
    page.keyboard.type("invert a square matrix")  # the field has the keys from the start
    page.keyboard.press("Enter")
    page.wait_for_selector("ol.hits li")
    assert "/search?q=invert+a+square+matrix" in page.url
    first = page.locator("ol.hits a.title").first.inner_text()
    again = open_page(page.url)
    assert again.locator("ol.hits a.title").first.inner_text() == first
    assert again.locator("mark").count() > 0


def test_arrow_keys_go_through_the_hits_and_slash_goes_back(open_page, site):
    page = open_page(f"{site}/search?q=sort+a+list")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    hits = page.locator("ol.hits a.title")
    assert page.evaluate("document.activeElement.href") == hits.nth(1).evaluate("item => item.href")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "q"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector("pre.document")
    assert page.locator("h2", has_text="What brought it").count() == 1


def test_ways_of_searching_come_side_by_side_by_a_click(open_page, site):
    page = open_page(f"{site}/search?q=sort+a+list")
    page.locator("summary").click()
    with page.expect_navigation():
        page.get_by_role("checkbox", name="words (BM25)").check()
    assert page.locator(".columns section").count() == 2
    assert "beside=lexical" in page.url
    boxes = [page.locator(".columns section").nth(number).bounding_box() for number in range(2)]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] < boxes[1]["x"]


def test_the_map_lights_up_a_question_and_a_point_opens_its_document(open_page, site):
    page = open_page(f"{site}/map?q=sort+a+list&k=3")
    assert page.locator("svg.map .lit circle").count() == 3
    assert page.locator("svg.map .question").count() == 1
    fill = page.locator("svg.map .lit circle").first.evaluate("item => getComputedStyle(item).fill")
    assert fill != "rgb(0, 0, 0)"  # the style sheet reaches it under the policy
    page.locator("svg.map .lit").last.click(force=True)
    page.wait_for_selector("pre.document")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_every_page_fits_and_follows_the_scheme(open_page, site, width, dark):
    long = "invert+a+square+matrix"  # brings a document whose id is longer than the line
    for path in ("/", f"/search?q={long}&beside=dense", f"/map?q={long}", "/runs", "/run", "/docs"):
        page = open_page(site + path, width=width, dark=dark)
        assert fits(page), path
        assert (lightness(page) < 128) == dark


def test_what_documents_and_questions_hold_never_runs(open_page, site):
    attack = "%3Cimg+src%3Dx+onerror%3D%22window.ran%3D1%22%3E%3Cscript%3Ewindow.ran%3D1%3C%2Fscript%3E+escaping+quotes"
    page = open_page(f"{site}/search?q={attack}")
    page.wait_for_selector("ol.hits li")
    assert page.evaluate("window.ran") is None
    assert page.locator("main img, main script").count() == 0
    page = open_page(f"{site}/document?id=script&q=quotes")
    assert "<script>" in page.locator("pre.document").inner_text()
    assert page.evaluate("window.ran") is None


def test_two_runs_are_compared_from_the_table(open_page, site):
    page = open_page(f"{site}/runs")
    assert page.locator("input[name=a]").count() == 2
    assert page.get_by_role("button", name="Compare A with B").is_visible()


def test_every_control_has_a_name_for_those_who_cannot_see_it(open_page, site):
    for path in ("/search?q=sort", "/map?q=sort", "/runs"):
        page = open_page(site + path)
        named = "item => Boolean(item.getAttribute('aria-label') || item.closest('label'))"
        for control in page.locator("main input:not([type=hidden]), main select").all():
            assert control.evaluate(named), (path, control.evaluate("item => item.outerHTML"))
        assert page.evaluate("document.documentElement.lang") == "en"
