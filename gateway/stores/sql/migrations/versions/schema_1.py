"""Schema 1: the tables as they were first."""

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _tenants()
    _keys()
    _limits()
    _budgets()
    _admin_keys()
    _audit()
    _entries()


def _tenants() -> None:
    op.create_table(
        "tenants",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("models", sa.Text, nullable=False),
        sa.Column("blocked", sa.Boolean, nullable=False),
        sa.Column("created_at_s", sa.Float, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
    )


def _keys() -> None:
    op.create_table(
        "keys",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("tenant", sa.String(64), sa.ForeignKey("tenants.id", ondelete="CASCADE"), nullable=False, index=True),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("pepper_id", sa.String(16), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("user", sa.Text),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("models", sa.Text, nullable=False),
        sa.Column("expires_at_s", sa.Float),
        sa.Column("revoked_at_s", sa.Float),
        sa.Column("rotated_from", sa.String(32)),
        sa.Column("created_at_s", sa.Float, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
    )


def _limits() -> None:
    op.create_table(
        "limits",
        sa.Column("id", sa.String(128), primary_key=True),
        sa.Column("tenant", sa.String(64), sa.ForeignKey("tenants.id", ondelete="CASCADE"), nullable=False, index=True),
        sa.Column("per", sa.String(80), nullable=False),
        sa.Column("of", sa.Text),
        sa.Column("requests_per_minute", sa.BigInteger),
        sa.Column("tokens_per_minute", sa.BigInteger),
        sa.Column("concurrent", sa.BigInteger),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("store_away", sa.String(16), nullable=False),
        sa.Column("created_at_s", sa.Float, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
    )


def _budgets() -> None:
    op.create_table(
        "budgets",
        sa.Column("id", sa.String(128), primary_key=True),
        sa.Column("tenant", sa.String(64), sa.ForeignKey("tenants.id", ondelete="CASCADE"), nullable=False, index=True),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("unit", sa.String(16), nullable=False),
        sa.Column("period", sa.String(16), nullable=False),
        sa.Column("per", sa.String(80), nullable=False),
        sa.Column("of", sa.Text),
        sa.Column("zone", sa.String(64), nullable=False),
        sa.Column("thresholds", sa.Text, nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("store_away", sa.String(16), nullable=False),
        sa.Column("when_short", sa.String(16), nullable=False),
        sa.Column("created_at_s", sa.Float, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
    )


def _admin_keys() -> None:
    op.create_table(
        "admin_keys",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("pepper_id", sa.String(16), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("tenant", sa.String(64), sa.ForeignKey("tenants.id", ondelete="CASCADE")),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("expires_at_s", sa.Float),
        sa.Column("revoked_at_s", sa.Float),
        sa.Column("created_at_s", sa.Float, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
    )


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("at_s", sa.Float, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("object_id", sa.Text, nullable=False),
        sa.Column("tenant", sa.String(64), index=True),
        sa.Column("before", sa.Text, nullable=False),
        sa.Column("after", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
    )


def _entries() -> None:
    op.create_table(
        "entries",
        sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("attempt_id", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("request_id", sa.String(200), nullable=False, index=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("reserved_at_s", sa.Float, nullable=False),
        sa.Column("posted_at_s", sa.Float, nullable=False),
        sa.Column("worker", sa.String(32), nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("provider_model", sa.Text, nullable=False),
        sa.Column("user", sa.Text),
        sa.Column("run_id", sa.Text),
        sa.Column("root_run_id", sa.Text, index=True),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("input_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_tokens", sa.BigInteger, nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger, nullable=False),
        sa.Column("other_tokens", sa.Text, nullable=False),
        sa.Column("cost_nano_usd", sa.BigInteger, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("price_id", sa.Text, nullable=False),
        sa.Column("provenance", sa.String(16), nullable=False),
        sa.Column("unpriced", sa.Boolean, nullable=False),
        sa.Column("late", sa.Boolean, nullable=False),
        sa.Column("orphan", sa.Boolean, nullable=False),
        sa.Column("replay_of", sa.String(200)),
        sa.Column("budget_id", sa.String(128)),
        sa.Column("budget_who", sa.Text),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.UniqueConstraint("attempt_id", "kind"),
        sa.Index("entries_by_tenant", "tenant", "reserved_at_s"),
        sa.Index(
            "entries_expired",
            "worker",
            sqlite_where=sa.text("kind = 'expire'"),
            postgresql_where=sa.text("kind = 'expire'"),
        ),
    )
