"""What callers get of each provider answer is as it was read and approved."""

import pytest

from tests.dialects.goldens import FOLDER, cases

CASES = dict(cases())


@pytest.mark.parametrize("name", CASES)
def test_a_translation_is_as_it_was_approved(name: str) -> None:
    """`make goldens` writes them anew; a person reads the difference."""
    assert CASES[name] == (FOLDER / f"{name}.txt").read_text()


def test_there_are_no_others() -> None:
    kept = {path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*.txt")}
    assert kept == set(CASES)
    assert len(kept) >= 120
