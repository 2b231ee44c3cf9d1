"""kombu's Redis transport, connected as the broker's address says: TCP, TLS, a Unix socket or Sentinels.

One class for all: kombu's own Sentinel transport takes the Sentinels from a list of URLs, and after a failed connect
goes to the next of them with the transport that *its* scheme names, whatever it was made with.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from kombu.transport import redis as kombu_redis
from redis.exceptions import NoPermissionError

from workerpool_worker.broker.connections import connection_class, parameters, pool_for
from workerpool_worker.broker.errors import reason
from workerpool_worker.settings.broker_url import BrokerUrl

_SECONDS_BETWEEN_LINES = 60.0
_log = logging.getLogger("workerpool_worker.broker")


class BrokerChannel(kombu_redis.Channel):
    """A channel to the Redis of the transport option `broker`."""

    from_transport_options = (*kombu_redis.Channel.from_transport_options, "broker")
    broker: BrokerUrl | None = None
    _refused_at = float("-inf")

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        if self.broker is not None:
            # kombu derives a class of it that tells the event loop when the connection is gone.
            self.connection_class = connection_class(self.broker)
        given: dict[str, Any] = super()._connparams(asynchronous)  # type: ignore[misc]
        return given if self.broker is None else parameters(self.broker, given)

    def _get_pool(self, asynchronous: bool = False) -> Any:
        given = self._connparams(asynchronous=asynchronous)
        self.keyprefix_fanout = self.keyprefix_fanout.format(db=given["db"])
        if self.broker is None:
            return super()._get_pool(asynchronous)  # type: ignore[misc]
        pool = pool_for(self.broker, given)
        # kombu closes what is here together with the pool.
        name = "_async_sentinel_manager" if asynchronous else "_sentinel_manager"
        setattr(self, name, getattr(pool, "sentinel_manager", None))
        return pool

    def maybe_refresh_binding_expiry(self) -> None:
        """Keep the routes; what is refused is said now and then, where kombu has a traceback a second."""
        try:
            super().maybe_refresh_binding_expiry()  # type: ignore[misc]
        except NoPermissionError as error:
            if self.broker is None:
                raise
            now = time.monotonic()
            if now - self._refused_at >= _SECONDS_BETWEEN_LINES:
                self._refused_at = now
                _log.warning("the broker %s: %s", self.broker, reason(error, self.broker))


class BrokerTransport(kombu_redis.Transport):
    """The transport of workers and producers."""

    Channel = BrokerChannel
