"""Asking one process for its last decision about a pool, by whatever way it is reached."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import aiohttp

from workerpool_operator.explain.errors import ExplainError, NoSuchPool, Standby
from workerpool_operator.local.explain_socket import reachable
from workerpool_operator.report.humanise import one_line, shorten
from workerpool_operator.report.last import PATH

Json = dict[str, Any]

TIMEOUT_S = 10.0
_SAID = 200
_NAMED = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """The pool to explain; without a namespace, the only one of that name."""

    name: str
    namespace: str | None = None

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """An HTTP answer, of whoever."""

    status: int
    body: bytes

    @property
    def told(self) -> Json | None:
        """What it says, if it is of a process that explains; None when somebody else answers there."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return None
        return found if isinstance(found, dict) and "schemaVersion" in found else None

    @property
    def said(self) -> str:
        """What somebody else says, in one line."""
        return shorten(one_line(self.body.decode(errors="replace")), _SAID)


class Asker(Protocol):
    """A way to a process."""

    @property
    def where(self) -> str:
        """What is asked, for messages."""
        ...

    async def get(self, path: str) -> Reply:
        """Ask for a path.

        Raises:
            ExplainError: There was no answer.
        """
        ...


async def ask(asker: Asker, wanted: Wanted) -> Json:
    """The explanation of the pool's last decision.

    Raises:
        NoSuchPool: Nothing is known of it there.
        Standby: That process decides nothing.
        ExplainError: It could not be asked.
    """
    namespace = wanted.namespace
    if namespace is None:
        namespace = _only_namespace(_checked(asker, await asker.get(PATH))["pools"], wanted, asker.where)
    path = f"{PATH}/{quote(namespace, safe='')}/{quote(wanted.name, safe='')}"
    return _checked(asker, await asker.get(path))


def _checked(asker: Asker, reply: Reply) -> Json:
    told = reply.told
    if told is None:
        text = f"{asker.where} answers {reply.status} and explains nothing: is it a workerpool of this version?"
        raise ExplainError(f"{text} It says: {reply.said or 'nothing'}")
    if reply.status == HTTPStatus.OK:
        return told
    if reply.status == HTTPStatus.SERVICE_UNAVAILABLE:
        raise Standby(f"{asker.where}: {told.get('error')}", leader=told.get("leader") or "")
    known = [f"{pool['namespace']}/{pool['name']}" for pool in told.get("pools", ())]
    raise NoSuchPool(f"{told.get('error')} to {asker.where}; {these(known)}", known=known)


def _only_namespace(pools: Sequence[Mapping[str, str]], wanted: Wanted, where: str) -> str:
    found = [pool["namespace"] for pool in pools if pool["name"] == wanted.name]
    if len(found) == 1:
        return found[0]
    if found:
        raise ExplainError(f"{wanted.name} is in {', '.join(sorted(found))}: say which with --namespace")
    known = [f"{pool['namespace']}/{pool['name']}" for pool in pools]
    raise NoSuchPool(f"no decision about {wanted.name} is known to {where}; {these(known)}", known=known)


def these(known: Sequence[str]) -> str:
    """Names, of which there may be thousands."""
    if not known:
        return "it has decided about no pool there yet"
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    return f"known are {', '.join(known[:_NAMED])}{more}"


@dataclass(frozen=True, kw_only=True)
class HttpAsker:
    """Over HTTP: to an address, or through a Unix socket."""

    where: str
    base: str
    session: aiohttp.ClientSession

    async def get(self, path: str) -> Reply:
        """Ask for a path below the base."""
        try:
            async with self.session.get(self.base + path) as answer:
                return Reply(status=answer.status, body=await answer.read())
        except aiohttp.InvalidURL as error:
            raise ExplainError(f"{self.where} is no address; it looks like http://127.0.0.1:8080") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ExplainError(f"{self.where} cannot be reached: {_why(error)}") from error


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT_S:g} s"
    number = error.errno if isinstance(error, OSError) else None
    if number is not None and number > 0:  # not those of the resolver
        return os.strerror(number).lower()
    return one_line(str(error) or type(error).__name__)


@asynccontextmanager
async def at_address(url: str) -> AsyncIterator[HttpAsker]:
    """A process whose port is at hand, such as by ``kubectl port-forward``."""
    base = url.rstrip("/") if "://" in url else f"http://{url}".rstrip("/")
    async with _session() as session:
        yield HttpAsker(where=base, base=base, session=session)


@asynccontextmanager
async def at_socket(path: Path, *, where: str) -> AsyncIterator[HttpAsker]:
    """A local run."""
    with reachable(path) as address:
        async with _session(lambda: aiohttp.UnixConnector(path=address)) as session:
            yield HttpAsker(where=where, base="http://localhost", session=session)


def _session(connector: Callable[[], aiohttp.BaseConnector] | None = None) -> aiohttp.ClientSession:
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    return aiohttp.ClientSession(connector=connector() if connector else None, timeout=timeout)
