"""The formats we read, in the order they are tried; the list is the documentation."""
