"""Text, Markdown, HTML and PDF files as sections: a heading and the text under it.

PDF by pypdf, HTML by selectolax, Markdown by markdown-it-py (all in the extra `texts`). A page of a PDF is a section.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from twotower.core.errors import UserError
from twotower.core.extras import missing

Section = tuple[str, str]
"""A heading, "" where there is none, and the text below it."""
PLAIN, MARKDOWN, HTML, PDF = (".txt", ".text", ".rst"), (".md", ".markdown"), (".html", ".htm", ".xhtml"), (".pdf",)
ENDINGS = (*PLAIN, *MARKDOWN, *HTML, *PDF)
HEADING = re.compile("h[1-6]")
BLOCKS = frozenset({"p", "li", "td", "th", "dd", "dt", "pre", "blockquote", "figcaption", "caption", "summary"})


class UnreadableError(UserError):
    """A file that its reader can't make anything of; says why."""


def read_sections(path: Path) -> list[Section]:
    """Reads the sections of a file by its ending.

    Raises:
        UnreadableError: when it is damaged, encrypted, or not UTF-8.
        UserError: when the package that reads it is not installed.
    """
    ending = path.suffix.lower()
    if ending in PDF:
        return list(_pdf(path))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{path}: {error}") from error
    if ending in HTML:
        return _join(_html(text))
    return _join(_html(_markdown(text))) if ending in MARKDOWN else [("", text)]


def _need(package: str) -> UserError:
    return missing("data=texts, for these files,", package)


def _markdown(text: str) -> str:
    try:
        from markdown_it import MarkdownIt
    except ImportError as error:
        raise _need("markdown-it-py") from error
    return str(MarkdownIt("commonmark").enable("table").render(text))


def _html(text: str) -> Iterator[Section]:
    """Yields (heading, text of one block) in the order of the page."""
    try:
        from selectolax.lexbor import LexborHTMLParser
    except ImportError as error:
        raise _need("selectolax") from error
    tree = LexborHTMLParser(text)
    for node in tree.css("script, style, nav, footer, noscript, template"):
        node.decompose()
    title_node = tree.css_first("title")
    heading = title_node.text(strip=True) if title_node is not None else ""
    if tree.body is None:
        return
    inside = tree.css(",".join(["h1", "h2", "h3", "h4", "h5", "h6", *sorted(BLOCKS)]))
    for node in inside:
        words = " ".join(node.text(separator=" ").split())
        if HEADING.fullmatch(str(node.tag)):
            heading = words or heading
        elif words and not any(parent in BLOCKS for parent in _parents(node)):
            yield heading, words
    if not inside and (words := " ".join(tree.body.text(separator=" ").split())):
        yield heading, words


def _parents(node: object) -> Iterator[str]:
    above = node.parent  # type: ignore[attr-defined]
    while above is not None:
        yield str(above.tag)
        above = above.parent


def _join(blocks: Iterable[Section]) -> list[Section]:
    """Joins neighbouring blocks under the same heading."""
    sections: list[tuple[str, list[str]]] = []
    for heading, text in blocks:
        if sections and sections[-1][0] == heading:
            sections[-1][1].append(text)
        else:
            sections.append((heading, [text]))
    return [(heading, "\n\n".join(texts)) for heading, texts in sections]


def _pdf(path: Path) -> Iterator[Section]:
    try:
        from pypdf import PdfReader
    except ImportError as error:
        raise _need("pypdf") from error

    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it warns of every slip in other people's files
    try:
        reader = PdfReader(path)
        title = str(reader.metadata.title or "" if reader.metadata else "").strip()
        pages = [page.extract_text() for page in reader.pages]
    except Exception as error:  # pypdf raises as many kinds as there are ways to break a file
        raise UnreadableError(
            f"{path}: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error
    yield from ((title, text) for text in pages)
