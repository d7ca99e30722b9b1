"""Schema 9: no entry is an orphan: a hold lives in its process, and what a dead one owed is in its journal."""

from alembic import op

revision = "9"
down_revision = "8"


def upgrade() -> None:
    op.drop_column("entries", "orphan")
