"""Accounts: who."""
