"""Many threads at one gate, each with a database connection of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connections

Result = TypeVar("Result")


def at_once(number: int, act: Callable[[], Result]) -> list[Result]:
    """Do something in so many threads in the same moment; return what each got."""
    gate = threading.Barrier(number)

    def run() -> Result:
        try:
            gate.wait(10)
            return act()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(number) as pool:
        return [future.result() for future in [pool.submit(run) for _ in range(number)]]
