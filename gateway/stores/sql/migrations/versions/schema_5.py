"""Schema 5: a run is found by either of its names, and entries without one are in no index of runs."""

import sqlalchemy as sa
from alembic import op

revision = "5"
down_revision = "4"


def upgrade() -> None:
    op.drop_index("ix_entries_root_run_id", table_name="entries")
    for name, column in (("entries_by_run", "run_id"), ("entries_by_root_run", "root_run_id")):
        told = sa.text(f"{column} IS NOT NULL")
        op.create_index(name, "entries", [column], sqlite_where=told, postgresql_where=told)
