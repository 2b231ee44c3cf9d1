"""What a hook is, and where hooks come from: a YAML file, or JSON in the environment."""

# ruff: noqa: PLC0415 - settings are read by everything; addresses are looked at where there are hooks

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from workerpool_worker.settings.entries import Entry, entries_of, numbered, only_known, word

State = Literal["completed", "failed"]
STATES: tuple[State, ...] = ("completed", "failed")

_FIELDS = ("name", "on", "tasks", "queues", "email", "webhook", "secretEnv")
_SHAPE = "{on, email or webhook}"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_VARIABLE = re.compile(r"[A-Za-z_]\w{0,127}", re.ASCII)
_LONGEST_URL = 2_000


@dataclass(frozen=True, kw_only=True)
class Hook:
    """One entry. Exactly one of `email` and `webhook` is set.

    Attributes:
        name: Names it in the messages, which hold neither its URL nor its secret.
        tasks: A pattern with `*`.
        queues: Those it is for; empty: all.
        webhook: A URL; it may be a secret by itself, so it is in no text.
        secret_env: The environment variable that holds the signing secret; "" for none.
    """

    name: str
    states: tuple[State, ...]
    tasks: str = "*"
    queues: tuple[str, ...] = ()
    email: str = ""
    webhook: str = ""
    secret_env: str = ""

    def wants(self, *, task: str, queue: str, state: State) -> bool:
        """Whether it is for such a job."""
        return state in self.states and fnmatchcase(task, self.tasks) and (not self.queues or queue in self.queues)


def read_hooks_file(path: Path) -> tuple[Hook, ...]:
    """The hooks of a YAML file.

    Raises:
        ValueError: it cannot be used; one line that names file, entry and field.
    """
    return _hooks(entries_of(path, "hooks", _SHAPE))


def read_hooks(text: str) -> tuple[Hook, ...]:
    """The hooks of a JSON list.

    Raises:
        ValueError: it cannot be used; one line that names entry and field.
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from None
    return _hooks(numbered(content, "the list", "hooks", _SHAPE))


def _hooks(entries: Iterable[tuple[str, Entry]]) -> tuple[Hook, ...]:
    found: dict[str, Hook] = {}
    for where, entry in entries:
        try:
            # `on:` without quotes is a boolean in YAML.
            hook = _hook({("on" if name is True else name): value for name, value in entry.items()})
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        if hook.name in found:
            raise ValueError(f"{where}: name: {hook.name} is there twice; give each of them a name of its own")
        found[hook.name] = hook
    return tuple(found.values())


def _hook(entry: Entry) -> Hook:
    if "secret" in entry:
        raise ValueError("secret: name the environment variable that holds it, as secretEnv")
    only_known(entry, _FIELDS)
    if ("email" in entry) == ("webhook" in entry):
        raise ValueError("email, webhook: name one of them")
    email = _email(word(entry, "email", 254)) if "email" in entry else ""
    webhook = _webhook(entry) if "webhook" in entry else ""
    name = word(entry, "name", 40) if "name" in entry else _name_of(email, webhook)
    if not _NAME.fullmatch(name):
        raise ValueError(f'name: "{name}" must be small letters, digits and dashes')
    return Hook(
        name=name,
        states=_states(entry.get("on")),
        tasks=word(entry, "tasks", 200) if "tasks" in entry else "*",
        queues=_words(entry, "queues") if "queues" in entry else (),
        email=email,
        webhook=webhook,
        secret_env=_secret_env(entry),
    )


def _states(value: object) -> tuple[State, ...]:
    wanted = [value] if isinstance(value, str) else value
    if not isinstance(wanted, list) or not wanted or not all(state in STATES for state in wanted):
        raise ValueError(f"on: must be a list of {' and '.join(STATES)}")
    return tuple(state for state in STATES if state in wanted)


def _words(entry: Entry, name: str) -> tuple[str, ...]:
    value = entry[name]
    if not isinstance(value, list) or not value or not all(isinstance(it, str) and it.strip() for it in value):
        raise ValueError(f"{name}: must be a list of names")
    return tuple(it.strip() for it in value)


def _email(address: str) -> str:
    if address.count("@") != 1 or any(c in address for c in ' <>,;:"'):
        raise ValueError("email: must be one bare address such as ops@example.org")
    return address


def _webhook(entry: Entry) -> str:
    from workerpool_worker.jobs.hooks.places import is_off_limits

    try:
        url = word(entry, "webhook", _LONGEST_URL)
        parts = urlsplit(url)
        known = parts.scheme in {"https", "http"} and parts.hostname and (parts.port or 1)
    except ValueError:
        # Its own text would repeat the URL.
        known = None
    if not known or " " in url:
        raise ValueError("webhook: must be a URL such as https://example.org/hooks")
    if parts.username is not None:
        raise ValueError("webhook: must hold no user and password; receivers check the signature instead")
    if is_off_limits(parts.hostname or ""):
        raise ValueError("webhook: must not be a link-local address, where clouds keep credentials")
    return url


def _secret_env(entry: Entry) -> str:
    if "secretEnv" not in entry:
        return ""
    if "webhook" not in entry:
        raise ValueError("secretEnv: is for webhooks only")
    name = word(entry, "secretEnv", 128)
    if not _VARIABLE.fullmatch(name):
        # Perhaps the secret itself, so it is not repeated.
        raise ValueError("secretEnv: must be the name of an environment variable, not the secret")
    secret = os.environ.get(name, "")
    if not secret:
        raise ValueError(f"secretEnv: the environment variable {name} is not set")
    if secret != secret.strip():
        # A mounted secret's line break: every signature would be wrong at the receiver.
        raise ValueError(f"secretEnv: the value of {name} begins or ends with white space")
    return name


def _name_of(email: str, webhook: str) -> str:
    kind = "email" if email else "webhook"
    return f"{kind}-{hashlib.sha256((email or webhook).encode()).hexdigest()[:8]}"
