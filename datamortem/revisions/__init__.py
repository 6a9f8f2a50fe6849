"""The documented schema history, on the migration graph of Django."""
