"""Running Lua in Redis by its hash, worked out once a process."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any

from redis.exceptions import NoScriptError


def run(client: Any, script: str, names: Sequence[str], arguments: Sequence[object] = ()) -> Any:
    """Run a script; the text itself is sent only where Redis does not know it yet.

    Args:
        client: Of redis-py.
        script: Its text.
        names: KEYS.
        arguments: ARGV.
    """
    try:
        return client.evalsha(_hash(script), len(names), *names, *arguments)
    except NoScriptError:
        return client.eval(script, len(names), *names, *arguments)


@cache
def _hash(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
