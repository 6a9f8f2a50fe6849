"""How times and numbers are written: the same way in every language."""
