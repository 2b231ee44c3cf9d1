"""Redis' commands as bytes, and its error replies as causes a person can act on."""

from __future__ import annotations

import re

from hiredis import ReplyError

from workerpool_operator.core.observation import Cause, Unavailable

_PRIORITY_SEPARATOR = "\x06\x16"
_COMMAND_DENIED = re.compile(r"run the '([^']+)' command", re.IGNORECASE)


def pack(*parts: str | bytes | int) -> bytes:
    """One command as it goes over the wire."""
    encoded = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in encoded)


def concerns_all(error: ReplyError) -> bool:
    """Whether an error reply is about the server or the login, so that no other command would fare better."""
    return _code(error) not in {"WRONGTYPE", "NOPERM"}


def explain(
    error: ReplyError, *, where: str, user: str | None, command: str = "", key: str = "", type_: str = ""
) -> Unavailable:
    """Turn an error reply into a cause and one line that says what to do.

    Args:
        error: The reply.
        where: The server, ``host:port``.
        user: The ACL user logged in as, None for the default user.
        command: The command that was refused, where known.
        key: The key it was about, where known.
        type_: The type that key should have.
    """
    code, name = _code(error), user or "default"
    if code == "WRONGTYPE":
        return Unavailable(
            cause=Cause.WRONG_TYPE,
            message=f"{where}: key {_shown(key)} is not a {type_}: something else uses this name",
        )
    if code == "NOPERM":
        return Unavailable(cause=Cause.NO_PERMISSION, message=f"{where}: {_denied(error, name, command, key)}")
    if code in {"NOAUTH", "WRONGPASS"} or "AUTH" in str(error):
        return Unavailable(cause=Cause.AUTH, message=f"{where}: {_login(code, user)}")
    if code == "LOADING":
        return Unavailable(cause=Cause.LOADING, message=f"{where} is still loading its data from disk")
    if code == "MASTERDOWN":
        return Unavailable(
            cause=Cause.BAD_REPLY, message=f"{where} is a replica that lost its master and serves no stale data"
        )
    return Unavailable(
        cause=Cause.BAD_REPLY, message=f"{where} answered {command or 'a command'} with: {one_line(error)}"
    )


def one_line(text: object) -> str:
    """A foreign text as one line of bounded length."""
    return " ".join(str(text).split())[:200]


def _code(error: ReplyError) -> str:
    return str(error).partition(" ")[0]


def _denied(error: ReplyError, name: str, command: str, key: str) -> str:
    match = _COMMAND_DENIED.search(str(error))
    if match:
        denied = match.group(1)
        return f"user {name} may not run {denied.upper()}: grant it with ACL SETUSER {name} +{denied.lower()}"
    if "channel" in str(error) and command == "PUBLISH":
        return f"user {name} may not publish to {key}: grant it with ACL SETUSER {name} &{key}"
    if "channel" in str(error):
        return f"user {name} may not subscribe to {key}: grant it with ACL SETUSER {name} &{key}"
    base, priority, _ = key.partition(_PRIORITY_SEPARATOR)
    grant = f"~{base}*" if priority or command in {"LLEN", "LINDEX"} else f"~{base}"
    return f"user {name} may not read key {_shown(key)} with {command}: grant it with ACL SETUSER {name} {grant}"


def _shown(key: str) -> str:
    # Control characters have no place in a status or a terminal.
    return key.encode("unicode_escape").decode() if not key.isprintable() else key


def _login(code: str, user: str | None) -> str:
    if code == "NOAUTH":
        return "a password is needed and the broker URL has none"
    if code == "WRONGPASS":
        return f"wrong password for user {user or 'default'}, or no such user"
    return "a password is given and the server has none for the default user"
