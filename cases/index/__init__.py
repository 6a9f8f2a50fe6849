"""Records to searchable documents and back: one interface, two engines."""
