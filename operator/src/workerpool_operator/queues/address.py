"""Where a broker is and how it is spoken to: a parsed broker URL.

``redis://[[user]:password@]host[:port][/database]``, ``rediss://`` for TLS, ``unix://[[user]:password@]/path``, and
``redis+sentinel://[[user]:password@]host[:port],host[:port]/service[/database]``, ``rediss+sentinel://`` for TLS to the
Sentinels and to Redis. The query options of redis-py and Celery that matter to a reader are taken: ``db``,
``ssl_cert_reqs``, ``ssl_check_hostname``, ``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile``; and the Sentinels' own
login, ``sentinel_username`` and ``sentinel_password``.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from redis.connection import parse_url

from workerpool_operator.core.observation import Cause, Unavailable

_DEFAULT_PORT = 6379
_SENTINEL_PORT = 26379
_SENTINEL_SCHEMES = ("redis+sentinel", "rediss+sentinel")
_SENTINEL_EXAMPLE = "redis+sentinel://host:26379,host:26379/service/0"
_NO_VERIFICATION = frozenset({"none", "cert_none"})


class BrokerError(Exception):
    """A broker could not be read. It never leaves :mod:`workerpool_operator.queues`: readings carry its cause."""

    def __init__(self, cause: Cause, message: str) -> None:
        super().__init__(message)
        self.unavailable = Unavailable(cause=cause, message=message)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sentinels:
    """Who knows where the primary is, and by which name."""

    service: str
    places: tuple[tuple[str, int], ...]
    user: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """A broker's address; ``password`` is in no text this class makes.

    With ``sentinels``, host and port are those of the primary once they have named it, and empty before.
    """

    host: str
    port: int
    path: str | None = None
    database: int = 0
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    sentinels: Sentinels | None = None

    def __str__(self) -> str:
        if self.sentinels is not None and not self.host:
            return self.sentinels.service
        place = self.path or (f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}")
        return f"{place} ({self.sentinels.service})" if self.sentinels is not None else place


def parse_address(url: str, *, ca_pem: str | None = None) -> Address:
    """Parse a broker URL.

    Args:
        url: The URL.
        ca_pem: Certificates (PEM) to trust instead of the system's, for ``rediss://``.

    Raises:
        BrokerError: ``NOT_CONFIGURED``, with a message that does not repeat the URL: it may hold a password.
    """
    scheme = url.partition("://")[0].strip().lower()
    if scheme == "sentinel" or ";" in url:
        raise BrokerError(Cause.NOT_CONFIGURED, f"the broker URL must name Sentinels as {_SENTINEL_EXAMPLE}")
    if scheme not in {"redis", "rediss", "unix", *_SENTINEL_SCHEMES}:
        known = "redis://, rediss://, redis+sentinel://, rediss+sentinel:// or unix://"
        raise BrokerError(Cause.NOT_CONFIGURED, f"the broker URL must begin with {known}")
    try:
        if scheme in _SENTINEL_SCHEMES:
            return _behind_sentinels(url.strip(), ca_pem)
        options: dict[str, Any] = parse_url(url.strip())  # type: ignore[no-untyped-call]
        tls = _tls(options, ca_pem) if scheme == "rediss" else None
        return Address(
            host=options.get("host", "localhost"),
            port=int(options.get("port", _DEFAULT_PORT)),
            path=options.get("path"),
            database=int(options.get("db", 0)),
            # of use with a password only; alone it may be one in the wrong place, which no message must repeat
            user=options.get("username") if options.get("password") else None,
            password=options.get("password"),
            tls=tls,
        )
    except ssl.SSLError as error:
        raise BrokerError(
            Cause.NOT_CONFIGURED, f"the broker's certificates cannot be used: {error.reason or 'not in PEM form'}"
        ) from error
    except OSError as error:
        raise BrokerError(Cause.NOT_CONFIGURED, f"the broker's certificates: {error.strerror}") from error
    except (ValueError, TypeError):
        # No cause in the chain: its text may repeat parts of the URL.
        raise BrokerError(Cause.NOT_CONFIGURED, "the broker URL cannot be parsed") from None


def _behind_sentinels(url: str, ca_pem: str | None) -> Address:
    parts = urlsplit(url)
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    service, _, database = parts.path.strip("/").partition("/")
    if not service or "@" in parts.path or parts.fragment:
        raise BrokerError(Cause.NOT_CONFIGURED, f"the broker URL must name Sentinels as {_SENTINEL_EXAMPLE}")
    # redis-py makes this a truth value in its own URLs
    options["ssl_check_hostname"] = options.get("ssl_check_hostname", "true").lower() not in {"false", "0", "no"}
    return Address(
        host="",
        port=0,
        database=int(database or options.get("db", 0)),
        user=unquote(user) or None if password else None,
        password=unquote(password) or None,
        tls=_tls(options, ca_pem) if parts.scheme == "rediss+sentinel" else None,
        sentinels=Sentinels(
            service=unquote(service),
            places=tuple(_place(part) for part in hosts.split(",")),
            user=options.get("sentinel_username"),
            password=options.get("sentinel_password"),
        ),
    )


def _place(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("a Sentinel without a host")
    return unquote(parts.hostname), parts.port or _SENTINEL_PORT


def _tls(options: dict[str, Any], ca_pem: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"), cadata=ca_pem)
    if not options.get("ssl_check_hostname", True):
        context.check_hostname = False
    if str(options.get("ssl_cert_reqs", "required")).lower() in _NO_VERIFICATION:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate := options.get("ssl_certfile"):
        context.load_cert_chain(certificate, options.get("ssl_keyfile"))
    return context
