"""A stock Celery app for contract tests: nothing set that a test did not ask for.

Started as a worker it takes its options from the environment, as JSON in ``CONTRACT_APP``; in the test's process
:func:`make_app` makes the producer.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from celery import Celery


def make_app(broker: str, **options: Any) -> Celery:
    """An app with the tasks of the contract tests."""
    made = Celery("contract", broker=broker, set_as_current=False)
    made.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True, **options)

    @made.task(name="quick", shared=False)  # not every other app of the process has to have it
    def quick() -> None:
        """Do nothing."""

    @made.task(name="hold", shared=False)
    def hold(gate: str) -> None:
        """Run until the file is there: the test decides when a job ends."""
        while not Path(gate).exists():
            time.sleep(0.02)

    return made


if "CONTRACT_APP" in os.environ:
    app = make_app(**json.loads(os.environ["CONTRACT_APP"]))
