"""Text files with columns: CSV, whatever parts it, and TSV."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from twotower.data.lines import Place, Row, complain, read_lines, shown

QUOTED = re.compile(r'"[^"]*"')
"""A quoted field."""


def separated(path: Path, *, tabs: bool, headless: bool) -> Iterator[Row]:
    """Yields the rows of a file with columns.

    Args:
        path: the file.
        tabs: whether it is parted by tabs alone (TSV), not as CSV is.
        headless: whether it has no header line: columns are then called "0", "1", ...

    Raises:
        UserError: for a header without a name for each column, or a line of another width.
    """
    csv.field_size_limit(2**31 - 1)
    parts = tab_lines(path) if tabs else comma_lines(path)
    header: list[str] | None = None
    for place, fields in parts:
        if header is None:
            header = [str(number) for number in range(len(fields))] if headless else [item.strip() for item in fields]
            if len(set(header)) < len(header) or not all(header):
                raise complain(
                    place,
                    f"the header line needs a name of its own for each column; found {shown(fields)}. (An unnamed "
                    "first one is pandas' own index: to_csv(index=False) leaves it out.)",
                )
            if not headless:
                continue
        if len(fields) != len(header):
            raise complain(place, f"needs {len(header)} columns as the first line has; found {len(fields)}.")
        yield place, dict(zip(header, fields, strict=True))


def tab_lines(path: Path) -> Iterator[tuple[Place, list[str]]]:
    """Yields the fields of each line of a file parted by tabs; quotation marks are part of the text."""
    return ((place, line.split("\t")) for place, line in read_lines(path))


def comma_lines(path: Path) -> Iterator[tuple[Place, list[str]]]:
    """Yields the fields of each record of a CSV file, parted by `,`, `;`, tab or `|`.

    It is the one that the first record has most of, quoted fields aside.

    Raises:
        UserError: where quotation marks are not as CSV has them, besides what `read_lines` raises.
    """
    numbered = read_lines(path, blank="keep")
    opening = _first_record(numbered)
    if not opening:
        return
    mark = max(",;\t|", key=QUOTED.sub("", "\n".join(line for _, line in opening)).count)
    place = [opening[0][0]]

    def lines() -> Iterator[str]:
        for where, line in chain(opening, numbered):
            place[0] = where
            yield line + "\n"

    reader = csv.reader(lines(), delimiter=mark, strict=True)
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise complain(place[0], f"not well-formed CSV ({error}).") from error
        if fields is None:
            return
        if fields:
            yield place[0], fields


def _first_record(numbered: Iterator[tuple[Place, str]]) -> list[tuple[Place, str]]:
    """Returns the first line, and those after it that a quoted field of it goes on in."""
    opening, marks = [], 0
    for place, line in numbered:
        opening.append((place, line))
        marks += line.count('"')
        if marks % 2 == 0:
            break
    return opening
