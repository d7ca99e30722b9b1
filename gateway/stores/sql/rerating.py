"""Prices that were wrong: entries that carry what attempts cost from the old price to the new one."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sqlalchemy import select

from gateway.domain.ledger import CORRECTIONS, Entry, EntryKind
from gateway.domain.reply import NO_USAGE
from gateway.filing import Rerating, UsagePrice
from gateway.stores.sql.converging import summed
from gateway.stores.sql.dimensions import of_requests
from gateway.stores.sql.engine import Database
from gateway.stores.sql.entry_rows import entry_of
from gateway.stores.sql.ledger import SqlLedger
from gateway.stores.sql.tables import entries

BATCH = 500


def rerate(database: Database, which: Rerating, price: UsagePrice) -> int:
    """How many entries were added. Doing it again adds none; a later price starts from what the one before came to."""
    ledger = SqlLedger(database)
    count = 0
    for posts in _posts(database, which):
        told = _adjusted(database, posts)
        attempts = _trued_up(database, posts)
        priced = [(attempt, price(attempt.usage, attempt.service_tier)) for attempt in attempts]
        added = [entry for post, cost in priced if (entry := difference(post, told, which, *cost)) is not None]
        ledger.append(added)
        count += len(added)
    return count


def difference(post: Entry, told: Sequence[Entry], which: Rerating, cost_nano_usd: int, price_id: str) -> Entry | None:
    """The attempt's tokens stay what they were; None where nothing changes."""
    name = f"{post.attempt_id}:{price_id}"
    earlier = [entry for entry in told if entry.attempt_id.startswith(f"{post.attempt_id}:")]
    missing = cost_nano_usd - post.cost_nano_usd - sum(entry.cost_nano_usd for entry in earlier)
    if not missing or any(entry.attempt_id == name for entry in earlier):
        return None
    return replace(
        post,
        attempt_id=name,
        kind=EntryKind.ADJUST,
        posted_at_s=which.posted_at_s,
        worker=CORRECTIONS,
        usage=NO_USAGE,
        tokens=0,
        cost_nano_usd=missing,
        price_id=price_id,
        unpriced=False,
        late=False,
        actor=which.actor,
        cause=which.cause,
    )


def _posts(database: Database, which: Rerating) -> Iterator[list[Entry]]:
    after = 0
    query = select(entries).where(
        entries.c.kind.in_([EntryKind.POST.value, EntryKind.EXPIRE.value]),
        entries.c.provider == which.provider,
        entries.c.provider_model == which.provider_model,
        entries.c.reserved_at_s >= which.from_s,
        entries.c.reserved_at_s < which.to_s,
    )
    while True:
        page = query.where(entries.c.id > after).order_by(entries.c.id).limit(BATCH)
        with database.read() as connection:
            rows = connection.execute(page).mappings().all()
        if not rows:
            return
        after = int(rows[-1]["id"])
        yield [entry_of(row) for row in rows]


def _trued_up(database: Database, posts: Sequence[Entry]) -> Sequence[Entry]:
    """What expired, with what turned out later: it is priced as one attempt."""
    expired = [post.attempt_id for post in posts if post.kind is EntryKind.EXPIRE]
    if not expired:
        return posts
    query = select(entries).where(entries.c.kind == EntryKind.TRUE_UP.value, entries.c.attempt_id.in_(expired))
    with database.read() as connection:
        later = {entry.attempt_id: entry for entry in map(entry_of, connection.execute(query).mappings())}
    return [summed(post, later[post.attempt_id]) if post.attempt_id in later else post for post in posts]


def _adjusted(database: Database, posts: Sequence[Entry]) -> Sequence[Entry]:
    requests = sorted({post.request_id for post in posts})
    told = of_requests(requests, sqlite=database.sqlite)
    query = select(entries).where(entries.c.kind == EntryKind.ADJUST.value, told)
    with database.read() as connection:
        return [entry_of(row) for row in connection.execute(query).mappings()]
