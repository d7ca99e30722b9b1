"""Schema 8: SQLite finds the attempts of a request in the index of attempts, whose names begin with the request's."""

from alembic import op

revision = "8"
down_revision = "7"


def upgrade() -> None:
    if op.get_context().dialect.name == "sqlite":
        op.drop_index("ix_entries_request_id", table_name="entries")
