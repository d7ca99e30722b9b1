"""Schema 6: an entry names the run above its own, and the conversation."""

import sqlalchemy as sa
from alembic import op

revision = "6"
down_revision = "5"


def upgrade() -> None:
    for name in ("parent_run_id", "session_id"):
        op.add_column("entries", sa.Column(name, sa.Text))
