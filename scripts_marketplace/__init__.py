"""Scripts: how else evidence is read."""
