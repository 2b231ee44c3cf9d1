"""Where each pool's broker is: the address in its spec, or in a Secret of its own namespace that may be rotated.

Secrets are read, not watched: a watch would need the right to list every Secret of a namespace. What was read is used
for :data:`REFRESH_S`; after it turned out to be of no use it is read again soon.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from workerpool_operator.kube import api_paths as paths
from workerpool_operator.kube.api import ApiError, Forbidden, KubeApi, NotFound
from workerpool_operator.kube.objects import Name
from workerpool_operator.kube.problems import Problem, ProblemKind, secret_key_missing, secret_missing
from workerpool_operator.resource import WorkerPool
from workerpool_operator.resource.broker import SecretKeyRef

REFRESH_S = 30.0
SOONEST_AGAIN_S = 2.0
"""A Secret is not read more often than this, however often it is of no use."""


@dataclass(frozen=True, slots=True)
class Address:
    """A broker: pools with equal addresses share one loop, one connection and one round trip."""

    layout: str
    url: str
    ca_pem: str | None = None

    def __repr__(self) -> str:
        return f"Address({self.layout}, {without_login(self.url)})"


class BrokerProblemError(Exception):
    """A pool's broker cannot be known. The problem names the field or the Secret, never a value."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


@dataclass(slots=True)
class _Read:
    """What a Secret held; without data and problem it does not exist."""

    data: dict[str, str] | None
    problem: str
    at_s: float
    version: str = ""


class Brokers:
    """Resolves addresses, with a small cache of the Secrets that pools name."""

    def __init__(
        self, api: KubeApi, *, allowed_hosts: Sequence[str] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._api, self._allowed, self._clock = api, tuple(allowed_hosts), clock
        self._secrets: dict[Name, _Read] = {}

    async def address(self, pool: WorkerPool) -> Address:
        """The broker of a pool.

        Raises:
            BrokerProblemError: A Secret or key is missing or may not be read, what it holds is no address, or the host
                is not among those allowed.
        """
        try:
            return await self._address(pool)
        except BrokerProblemError:
            self.distrust(pool)
            raise

    async def _address(self, pool: WorkerPool) -> Address:
        broker = pool.broker
        url, ca_pem = broker.url, None
        if broker.url_secret_ref is not None:
            url = (await self._value(pool.namespace, broker.url_secret_ref, "spec.broker.urlSecretRef")).strip()
        if broker.ca_secret_ref is not None:
            ca_pem = await self._value(pool.namespace, broker.ca_secret_ref, "spec.broker.caSecretRef")
        if not url:
            kind = ProblemKind.SECRET_UNUSABLE if broker.url_secret_ref is not None else ProblemKind.INVALID_SPEC
            text = (
                "spec.broker.urlSecretRef: the value is empty"
                if broker.url_secret_ref
                else "spec.broker: names no Redis"
            )
            raise BrokerProblemError(Problem(kind=kind, message=text))
        try:
            hosts = hosts_of(url)
        except ValueError:  # its text may repeat the login
            text = "spec.broker.urlSecretRef: the value is not an address (such as redis://:password@redis:6379/0)"
            raise BrokerProblemError(Problem(kind=ProblemKind.SECRET_UNUSABLE, message=text)) from None
        self._check_hosts(hosts)
        return Address(layout=broker.layout.value, url=url, ca_pem=ca_pem)

    def revision(self, pool: WorkerPool, before: str | None) -> str | None:
        """What changes when a Secret of the pool's broker does, None for a pool that names none.

        ``before`` stays while one of them cannot be read: that is no reason to renew the workers.
        """
        refs = [ref for ref in (pool.broker.url_secret_ref, pool.broker.ca_secret_ref) if ref is not None]
        reads = [self._secrets.get((pool.namespace, ref.name)) for ref in refs]
        versions = [read.version for read in reads if read is not None and read.data is not None]
        if len(versions) < len(refs):
            return before
        return "-".join(dict.fromkeys(versions)) or None

    def distrust(self, pool: WorkerPool) -> None:
        """What these Secrets say is of no use: read them again, soon."""
        for ref in (pool.broker.url_secret_ref, pool.broker.ca_secret_ref):
            read = self._secrets.get((pool.namespace, ref.name)) if ref is not None else None
            if read is not None:
                read.at_s = min(read.at_s, self._clock() - REFRESH_S + SOONEST_AGAIN_S)

    async def _value(self, namespace: str, ref: SecretKeyRef, field: str) -> str:
        read = await self._read((namespace, ref.name))
        if read.data is None and not read.problem:
            raise BrokerProblemError(secret_missing(field, secret=ref.name))
        if read.data is None:
            raise BrokerProblemError(Problem(kind=ProblemKind.SECRET_UNUSABLE, message=f"{field}: {read.problem}"))
        value = read.data.get(ref.key)
        if value is None:
            raise BrokerProblemError(secret_key_missing(field, secret=ref.name, key=ref.key))
        try:
            return base64.b64decode(value, validate=True).decode("utf-8")
        except (binascii.Error, ValueError):
            text = f"{field}: key {ref.key} of secret {ref.name} is not text"
            raise BrokerProblemError(Problem(kind=ProblemKind.SECRET_UNUSABLE, message=text)) from None

    async def _read(self, name: Name) -> _Read:
        known, now_s = self._secrets.get(name), self._clock()
        if known is not None and now_s - known.at_s < (REFRESH_S if known.data is not None else SOONEST_AGAIN_S):
            return known
        self._secrets[name] = read = await self._fetch(name, known, now_s)
        return read

    async def _fetch(self, name: Name, known: _Read | None, now_s: float) -> _Read:
        try:
            body = await self._api.get(paths.secret(*name))
        except NotFound:
            return _Read(data=None, problem="", at_s=now_s)
        except Forbidden as error:
            return _Read(data=None, problem=f"secret {name[1]} may not be read: {error}", at_s=now_s)
        except ApiError as error:
            # the API server is in trouble, not the Secret: what was known before goes on
            if known is not None and known.data is not None:
                return _Read(data=known.data, problem="", at_s=now_s, version=known.version)
            return _Read(data=None, problem=f"secret {name[1]} could not be read: {error}", at_s=now_s)
        version = str(body["metadata"].get("resourceVersion") or "")
        return _Read(data=dict(body.get("data") or {}), problem="", at_s=now_s, version=version)

    def _check_hosts(self, hosts: Sequence[str]) -> None:
        for host in hosts if self._allowed else ():
            if not host or not any(fnmatch.fnmatchcase(host, pattern) for pattern in self._allowed):
                named = f"host {host}" if host else "an address without a host"
                text = f"spec.broker: {named} is not among those the operator may talk to (--allowed-broker-hosts)"
                raise BrokerProblemError(Problem(kind=ProblemKind.BROKER_NOT_ALLOWED, message=text))


def hosts_of(url: str) -> list[str]:
    """The host names of an address as they are connected to, without ports and login; "" where there is none.

    Raises:
        ValueError: It is not an address.
    """
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return [""]
    netloc = parts.netloc.rpartition("@")[2]
    return [unquote(urlsplit(f"//{part}").hostname or "") for part in netloc.split(",")]


def without_login(url: str) -> str:
    """An address as it may be shown."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
