"""Where the broker is: one URL that says it to the worker, to producers and to the operator alike.

    redis://[[user]:password@]host[:6379][/database]
    rediss://...                                        the same over TLS
    redis+sentinel://[[user]:password@]host[:26379],host,.../service[/database]
    rediss+sentinel://...                               TLS to the Sentinels and to Redis
    unix://[[user]:password@]/path/of/socket[?db=database]

Options of the query: `db`, `sentinel_username`, `sentinel_password`, `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`,
`ssl_cert_reqs` (required or none) and `ssl_check_hostname` (true or false). Whatever is special in a URL is
percent-encoded. No message made here repeats a part of the URL that may be a password.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

REDIS_PORT = 6379
SENTINEL_PORT = 26379
_SCHEMES = ("redis", "rediss", "redis+sentinel", "rediss+sentinel", "unix")
_EXAMPLE = "redis://host:6379/0"
_SENTINEL_EXAMPLE = "redis+sentinel://host:26379,host:26379/service/0"
_LAST_PORT = 65_535
_LAST_DATABASE = 99_999
_ENCODE = "percent-encode what is special in a password (/ is %2F, # is %23, ? is %3F, @ is %40, : is %3A)"
_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")


@dataclass(frozen=True, kw_only=True)
class BrokerUrl:
    """A parsed broker URL. Its secrets are in no text it makes.

    Attributes:
        hosts: Host and port of the Redis, or of each Sentinel; empty for a socket.
        path: The socket, None without.
        service: The name under which the Sentinels know the primary, None without Sentinels.
        tls: Whether TLS is spoken, with the Sentinels too.
        ca_file: Authorities to trust instead of the system's.
        verify: Whether the certificate is checked.
        verify_host: Whether it must be for the name that was connected to.
    """

    hosts: tuple[tuple[str, int], ...]
    path: str | None = None
    service: str | None = None
    database: int = 0
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_user: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    tls: bool = False
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True
    verify_host: bool = True

    def __str__(self) -> str:
        if self.path is not None:
            return self.path
        places = ",".join(place(host, port) for host, port in self.hosts)
        return places if self.service is None else f"{self.service} (Sentinels {places})"


def place(host: str, port: int) -> str:
    """Host and port as they are written."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_broker_url(url: str) -> BrokerUrl:
    """Parse a broker URL.

    Raises:
        ValueError: it cannot be used; the text says why and repeats nothing that may be a password.
    """
    scheme = url.partition("://")[0]
    if scheme == "sentinel" or ";" in url:
        raise ValueError(f"write Sentinels as {_SENTINEL_EXAMPLE}")
    if scheme not in _SCHEMES or "://" not in url:
        raise ValueError(f"must be a URL such as {_EXAMPLE}")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(f"is not a URL such as {_EXAMPLE}; {_ENCODE}") from None
    # a password with a bare / # or ? ends the host's part before its @
    if parts.fragment or "@" in parts.path + parts.query or any(c.isspace() or not c.isprintable() for c in url):
        raise ValueError(f"is not a URL such as {_EXAMPLE}; {_ENCODE}")
    user, password = _login(parts.netloc.rpartition("@")[0])
    options = _options(parts.query)
    where = _where(scheme, parts)
    database = where.database or options.get("db", "")
    return BrokerUrl(
        hosts=where.hosts,
        path=where.path,
        service=where.service,
        database=_number(database, "database", _LAST_DATABASE) if database else 0,
        user=user,
        password=password,
        tls=scheme.startswith("rediss"),
        ca_file=options.get("ssl_ca_certs"),
        cert_file=options.get("ssl_certfile"),
        key_file=options.get("ssl_keyfile"),
        verify=_verified(options.get("ssl_cert_reqs", "required")),
        verify_host=_is_true(options.get("ssl_check_hostname", "true")),
        sentinel_user=options.get("sentinel_username"),
        sentinel_password=options.get("sentinel_password"),
    )


def _login(text: str) -> tuple[str | None, str | None]:
    if not text:
        return None, None
    user, colon, password = text.partition(":")
    if not colon:
        # What stands alone may be the password.
        raise ValueError("has a user and no password: write user:password@ or, without a user, :password@")
    return unquote(user) or None, unquote(password)


_OPTIONS = (
    "db",
    "sentinel_username",
    "sentinel_password",
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_cert_reqs",
    "ssl_check_hostname",
)


def _options(query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = next((name for name in options if name not in _OPTIONS), None)
    if unknown is not None:
        # The name of an unknown option may be half of a password with a bare ? in it.
        raise ValueError(f"has an option after ? that is not known; known are {', '.join(_OPTIONS)}")
    return options


class _Where(NamedTuple):
    hosts: tuple[tuple[str, int], ...]
    path: str | None = None
    service: str | None = None
    database: str = ""


def _where(scheme: str, parts: SplitResult) -> _Where:
    hosts = parts.netloc.rpartition("@")[2]
    if scheme == "unix":
        if hosts or not parts.path.strip("/"):
            raise ValueError("must name a socket, such as unix:///run/redis.sock?db=0")
        return _Where((), path=unquote(parts.path))
    steps = parts.path.strip("/").split("/")
    if not scheme.endswith("+sentinel"):
        if len(steps) > 1 or "," in hosts:
            raise ValueError(f"must be a URL such as {_EXAMPLE}; {_ENCODE}")
        return _Where((_host(hosts, REDIS_PORT),), database=steps[0])
    if not steps[0] or len(steps) > 2:  # noqa: PLR2004 - the service and the database
        raise ValueError(f"must name the service after the hosts, such as {_SENTINEL_EXAMPLE}")
    return _Where(
        tuple(_host(host, SENTINEL_PORT) for host in hosts.split(",")),
        service=unquote(steps[0]),
        database=steps[1] if len(steps) > 1 else "",
    )


def _host(text: str, default_port: int) -> tuple[str, int]:
    head, colon, tail = text.rpartition(":")
    if text.endswith("]") or not colon:
        name, port = text, default_port
    else:
        name, port = head, _number(tail, "port", _LAST_PORT)
    name = unquote(name.removeprefix("[").removesuffix("]"))
    if not name:
        raise ValueError(f"names no host; it must be a URL such as {_EXAMPLE}")
    if port == 0:
        raise ValueError(f"its port is not a number from 1 to {_LAST_PORT}")
    return name, port


def _number(text: str, what: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= most):
        raise ValueError(f"its {what} is not a number up to {most}; {_ENCODE}")
    return int(text)


def _verified(text: str) -> bool:
    wanted = text.lower().removeprefix("cert_")
    if wanted not in ("required", "none"):
        raise ValueError("its option ssl_cert_reqs must be required or none")
    return wanted == "required"


def _is_true(text: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise ValueError("its option ssl_check_hostname must be true or false")
    return text.lower() in _TRUE
