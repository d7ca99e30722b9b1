"""Which generation of its provider's models a model is, by its name."""

import re

UNKNOWN = (0, 0)
NEWEST = (99, 0)
_CLAUDE = re.compile(r"claude-[a-z]+-(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_GEMINI = re.compile(r"gemini-(\d{1,2})(?:\.(\d{1,2}))?(?!\d)")

Generation = tuple[int, int]


def claude(model: str) -> Generation:
    """What follows the name's numbers may be a date."""
    return _of(_CLAUDE, model)


def gemini(model: str) -> Generation:
    """An alias without a number moves to the newest there is."""
    found = _of(_GEMINI, model)
    return NEWEST if found == UNKNOWN and "gemini-" in model and model.endswith("-latest") else found


def _of(pattern: re.Pattern[str], model: str) -> Generation:
    found = pattern.search(model)
    return UNKNOWN if found is None else (int(found[1]), int(found[2] or 0))
