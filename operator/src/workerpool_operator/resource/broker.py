"""``spec.broker``: where the queues are kept, and how."""

from __future__ import annotations

import enum
import itertools
import re
from typing import Annotated, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from workerpool_operator.resource.base import ATOMIC, ConfigKey, DnsSubdomain, Model

TLS_SCHEMES: Final = ("rediss", "rediss+sentinel")
SENTINEL_SCHEMES: Final = ("redis+sentinel", "rediss+sentinel")
SCHEMES: Final = ("redis", "rediss", *SENTINEL_SCHEMES, "unix")
_PORTS = range(1, 65536)
_HOST = re.compile(r"\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+")


class Layout(enum.StrEnum):
    """How a queue library keeps its queues in Redis."""

    CELERY = "Celery"
    BULLMQ = "BullMQ"
    RQ = "RQ"
    LIST = "List"


class SecretKeyRef(Model):
    """One key of a Secret in the pool's own namespace."""

    model_config = ConfigDict(json_schema_extra=ATOMIC)

    name: DnsSubdomain = Field(description="Name of the Secret; it lies in the pool's own namespace.")
    key: ConfigKey = Field(description="The key of the Secret that holds the value.")


def check_url(url: str) -> str:
    """Check the form of a broker address. No message repeats it: it may hold a password.

    Raises:
        ValueError: it is not an address of a known form, or it holds a password.
    """
    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query)
    except ValueError as error:
        raise ValueError("is not a URL (such as redis://redis:6379/0)") from error
    if any(char.isspace() or not char.isprintable() for char in url) or "://" not in url:
        raise ValueError("is not a URL (such as redis://redis:6379/0)")
    userinfo, _, hosts = parts.netloc.rpartition("@")
    if unquote(userinfo).partition(":")[2] or any(key.lower().endswith("password") for key, _ in query):
        raise ValueError("holds a password: keep the whole URL in a Secret and name that in urlSecretRef")
    if url.partition("://")[0] not in SCHEMES:
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise ValueError(f"its scheme is not one of {known}")
    _check_place(parts.scheme, hosts, parts.path, dict(query))
    return url


def _check_place(scheme: str, hosts: str, path: str, query: dict[str, str]) -> None:
    """Check hosts, ports, the service of a sentinel and the number of the database."""
    if scheme == "unix":
        if not path.strip("/"):
            raise ValueError("names no socket (such as unix:///run/redis.sock?db=0)")
        _check_database(query.get("db", ""))
        return
    for host in hosts.split(",") if scheme in SENTINEL_SCHEMES else [hosts]:
        _check_host(host)
    steps = path.strip("/").split("/")
    if scheme in SENTINEL_SCHEMES:
        if not steps[0]:
            raise ValueError("names no service (such as redis+sentinel://sentinel:26379/mymaster/0)")
        steps = steps[1:] or [""]
    if len(steps) > 1:
        raise ValueError("has more after the database number (such as redis://redis:6379/0)")
    _check_database(steps[0])
    _check_database(query.get("db", ""))


def _check_host(host: str) -> None:
    # An IPv6 address is in brackets, so its colons are not taken for the port's.
    name, colon, port = host, "", ""
    if not host.endswith("]"):
        head, separator, tail = host.rpartition(":")
        if separator:
            name, colon, port = head, separator, tail
    if not name:
        raise ValueError("names no host (such as redis://redis:6379/0)")
    if not _HOST.fullmatch(name):
        raise ValueError("its host is not a name or an address (such as redis://redis:6379/0)")
    if colon and not (port.isascii() and port.isdigit() and len(port) < 6 and int(port) in _PORTS):  # noqa: PLR2004
        raise ValueError("its port is not a number from 1 to 65535")


def _check_database(text: str) -> None:
    if text and not (text.isascii() and text.isdigit() and len(text) < 6):  # noqa: PLR2004
        raise ValueError("its database is not a number (such as redis://redis:6379/0)")


def _check_priorities(priorities: tuple[int, ...]) -> tuple[int, ...]:
    if any(later <= earlier for earlier, later in itertools.pairwise(priorities)):
        raise ValueError("must be ascending, each once (such as [0, 3, 6, 9])")
    return priorities


BrokerUrl = Annotated[str, StringConstraints(min_length=1, max_length=2048), AfterValidator(check_url)]
Priority = Annotated[int, Field(ge=0, le=255)]
Priorities = Annotated[tuple[Priority, ...], Field(min_length=1, max_length=64), AfterValidator(_check_priorities)]


class Broker(Model):
    """Where the queues are kept, and how."""

    layout: Layout = Field(
        default=Layout.CELERY,
        description="How the queues are kept in Redis: the layout of Celery, BullMQ or RQ, or plain lists (List).",
    )
    url: BrokerUrl | None = Field(
        default=None,
        description=(
            "Address of the Redis, without a password: redis://host:6379/0, rediss:// for TLS, "
            "redis+sentinel://host:26379,host:26379/service/0 (rediss+sentinel:// for TLS), unix:///path?db=0. "
            "The bundled worker reads the same form; Celery itself knows no redis+sentinel://. "
            "Exactly one of url and urlSecretRef."
        ),
    )
    url_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description=(
            "The key of a Secret that holds the whole address, with the login and that of the Sentinels "
            "(?sentinel_password=). Exactly one of url and urlSecretRef."
        ),
    )
    ca_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description=(
            "The key of a Secret with the CA certificates (PEM) to trust with TLS; default: the system's. "
            "Workers have it as a file, which WORKERPOOL_BROKER_CA_FILE names."
        ),
    )
    key_prefix: Annotated[str, StringConstraints(max_length=253)] = Field(
        default="",
        description=(
            "What stands before each key: Celery's global_keyprefix, BullMQ's prefix "
            "(empty is BullMQ's own default, bull)."
        ),
    )
    priorities: Priorities = Field(
        default=(0, 3, 6, 9),
        description="Celery's priority_steps, ascending and each once; other layouts have no use for it.",
    )
