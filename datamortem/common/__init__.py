"""What every app may use; imports nothing of ours."""
