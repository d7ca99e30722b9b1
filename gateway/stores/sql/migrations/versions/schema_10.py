"""Schema 10: whether any attempt of a time has expired is found without a look at each."""

import sqlalchemy as sa
from alembic import op

revision = "10"
down_revision = "9"


def upgrade() -> None:
    rare = sa.text("kind = 'expire'")
    op.create_index("entries_expired", "entries", ["reserved_at_s"], sqlite_where=rare, postgresql_where=rare)
