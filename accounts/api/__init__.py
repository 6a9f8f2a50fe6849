"""The HTTP API of identity."""
