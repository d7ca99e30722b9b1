"""What an entry becomes beside what is told of its attempt already: pure, so that every order has one total."""

from dataclasses import fields, replace
from operator import attrgetter

from gateway.domain.ledger import LATE, Entry, EntryKind
from gateway.domain.reply import Usage

Told = dict[str, dict[EntryKind, Entry]]
"""By attempt and kind."""

_FIGURES = attrgetter(*(figure.name for figure in fields(Usage)))


def converged(new: Entry, told: Told) -> Entry | None:
    """The entry to add, which from then on is told; None when it says nothing new."""
    known = told.setdefault(new.attempt_id, {})
    entry = _beside(new, known)
    if entry is not None:
        known.setdefault(entry.kind, entry)
    return entry


def difference(actual: Entry, expired: Entry) -> Entry:
    """What an expired attempt turned out to be, as the difference to what was posted for it."""
    figures = zip(_FIGURES(actual.usage), _FIGURES(expired.usage), strict=True)
    return replace(
        actual,
        kind=EntryKind.TRUE_UP,
        usage=Usage(*(now - then for now, then in figures)),
        cost_nano_usd=actual.cost_nano_usd - expired.cost_nano_usd,
        tokens=actual.tokens - expired.tokens,
        late=True,
    )


def summed(expired: Entry, true_up: Entry) -> Entry:
    """What the attempt came to in the end."""
    figures = zip(_FIGURES(expired.usage), _FIGURES(true_up.usage), strict=True)
    return replace(
        true_up,
        usage=Usage(*(then + more for then, more in figures)),
        cost_nano_usd=expired.cost_nano_usd + true_up.cost_nano_usd,
        tokens=expired.tokens + true_up.tokens,
    )


def _beside(new: Entry, known: dict[EntryKind, Entry]) -> Entry | None:
    if not known:
        return new
    if new.kind in LATE:
        return None
    expired = known.get(EntryKind.EXPIRE)
    if new.kind is EntryKind.POST and expired is not None:
        return None if EntryKind.TRUE_UP in known else difference(new, expired)
    return new
