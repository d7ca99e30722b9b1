"""Alembic's entry: runs the steps on the connection, and in the transaction, that the gateway gives it."""

from alembic import context

from gateway.stores.sql.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
