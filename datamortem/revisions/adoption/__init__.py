"""Taking over a database of the old, Alembic-managed system, in place and without losing a value."""
