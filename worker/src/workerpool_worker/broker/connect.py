"""The connection to the broker, for all that speak to it: Celery's main process, its children, producers, commands.

TLS checks the certificate and its name unless the URL says otherwise; Sentinels are asked for the primary at every
connect, so a connection that breaks at a failover is made again to the new one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    import redis

    from workerpool_worker.settings.broker import BrokerSettings
    from workerpool_worker.settings.broker_url import BrokerUrl

CONNECT_S = 3.0
ANSWER_S = 10.0
TRANSPORT = "workerpool_worker.messages.transport:Transport"


def connection_options(
    settings: BrokerSettings,
    *,
    client_name: str = "workerpool-worker",
    connect_s: float = CONNECT_S,
    answer_s: float = ANSWER_S,
) -> dict[str, Any]:
    """The part of Celery's configuration that says where the broker is: URL, transport and the transport's options.

    Args:
        settings: The settings of a worker, or `BrokerSettings(broker_url=...)` alone.
        client_name: How the connection is named in `CLIENT LIST`.
        connect_s: Longest wait for a connection.
        answer_s: Longest wait for an answer.
    """
    broker = settings.broker
    return {
        "broker_url": _celery_url(broker),
        "broker_transport": TRANSPORT,
        "broker_transport_options": {
            "broker": broker,
            "client_name": client_name,
            "socket_connect_timeout": connect_s,
            "socket_timeout": answer_s,
            # A Redis that went away without a word (failover, NAT) must not hang anybody.
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
    }


def client_for(settings: BrokerSettings, *, client_name: str = "workerpool-worker", **options: Any) -> redis.Redis:
    """A plain client of the same Redis; close it when done.

    Args:
        settings: As for `connection_options`.
        client_name: How the connection is named in `CLIENT LIST`.
        options: What else redis-py takes for a connection, such as `decode_responses`.
    """
    import redis  # noqa: PLC0415 - a producer's process may never need it

    from workerpool_worker.broker.connections import pool_for  # noqa: PLC0415

    given = {
        "client_name": client_name,
        "socket_connect_timeout": CONNECT_S,
        "socket_timeout": ANSWER_S,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }
    return redis.Redis.from_pool(pool_for(settings.broker, given | options))


def _celery_url(broker: BrokerUrl) -> str:
    """What Celery and kombu show and compare connections by; the transport itself reads the address, not this."""
    host, port = broker.hosts[0] if broker.hosts else ("localhost", 0)
    user, password = (quote(part or "", safe="") for part in (broker.user, broker.password))
    login = f"{user}:{password}@" if user or password else ""
    name = f"[{host}]" if ":" in host else quote(host, safe="")
    return f"redis://{login}{name}{f':{port}' if port else ''}/{broker.database}"
