"""A relay that is killed at the worst moment: Redis has the batch, the database does not know yet. Run as a program."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable

from workerpool_worker.outbox.relay import Relay
from workerpool_worker.producer import Producer
from workerpool_worker.runtime.database import make_engine
from workerpool_worker.sending.outgoing import Outgoing


class DyingProducer(Producer):
    """Sends one batch, then dies."""

    def hand_over(self, outs: Iterable[Outgoing]) -> None:
        super().hand_over(outs)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    broker_url, database_url = sys.argv[1:]
    Relay(make_engine(database_url), DyingProducer(broker_url), batch=20).run_once()
