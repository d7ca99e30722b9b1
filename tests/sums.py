"""What entries of a ledger come to."""

from collections.abc import Iterable

from gateway.domain.ledger import Entry
from gateway.filing import LedgerReports, Span

ENTRIES_MAX = 1_000_000
Said = tuple[int, int, int]
"""Input tokens, output tokens, nano-USD."""


def sum_of(entries: Iterable[Entry]) -> Said:
    found = list(entries)
    return (
        sum(entry.usage.input for entry in found),
        sum(entry.usage.output for entry in found),
        sum(entry.cost_nano_usd for entry in found),
    )


def in_all(ledger: LedgerReports) -> Said:
    return sum_of(entry for _, entry in ledger.entries(Span(), 0, ENTRIES_MAX))
