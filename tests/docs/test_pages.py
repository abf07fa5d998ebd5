"""The documentation: its Python runs, its links lead somewhere, its reference holds every setting."""

import dataclasses
import importlib.util
import inspect
import re
import sys
import types
from pathlib import Path

import pytest
import yaml

import twotower.runs.settings  # noqa: F401 - defines every room's settings
from tools.reference import GIVEN, LEFT_OUT, configuration
from twotower.config.settings import Settings
from twotower.lexical.fusion import DEFAULT_WEIGHT

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


@pytest.fixture(scope="module")
def reference():
    """The keys that the reference lists by the heading they stand under."""
    sections, heading = {}, ""
    for line in configuration(ROOT).splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
            sections[heading] = {}
        elif match := re.match(r"\| `([^`]+)` \| (?:`([^`]*)`)? ?\| (.*) \|$", line):
            sections[heading][match[1]] = (match[2] or "", match[3])
    return sections


def keys_of(config, before=""):
    """Every key that holds a value, in dots."""
    for key, value in config.items():
        if isinstance(value, dict) and value:
            yield from keys_of(value, f"{before}{key}.")
        elif key != "defaults":
            yield f"{before}{key}"


CHOICES = [file for file in sorted((ROOT / "conf").glob("*/*.yaml")) if file.parent.name not in LEFT_OUT]


@pytest.mark.parametrize("file", CHOICES, ids=lambda file: f"{file.parent.name}={file.stem}")
def test_the_reference_names_every_key_of_every_choice(reference, file):
    listed = reference[f"{file.parent.name}={file.stem}"]
    config = yaml.safe_load(file.read_text()) or {}
    assert set(keys_of(config)) <= set(listed)
    for key, value in config.items():
        if isinstance(value, (bool, int, float, str)) or value is None:
            assert yaml.safe_load(listed[key][0]) == value, key


def test_the_reference_names_the_keys_above_all_groups(reference):
    config = yaml.safe_load((ROOT / "conf" / "train.yaml").read_text())
    config.pop("hydra")
    assert set(reference["Above all groups"]) == set(keys_of(config))


def every_settings(base=Settings):
    """The dataclasses that check a group of the config, and those below them."""
    for part in base.__subclasses__():
        yield part
        yield from every_settings(part)


def test_the_reference_names_every_field_of_the_typed_settings(reference):
    checked = list(every_settings())
    assert {item.GROUP for item in checked} >= {"data", "data.negatives", "evaluation", "evaluation.hybrid", "text"}
    for item in checked:
        group, _, inner = item.GROUP.partition(".")
        listed = {key for heading, keys in reference.items() if heading.startswith(f"{group}=") for key in keys}
        for field in dataclasses.fields(item):
            name = f"{inner}.{field.name}" if inner else field.name
            assert any(key == name or key.startswith(f"{name}.") for key in listed), f"{group}.{name}"


def test_the_reference_names_what_a_part_understands_beside_its_file(reference):
    assert reference["index=faiss_hnsw"]["faiss_hnsw.rerank"][0] == "0"
    assert "original vectors" in reference["index=faiss_hnsw"]["faiss_hnsw.rerank"][1]
    assert "faiss_hnsw.name" not in reference["index=faiss_hnsw"]  # given by the framework
    for group, keys in reference.items():
        for key, (target, _) in keys.items():
            if (
                not key.endswith("_target_")
                or not target.startswith("twotower.")
                or group.startswith(("model=", "logger="))
            ):
                continue
            module, _, name = target.rpartition(".")
            if target == "twotower.index.lance.LanceIndex":  # needs a package that is not installed with the others
                continue
            arguments = inspect.signature(getattr(importlib.import_module(module), name)).parameters.values()
            optional = {item.name for item in arguments if item.default is not inspect.Parameter.empty}
            given = GIVEN.get(group.partition("=")[0]) or set()
            before = key.removesuffix("_target_")
            assert {f"{before}{name}" for name in optional - given} <= set(keys), group


def test_a_comment_that_goes_on_below_is_read_to_its_end(reference):
    assert reference["evaluation=default"]["exclude_self"][1].endswith("false")


def test_the_reference_gives_the_weight_of_bm25_where_none_is_fitted(reference):
    assert reference["evaluation=default"]["hybrid.weight"][1].endswith(f", else {DEFAULT_WEIGHT:g}")


def test_the_overview_has_no_link_out_of_the_site(pages):
    text = pages.overview((ROOT / "README.md").read_text())
    for target in LINK.findall(text):
        assert (ROOT / "docs" / target).exists(), target
