"""Every row of the failure table that speaks of upstream has a test that bears its id."""

import re
from pathlib import Path

ROWS = Path(__file__).parent


def test_every_upstream_row_has_a_test() -> None:
    named = {
        int(found) for path in ROWS.glob("test_*.py") for found in re.findall(r"def test_u(\d+)_", path.read_text())
    }
    assert named == set(range(1, 34))
