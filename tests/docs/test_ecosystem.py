"""Every test that docs/ecosystem.md names as holding a line is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = (ROOT / "docs" / "ecosystem.md").read_text()


def test_every_line_that_claims_something_names_a_test_that_exists():
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", TABLE)
    assert len(named) > 60
    lost = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / "tests" / path).is_file() or f"def {name}(" not in (ROOT / "tests" / path).read_text()
    ]
    assert not lost
    claims = [line for line in TABLE.splitlines() if re.match(r"\| [^|]+ \| [●◐]", line)]
    assert all("::test_" in line for line in claims)
