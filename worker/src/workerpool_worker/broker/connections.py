"""redis-py's connections as the broker's address asks for them."""

from __future__ import annotations

import ssl
from typing import Any

import redis
from redis.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import NoPermissionError, RedisError, ResponseError
from redis.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool, SentinelManagedConnection

from workerpool_worker.broker.errors import denied, reason
from workerpool_worker.settings.broker_url import BrokerUrl, place

_IN_SCRIPT = "ACL failure in script"
_SENTINEL_CONNECT_S = 1.0
_SENTINEL_ANSWER_S = 2.0
_TCP_ONLY = ("socket_keepalive", "socket_keepalive_options", "host", "port")


class _Naming:
    """Says in a refusal who was refused what."""

    username: str | None
    _asked: tuple[Any, ...] = ()

    def send_command(self, *args: Any, **kwargs: Any) -> None:
        super().send_command(*args, **kwargs)  # type: ignore[misc]
        self._asked = args

    def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        # Of a pipeline, whose commands redis-py names itself.
        self._asked = ()
        super().send_packed_command(*args, **kwargs)  # type: ignore[misc]

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().read_response(*args, **kwargs)  # type: ignore[misc]
        except ResponseError as error:
            # What a script may not do is an error of the script.
            if not isinstance(error, NoPermissionError) and _IN_SCRIPT not in str(error):
                raise
            raise NoPermissionError(denied(str(error), self.username, _shown(self._asked))) from None


class PlainConnection(_Naming, Connection):
    """Over TCP."""


class SocketConnection(_Naming, UnixDomainSocketConnection):
    """Over a Unix socket."""


class TlsConnection(_Naming, SSLConnection):
    """Over TLS. Unlike redis-py's own it trusts the given authorities *instead of* the system's.

    The files are read at every connect, so that renewed ones are used without a restart.
    """

    def __init__(self, *, broker: BrokerUrl, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._broker = broker

    def _wrap_socket_with_ssl(self, sock: Any) -> Any:
        return tls_context(self._broker).wrap_socket(sock, server_hostname=self.host)


class SentinelPlainConnection(SentinelManagedConnection, PlainConnection):
    """To the primary, over TCP."""


class SentinelTlsConnection(SentinelManagedConnection, TlsConnection):
    """To the primary, over TLS."""


class Sentinels(Sentinel):
    """The Sentinels of an address, with a login of their own and errors that name each of them."""

    def __init__(self, broker: BrokerUrl) -> None:
        super().__init__([])  # type: ignore[no-untyped-call]
        kind = TlsConnection if broker.tls else PlainConnection
        options: dict[str, Any] = {
            "username": broker.sentinel_user,
            "password": broker.sentinel_password,
            "socket_connect_timeout": _SENTINEL_CONNECT_S,
            "socket_timeout": _SENTINEL_ANSWER_S,
        } | ({"broker": broker} if broker.tls else {})
        self._broker = broker
        self._clients = [
            (
                place(host, port),
                redis.Redis.from_pool(ConnectionPool(connection_class=kind, host=host, port=port, **options)),
            )
            for host, port in broker.hosts
        ]
        self.sentinels = [client for _, client in self._clients]

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Host and port of the primary, from the first Sentinel that knows it; that one is asked first next time.

        Raises:
            MasterNotFoundError: none does; the text says what became of each.
        """
        problems: dict[str, list[str]] = {}
        for number, (where, client) in enumerate(self._clients):
            try:
                found = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service_name)  # type: ignore[no-untyped-call]
            except (RedisError, OSError) as error:
                problems.setdefault(reason(error, self._broker, sentinel=True), []).append(where)
                continue
            if found:
                self._clients.insert(0, self._clients.pop(number))
                host, port = (part.decode() if isinstance(part, bytes) else str(part) for part in found)
                return host, int(port)
            problems.setdefault("it knows no service of this name", []).append(where)
        told = "; ".join(f"{', '.join(places)}: {why}" for why, places in problems.items())
        raise MasterNotFoundError(f"no Sentinel names a primary of {service_name}: {told}")


def tls_context(broker: BrokerUrl) -> ssl.SSLContext:
    """What is trusted and shown in a handshake."""
    context = ssl.create_default_context(cafile=broker.ca_file)
    if not broker.verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    elif not broker.verify_host:
        context.check_hostname = False
    if broker.cert_file is not None:
        # An empty password: OpenSSL would ask for one at the terminal.
        context.load_cert_chain(broker.cert_file, broker.key_file, password="")
    return context


def connection_class(broker: BrokerUrl) -> type[Any]:
    """The kind of connection an address needs."""
    if broker.path is not None:
        return SocketConnection
    if broker.service is not None:
        return SentinelTlsConnection if broker.tls else SentinelPlainConnection
    return TlsConnection if broker.tls else PlainConnection


def parameters(broker: BrokerUrl, options: dict[str, Any]) -> dict[str, Any]:
    """The arguments of such a connection: the caller's, with the address and the login in place."""
    given = options | {"username": broker.user, "password": broker.password, "db": broker.database}
    if broker.tls:
        given["broker"] = broker
    if broker.path is not None or broker.service is not None:
        left_out = _TCP_ONLY if broker.path is not None else ("host", "port")
        given = {name: value for name, value in given.items() if name not in left_out}
        return given | ({"path": broker.path} if broker.path is not None else {})
    host, port = broker.hosts[0]
    return given | {"host": host, "port": port}


def pool_for(broker: BrokerUrl, options: dict[str, Any]) -> ConnectionPool:
    """A pool of connections to the broker; with Sentinels, to whatever they call the primary."""
    given = {"connection_class": connection_class(broker)} | parameters(broker, options)
    if broker.service is None:
        return ConnectionPool(**given)
    return SentinelConnectionPool(broker.service, Sentinels(broker), **given)  # type: ignore[no-untyped-call]


_KEYS_SHOWN = 3
_WITHOUT_KEYS = ("AUTH", "HELLO", "CLIENT", "SCRIPT", "SELECT", "PUBLISH", "SENTINEL", "SCAN")


def _shown(command: tuple[Any, ...]) -> str:
    """A command and the first of its keys; values are the customers' and no part of a log."""
    if not command:
        return ""
    name, *rest = (part.decode(errors="replace") if isinstance(part, bytes) else str(part) for part in command)
    keys: list[str]
    if name.partition(" ")[0] in _WITHOUT_KEYS:
        keys = []
    elif name in ("EVALSHA", "EVAL") and len(rest) > 1 and rest[1].isdigit():
        keys = rest[2 : 2 + int(rest[1])]
    elif name in ("WATCH", "SUBSCRIBE", "PSUBSCRIBE", "DEL"):
        keys = rest
    else:
        keys = rest[:1]
    more = "" if len(keys) <= _KEYS_SHOWN else " ..."
    return ascii(" ".join([name, *keys[:_KEYS_SHOWN]]))[1:-1] + more
