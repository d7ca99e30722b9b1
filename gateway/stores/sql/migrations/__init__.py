"""The steps from one schema of the database to the next, as Alembic runs them."""
