"""Every shell and Python block of README and docs is run as it stands, in the environment that `make setup` gives."""

from __future__ import annotations

import pytest

from tests.docs.blocks import FENCE, PAGES, ROOT, sections
from tests.docs.sandbox import Sandbox

ELSEWHERE = {"docs/own_parts.md": "tests/examples/test_docs_own_parts.py"}
"""Pages whose Python is parts of a class, which a test of its own puts together and uses."""
REASONS = (
    "needs a GPU",
    "needs an account",
    "needs a cluster",
    "downloads",
    "takes an hour",
    "installs",
    "goes on for ever",
)
SECTIONS = [section for page in PAGES for section in sections(page)]


def _cases() -> list:
    return [
        pytest.param(section, id=section.name, marks=[pytest.mark.slow] if section.slow else [])
        for section in SECTIONS
        if any(block.language in ("bash", "python") and not block.told.startswith("skip") for block in section.blocks)
        and section.name.partition(":")[0] not in ELSEWHERE
    ]


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory):
    """The copy of the checkout, with two trained runs."""
    made = Sandbox(tmp_path_factory.mktemp("sandbox"))
    made.make_runs()
    return made


@pytest.mark.parametrize("section", _cases())
def test_the_blocks_of_a_section_run_as_they_stand(sandbox, section):
    sandbox.run_section(section.blocks)


def test_blocks_that_are_not_run_say_why():
    told = [block.told for section in SECTIONS for block in section.blocks if block.told.startswith("skip")]
    assert told
    for line in told:
        assert line.removeprefix("skip ").startswith(REASONS), line


def test_every_fence_is_of_a_language_that_is_looked_after():
    for page in PAGES:
        languages = {match["language"] for match in FENCE.finditer(page.read_text(encoding="utf-8"))}
        assert languages <= {"bash", "python", "yaml", "text"}, page


def test_a_page_that_is_run_elsewhere_is():
    for page, test in ELSEWHERE.items():
        assert page.rpartition("/")[2] in (ROOT / test).read_text()
