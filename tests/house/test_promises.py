"""The promises of the books are assertions in the code, and the documentation says where."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROMISES = {f"I{number}" for number in range(1, 11)}


def named(text: str) -> set[str]:
    return set(re.findall(r"\bI(?:10|[1-9])\b", text))


def test_every_promise_of_the_books_is_an_assertion() -> None:
    asserted: set[str] = set()
    for path in (ROOT / "gateway").rglob("*.py"):
        for text in re.findall(r"(?:assert .*|AssertionError\()f?\"(I.*?)\"", path.read_text()):
            asserted |= named(text)
    assert asserted == PROMISES


def test_the_documentation_says_where_each_is() -> None:
    assert named((ROOT / "docs" / "money.md").read_text()) == PROMISES
