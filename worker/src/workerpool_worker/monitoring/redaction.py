"""Keeps secrets out of log lines, whoever wrote them: a library that shows its URL, an error that shows a header."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus, unquote, urlsplit

if TYPE_CHECKING:
    from workerpool_worker.settings import Settings

LEAST = 8
"""Shorter secrets are not looked for: `shop` as a password would blank every line that names the pool `shop`."""

_LOGIN = re.compile(r"(://[^\s/:@\"']*):[^\s\"'/?#]+@")
_OPTION = re.compile(r"([?&]\w*password)=[^\s&\"']+", re.IGNORECASE)
_MASK = "***"


class Redaction:
    """Replaces the given secrets, in the forms they take in a line, and the passwords of URLs of any kind."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        long = {secret for secret in secrets if len(secret) >= LEAST}
        forms = {form for secret in long for form in _forms(secret)}
        # The longest first: one secret may begin like another.
        self._forms = sorted(forms, key=lambda form: (-len(form), form))

    def clean(self, line: str) -> str:
        """The line without them."""
        for form in self._forms:
            if form in line:
                line = line.replace(form, _MASK)
        if "://" in line:
            line = _LOGIN.sub(rf"\1:{_MASK}@", line)
            line = _OPTION.sub(rf"\1={_MASK}", line)
        return line


def secrets_of(settings: Settings) -> set[str]:
    """Every value that is marked as a secret, the passwords of URLs, and webhooks, whose URL may be all it takes."""
    found = {part for hook in settings.hooks if hook.webhook for part in (hook.webhook, _path(hook.webhook))}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if not isinstance(value, str) or not value:
            continue
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get("secret"):
            found.add(value)
        elif "://" in value and (password := _password(value)):
            found.add(password)
    return found


def _password(url: str) -> str | None:
    try:
        password = urlsplit(url).password
    except ValueError:
        return None
    return unquote(password) if password else None


def _path(url: str) -> str:
    """What a library shows of a URL beside the host."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _forms(secret: str) -> set[str]:
    return {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
        quote(secret, safe=""),
        quote_plus(secret),
    }
