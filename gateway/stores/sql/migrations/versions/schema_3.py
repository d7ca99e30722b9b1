"""Schema 3: entries say at which service tier they were priced, so that a rerating can do the same."""

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    op.add_column("entries", sa.Column("service_tier", sa.Text))
