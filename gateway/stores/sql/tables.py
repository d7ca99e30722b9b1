"""The tables. Money is in nano-USD, time in seconds of the wall clock, lists and tags are JSON text."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

_serial = BigInteger().with_variant(Integer, "sqlite")

meta = Table(
    "meta", metadata, Column("name", String(64), primary_key=True), Column("value", BigInteger, nullable=False)
)

tenants = Table(
    "tenants",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("models", Text, nullable=False),
    Column("blocked", Boolean, nullable=False),
    Column("created_at_s", Float, nullable=False),
    Column("revision", Integer, nullable=False),
)


def _owned() -> Column[str]:
    return Column("tenant", String(64), ForeignKey("tenants.id", ondelete="CASCADE"), nullable=False, index=True)


keys = Table(
    "keys",
    metadata,
    Column("id", String(32), primary_key=True),
    _owned(),
    Column("digest", LargeBinary, nullable=False),
    Column("pepper_id", String(16), nullable=False),
    Column("name", Text, nullable=False),
    Column("user", Text),
    Column("tags", Text, nullable=False),
    Column("models", Text, nullable=False),
    Column("expires_at_s", Float),
    Column("revoked_at_s", Float),
    Column("rotated_from", String(32)),
    Column("created_at_s", Float, nullable=False),
    Column("revision", Integer, nullable=False),
)

limits = Table(
    "limits",
    metadata,
    Column("id", String(128), primary_key=True),
    _owned(),
    Column("per", String(80), nullable=False),
    Column("of", Text),
    Column("requests_per_minute", BigInteger),
    Column("tokens_per_minute", BigInteger),
    Column("concurrent", BigInteger),
    Column("mode", String(16), nullable=False),
    Column("store_away", String(16), nullable=False),
    Column("created_at_s", Float, nullable=False),
    Column("revision", Integer, nullable=False),
)

budgets = Table(
    "budgets",
    metadata,
    Column("id", String(128), primary_key=True),
    _owned(),
    Column("amount", BigInteger, nullable=False),
    Column("unit", String(16), nullable=False),
    Column("period", String(16), nullable=False),
    Column("per", String(80), nullable=False),
    Column("of", Text),
    Column("zone", String(64), nullable=False),
    Column("thresholds", Text, nullable=False),
    Column("mode", String(16), nullable=False),
    Column("store_away", String(16), nullable=False),
    Column("when_short", String(16), nullable=False),
    Column("created_at_s", Float, nullable=False),
    Column("revision", Integer, nullable=False),
)

admin_keys = Table(
    "admin_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("pepper_id", String(16), nullable=False),
    Column("role", String(16), nullable=False),
    Column("tenant", String(64), ForeignKey("tenants.id", ondelete="CASCADE")),
    Column("name", Text, nullable=False),
    Column("expires_at_s", Float),
    Column("revoked_at_s", Float),
    Column("created_at_s", Float, nullable=False),
    Column("revision", Integer, nullable=False),
)

erasures = Table(
    "erasures",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("user", Text, nullable=False),
    Column("created_at_s", Float, nullable=False),
    Column("revision", Integer, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", _serial, primary_key=True, autoincrement=True),
    Column("at_s", Float, nullable=False),
    Column("actor", Text, nullable=False),
    Column("role", String(16), nullable=False),
    Column("action", String(32), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("object_id", Text, nullable=False),
    Column("tenant", String(64), index=True),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("request_id", Text, nullable=False),
)


def _where_told(name: str, column: str) -> Index:
    """Most entries belong to no run, and cost nothing here."""
    told = text(f"{column} IS NOT NULL")
    return Index(name, column, sqlite_where=told, postgresql_where=told)


def _of_kind(name: str, kind: str, column: str) -> Index:
    """Of the few entries of a rare kind: whether there is any costs one look."""
    rare = text(f"kind = '{kind}'")
    return Index(name, column, sqlite_where=rare, postgresql_where=rare)


entries = Table(
    "entries",
    metadata,
    Column("id", _serial, primary_key=True, autoincrement=True),
    Column("attempt_id", String(200), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("request_id", String(200), nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("reserved_at_s", Float, nullable=False),
    Column("posted_at_s", Float, nullable=False),
    Column("worker", String(32), nullable=False),
    Column("model", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("provider_model", Text, nullable=False),
    Column("user", Text),
    Column("run_id", Text),
    Column("root_run_id", Text),
    Column("tags", Text, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("other_tokens", Text, nullable=False),
    Column("cost_nano_usd", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("price_id", Text, nullable=False),
    Column("provenance", String(16), nullable=False),
    Column("unpriced", Boolean, nullable=False),
    Column("late", Boolean, nullable=False),
    Column("replay_of", String(200)),
    Column("budget_id", String(128)),
    Column("budget_who", Text),
    Column("actor", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("service_tier", Text),
    Column("parent_run_id", Text),
    Column("session_id", Text),
    UniqueConstraint("attempt_id", "kind"),
    Index("entries_by_tenant", "tenant", "reserved_at_s"),
    _where_told("entries_by_run", "run_id"),
    _where_told("entries_by_root_run", "root_run_id"),
    _of_kind("entries_expired", "expire", "reserved_at_s"),
    Index("ix_entries_request_id", "request_id").ddl_if(dialect="postgresql"),
)

answers = Table(
    "answers",
    metadata,
    Column("name", LargeBinary(32), primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("request_id", String(200), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("expires_at_s", Float, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
