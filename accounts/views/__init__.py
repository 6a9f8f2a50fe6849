"""The pages of accounts: signing in and out, the own account, and what mails lead to."""
