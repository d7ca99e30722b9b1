"""Takes a user's name out of the ledger; the figures stay as they are."""

from collections.abc import Sequence

from sqlalchemy import and_, case, or_, select, update

from gateway.domain.tenancy import ErasureRow
from gateway.stores.entry_row import storable
from gateway.stores.sql.engine import Database
from gateway.stores.sql.tables import entries

BATCH = 2_000
"""Writers wait for one batch at most, and never while it is looked for."""


def forget(database: Database, order: ErasureRow, from_s: float, to_s: float, named: Sequence[str]) -> int:
    user = storable(order.user)
    booked = entries.c.user == user
    account = and_(entries.c.budget_who == user, entries.c.budget_id.not_in(named))
    wanted = select(entries.c.id).where(
        entries.c.tenant == order.tenant,
        entries.c.reserved_at_s >= from_s,
        entries.c.reserved_at_s < to_s,
        or_(booked, account),
    )
    nameless = {
        "user": case((booked, order.id), else_=entries.c.user),
        "session_id": case((booked, None), else_=entries.c.session_id),
        "budget_who": case((account, order.id), else_=entries.c.budget_who),
    }
    count = after = 0
    while True:
        with database.read() as connection:
            following = wanted.where(entries.c.id > after).order_by(entries.c.id).limit(BATCH)
            ids = connection.execute(following).scalars().all()
        if not ids:
            return count
        with database.begin() as connection:
            connection.execute(update(entries).where(entries.c.id.in_(ids)).values(nameless))
        count, after = count + len(ids), ids[-1]
