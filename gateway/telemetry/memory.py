"""How full this process's memory is, and who is turned away because of it."""

import os
from pathlib import Path

from gateway.domain.request import Priority

STATM = Path("/proc/self/statm")
BACKGROUND_PERCENT = 90
"""Of the mark, from where background work is turned away; at the mark everybody is."""

NOBODY: frozenset[Priority] = frozenset()
BACKGROUND = frozenset({Priority.AUTONOMOUS})
EVERYBODY = frozenset(Priority)
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """0 where the system does not tell."""
    try:
        return int(STATM.read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


def shed_at(used_bytes: int, mark_bytes: int) -> frozenset[Priority]:
    """Requests of these priorities are refused until there is room again."""
    if used_bytes >= mark_bytes:
        return EVERYBODY
    return BACKGROUND if used_bytes * 100 >= mark_bytes * BACKGROUND_PERCENT else NOBODY
