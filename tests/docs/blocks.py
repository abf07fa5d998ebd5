"""The code blocks of README and docs, and what a comment before one says about running it.

`<!-- test: skip WHY -->`      is not run: it needs what a test has not
`<!-- test: leave out LINE -->` the line is not run
`<!-- test: serve PORT -->`     runs until the section ends; the section goes on as soon as the port answers
`<!-- test: terminal KEY -->`   runs in a terminal in which KEY is pressed until it ends
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"(?:^<!-- test: (?P<told>[^\n]*?) -->\n)?^```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL
)
HEADING = re.compile(r"^##? .*$", re.MULTILINE)
IN_ORDER = ("README.md", "tutorial.md")
"""Pages whose sections build on each other."""
SLOW = re.compile(r"\btrain\b|train\.py|\brerun\b|\bmake\b|twotower (index|encode|evaluate)\b|--web")


@dataclass(frozen=True)
class Block:
    """One block: its language, its text, and what is told about running it."""

    language: str
    code: str
    told: str = ""


@dataclass(frozen=True)
class Section:
    """The blocks under one heading, which are run one after the other.

    Attributes:
        name: page and heading.
        blocks: in the order of the page.
    """

    name: str
    blocks: tuple[Block, ...]

    @property
    def slow(self) -> bool:
        """Whether it trains, builds or serves, which takes more than a moment."""
        return any(block.language == "bash" and SLOW.search(block.code) for block in self.blocks)


def sections(page: Path) -> list[Section]:
    """Returns the sections of a page that hold a block; a page that is read in order is one section."""
    text, title = page.read_text(encoding="utf-8"), page.relative_to(ROOT).as_posix()
    if page.name in IN_ORDER:
        return [Section(title, tuple(_blocks(text)))]
    starts = [0, *(match.start() for match in HEADING.finditer(_without_code(text))), len(text)]
    found = []
    for start, end in itertools.pairwise(starts):
        if blocks := tuple(_blocks(text[start:end])):
            found.append(Section(f"{title}: {text[start:end].splitlines()[0].lstrip('# ')}", blocks))
    return found


def _blocks(text: str) -> list[Block]:
    return [Block(match["language"], match["code"], match["told"] or "") for match in FENCE.finditer(text)]


def _without_code(text: str) -> str:
    """Blanks code out, in which a `#` starts a comment and no heading; places stay where they are."""
    return FENCE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
