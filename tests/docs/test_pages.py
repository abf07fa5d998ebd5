"""The documentation: its Python runs, its links lead somewhere, its reference holds every setting."""

import importlib.util
import re
import sys
import types
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
MADE = ("configuration.md",)
"""Pages that stand in no file: `tools/docs_pages.py` makes them."""
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_exist(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists() or Path(target).name in MADE, target


def test_pictures_are_small_shown_and_load_nothing():
    shown = "".join(page.read_text() for page in PAGES)
    for file in (ROOT / "docs" / "img").iterdir():
        assert file.stat().st_size < 200_000, file.name
        assert file.name in shown
        if file.suffix == ".svg":
            assert "url(http" not in file.read_text()


def test_the_sums_of_the_page_about_numbers_are_right():
    blocks = BLOCK.findall((ROOT / "docs" / "numbers.md").read_text())
    assert blocks
    for block in blocks:
        exec(compile(block, "numbers.md", "exec"), {})


@pytest.fixture(scope="module")
def pages():
    """The maker of pages; mkdocs itself is needed only to build the site."""
    if importlib.util.find_spec("mkdocs") is None:
        files = types.ModuleType("mkdocs.structure.files")
        files.File = files.Files = object
        sys.modules.update({"mkdocs": types.ModuleType("mkdocs"), "mkdocs.structure": types.ModuleType("s")})
        sys.modules["mkdocs.structure.files"] = files
    spec = importlib.util.spec_from_file_location("docs_pages", ROOT / "tools" / "docs_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_names_every_setting_of_every_choice(pages):
    text = pages.configuration(ROOT / "conf")
    for file in (ROOT / "conf").glob("*/*.yaml"):
        if file.parent.name in pages.LEFT_OUT:
            continue
        assert f"### {file.parent.name}={file.stem}\n" in text
        for key, value in (yaml.safe_load(file.read_text()) or {}).items():
            if not isinstance(value, (dict, list)) and key != "defaults":
                assert f"`{key}`" in text, f"{file.name}: {key}"


def test_the_overview_has_no_link_out_of_the_site(pages):
    text = pages.overview((ROOT / "README.md").read_text())
    for target in LINK.findall(text):
        assert (ROOT / "docs" / target).exists(), target
