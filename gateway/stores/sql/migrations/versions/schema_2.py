"""Schema 2: expired attempts are found by their ids, so nothing reads the index of their workers."""

from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    op.drop_index("entries_expired", "entries")
