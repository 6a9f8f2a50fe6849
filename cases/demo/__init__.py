"""A fictional intrusion as real files in real formats: for the demo, for tests and for measuring.

Plain Python, without Django.
"""
