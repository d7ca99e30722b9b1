"""Tenants and ledger in SQL; imported by the app only when a database is configured, as SQLAlchemy takes its time."""
