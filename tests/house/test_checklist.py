"""Each row of the readiness checklist for agents has a test that carries its number."""

import re
from pathlib import Path

from tests.house.sources import ROOT

ROWS = 60
NAMED = re.compile(r"def test_row((?:_\d+)+)_")


def rows_of(path: Path) -> set[int]:
    found = NAMED.findall(path.read_text())
    return {int(row) for rows in found for row in rows.split("_") if row}


def test_every_row_of_the_checklist_has_a_test_with_its_number() -> None:
    rows = set[int]().union(*(rows_of(path) for path in (ROOT / "tests").rglob("test_*.py")))
    assert sorted(rows) == list(range(1, ROWS + 1))
