"""The verbs of `manage.py db`: each takes a connection, the operator's ear, and its arguments."""
