"""What is wrong with the broker, in one line that says what to do and never holds a password."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator

from redis import exceptions as redis_errors

from workerpool_worker.settings.broker_url import BrokerUrl

_LONGEST = 300
_PROBE_S = 1.0
_EXPIRED = 10
_OTHER_NAME = (62, 64)
_CLIENT_CERTIFICATE = "name one it accepts in WORKERPOOL_BROKER_CERT_FILE and WORKERPOOL_BROKER_KEY_FILE"
_COMMAND_DENIED = re.compile(r"run the '([^']+)' command", re.IGNORECASE)
_IN_PIPELINE = re.compile(r"^Command # \d+ \((\S+ ?[^ )]*).*\) of pipeline caused error: (.*)$", re.DOTALL)


def reason(error: BaseException, broker: BrokerUrl, *, sentinel: bool = False) -> str:
    """Why the broker cannot be used, as one line.

    Args:
        error: What redis-py or kombu raised.
        broker: The address.
        sentinel: Whether it was a Sentinel that was asked.
    """
    chain = tuple(_chain(error))
    for one in chain:
        if isinstance(one, ssl.SSLError):
            return _tls(one)
    told = None
    if broker.service is None or sentinel:  # else the text says which primary it is about
        told = next((told for one in chain for kind, told in _OF_THE_SYSTEM if isinstance(one, kind)), None)
    if told is None:
        redis_error = next((one for one in chain if isinstance(one, redis_errors.RedisError)), None)
        told = str(chain[-1]) if redis_error is None else _redis(redis_error, broker, sentinel=sentinel)
    return " ".join(told.split())[:_LONGEST] or type(error).__name__


_OF_THE_SYSTEM = (
    (ConnectionRefusedError, "it refused the connection"),
    (socket.gaierror, "the host name is not known"),
)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from, the last cause last."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def _tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _OTHER_NAME:
            return (
                f"its certificate is for another name ({error.verify_message}): name the host as the certificate does"
            )
        if error.verify_code == _EXPIRED:
            return "its certificate has expired"
        return (
            f"its certificate is not trusted ({error.verify_message}): "
            "name its authority's certificate in WORKERPOOL_BROKER_CA_FILE"
        )
    text = (error.reason or str(error)).replace("_", " ").lower()
    if "certificate required" in text or "handshake failure" in text or "bad certificate" in text:
        return f"it asks for a client certificate ({text}): {_CLIENT_CERTIFICATE}"
    return f"no TLS handshake ({text}): does this port speak TLS?"


def _redis(error: redis_errors.RedisError, broker: BrokerUrl, *, sentinel: bool) -> str:
    user = (broker.sentinel_user if sentinel else broker.user) or "default"
    text = str(error)
    if isinstance(error, redis_errors.NoPermissionError):
        return _piped(text)
    if isinstance(error, redis_errors.AuthenticationError) or "NOAUTH" in text:
        return _login(text, user, sentinel=sentinel)
    told = next((told for kind, told in _TOLD if isinstance(error, kind)), None)
    return told or _tls_on_one_side(error, text, broker) or text


_TOLD = (
    (
        redis_errors.ReadOnlyError,
        "it is a replica and takes no jobs: name the primary, or its Sentinels by redis+sentinel://",
    ),
    (redis_errors.OutOfMemoryError, "it is full: raise its maxmemory"),
    (redis_errors.BusyLoadingError, "it is still loading its data from disk"),
)


def _tls_on_one_side(error: redis_errors.RedisError, text: str, broker: BrokerUrl) -> str | None:
    if broker.tls:
        if isinstance(error, redis_errors.TimeoutError) and "connecting" in text:
            return "it answers no TLS handshake: does this port speak TLS?"
        if "closed by server" in text and broker.cert_file is None:
            # Since TLS 1.3 a server says after the handshake that it wanted a certificate, or hangs up.
            return f"it closed the connection; where it asks for a client certificate, {_CLIENT_CERTIFICATE}"
        return None
    if isinstance(error, redis_errors.InvalidResponse):
        return "it does not speak Redis' protocol: where it speaks TLS, begin the URL with rediss"
    if "closed by server" in text and _speaks_tls(broker):
        return "it speaks TLS: begin the URL with rediss"
    return None


def denied(text: str, user: str | None, asked: str) -> str:
    """What a refused right is: Redis names the command at best, and never the key.

    Args:
        text: Redis's own words.
        user: The ACL user, None for the default one.
        asked: The command and its keys, empty where several were asked together.
    """
    name = user or "default"
    if command := _COMMAND_DENIED.search(text):
        refused = command.group(1)
        what = f"may not run {refused.upper().replace('|', ' ')}: grant it with ACL SETUSER {name} +{refused.lower()}"
    elif "channel" in text:
        what = "may not use a channel that it needs"
    elif "key" in text:
        what = "may not use a key that it needs"
    else:
        what = f"is refused: {text}"
    told = f" (asked: {asked})" if asked else ""
    return f"user {name} {what}{told}; docs/redis.md lists all rights"


def _piped(text: str) -> str:
    """The text without the pipeline's own: a command's values are the customers' and no part of a log."""
    if (piped := _IN_PIPELINE.search(text)) is None:
        return text
    asked, told = piped.groups()
    return told.replace("; docs/redis.md", f" (asked: {asked}); docs/redis.md")


def _login(text: str, user: str, *, sentinel: bool) -> str:
    whose = "sentinel_password in the query of WORKERPOOL_BROKER_URL" if sentinel else "WORKERPOOL_BROKER_URL"
    if "without any password configured" in text:
        return f"a password is given and the server has none for the user {user}: take it out of {whose}"
    if "Authentication required" in text or "NOAUTH" in text or "HELLO must be called" in text:
        return f"a password is needed: set it in {whose}"
    return f"wrong password for user {user}, or no such user: see {whose}"


def _speaks_tls(broker: BrokerUrl) -> bool:
    """A TLS server hangs up on plain text without a word, like many a broken one: only trying tells which."""
    if not broker.hosts or broker.service is not None:
        return False
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(broker.hosts[0], timeout=_PROBE_S) as plain, anyone.wrap_socket(plain):
            return True
    except OSError:
        return False
