"""The doors through which runs reach a worker: look at run N, or look for any.

What is being done is in the rows: a worker that dies is found by its lapsed leases. So two carriers
can bring the same run, also at once: the built-in one (`builtin`) polls the table and needs nothing,
Celery (`carried`) brings ids over a broker. Housekeeping is theirs together.
"""

from __future__ import annotations

from cases.tasks.builtin import work
from cases.tasks.door import perform_run, see_through
from cases.tasks.lanes import TooMuch
from cases.tasks.life import WorkerState, worker_name, worker_state

__all__ = ["TooMuch", "WorkerState", "perform_run", "see_through", "work", "worker_name", "worker_state"]
