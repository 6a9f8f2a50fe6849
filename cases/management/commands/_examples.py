"""What `--help` ends with: examples that can be typed as they stand."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter

from django.core.management.base import CommandParser, DjangoHelpFormatter


class _AsWritten(DjangoHelpFormatter, RawDescriptionHelpFormatter):
    """Keeps the lines of examples apart."""


def add_examples(parser: CommandParser, *lines: str) -> None:
    """Put examples behind the options."""
    parser.formatter_class = _AsWritten
    parser.epilog = "\n".join(["examples:", *(f"  manage.py {line}" for line in lines)])
