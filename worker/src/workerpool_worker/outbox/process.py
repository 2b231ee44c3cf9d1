"""A relay that goes on: again and again until it is told to stop, patient with a database or a Redis that is away."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from sqlalchemy.exc import SQLAlchemyError

from workerpool_worker.outbox.relay import Relay
from workerpool_worker.producer import BrokerUnreachableError

LONGEST_WAIT_S = 5.0
"""Between two tries while something is away: what is back is noticed within it."""

_log = logging.getLogger("workerpool_worker.outbox")


def wait_s(failures: int, poll_s: float, random_: float) -> float:
    """How long to wait after so many failures in a row: doubled each time up to the longest, the upper half at random.

    Several relays that lost the same Redis do not come back together.
    """
    longest = min(LONGEST_WAIT_S, poll_s * 2.0 ** min(failures, 20))
    return longest * (1 + random_) / 2


@dataclass
class Trouble:
    """What is in the way at the moment: one line when it begins, one when it is over."""

    began: float = 0.0
    failures: int = 0

    def failed(self, relay: Relay, error: Exception) -> None:
        """Count one more try in vain."""
        self.failures += 1
        if self.failures == 1:
            self.began = time.monotonic()
            text = " ".join(str(getattr(error, "orig", None) or error).split())
            _log.warning("the outbox waits: %s", text, extra={"fields": _waiting(relay)})

    def over(self) -> None:
        """It works."""
        if self.failures:
            fields = {"seconds": round(time.monotonic() - self.began, 1), "tries": self.failures}
            _log.warning("the outbox moves again", extra={"fields": fields})
            self.failures = 0


def keep_going(
    relay: Relay,
    stop: Event,
    *,
    poll_s: float,
    done: Callable[[], bool] = lambda: False,
    beat: Callable[[], None] = lambda: None,
) -> int:
    """Relay until `stop` is set, or `done` says so after a look that found nothing; how many rows were dealt with.

    A batch that is under way when `stop` is set is finished. `beat` is called every time round, whatever is away.
    """
    moved, trouble = 0, Trouble()
    while not stop.is_set():
        beat()
        pause = poll_s
        try:
            step = relay.step()
            trouble.over()
            moved += step
            if step:
                continue
            if done():
                break
        except (BrokerUnreachableError, SQLAlchemyError) as error:
            trouble.failed(relay, error)
            pause = wait_s(trouble.failures, poll_s, random.random())  # noqa: S311 - jitter, not a secret
        stop.wait(pause)
    return moved


def _waiting(relay: Relay) -> dict[str, object]:
    try:
        return {"waiting": relay.waiting()}
    except SQLAlchemyError:
        # It is the database that is away: nobody knows.
        return {}
