"""What became of a message, read from Redis's append-only file: every command that changed anything, in order.

A job that is missing was either acknowledged without its effect (a fault of the worker), or left a list and was never
recorded as unacknowledged: popped by BRPOP for a worker that did not live to record it.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_ID = re.compile(r"\b(?:[a-z]+(?:-[a-z]+)*-)?t\d+\b")
_TAG = re.compile(rb'"delivery_tag": ?"([^"]+)"')
_SHOWN = 4
_LONGEST = 60


def commands(folder: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Each command of the append-only file and the Unix second it was written in."""
    second = 0
    for path in sorted((folder / "appendonlydir").glob("*.incr.aof"), key=_number):
        with path.open("rb") as file:
            while line := file.readline():
                if line.startswith(b"#TS:"):
                    second = int(line[4:])
                if not line.startswith(b"*"):
                    continue
                parts = []
                for _ in range(int(line[1:])):
                    size = int(file.readline()[1:])
                    parts.append(file.read(size))
                    file.read(2)
                yield second, parts


def story(folder: Path, job_ids: Iterable[str]) -> dict[str, list[str]]:
    """Every command about these jobs, one line each."""
    wanted = {job_id: re.compile(rb"[^\w-]%b[^\w-]" % re.escape(job_id.encode())) for job_id in job_ids}
    lines: dict[str, list[str]] = defaultdict(list)
    tags: dict[bytes, str] = {}
    lists: dict[bytes, list[str | None]] = defaultdict(list)
    for second, parts in commands(folder):
        name, text = parts[0].upper(), b" ".join(parts[1:])
        about = {job_id for job_id, pattern in wanted.items() if pattern.search(text)}
        about |= {tags[part] for part in parts[2:] if part in tags}
        about |= _through_lists(lists, name, parts, about)
        for job_id in about:
            for tag in _TAG.findall(text):
                tags[tag] = job_id
            shown = " ".join(part[:_LONGEST].decode(errors="replace") for part in parts)
            lines[job_id].append(f"{second} {shown}")
    return dict(lines)


def _through_lists(lists: dict[bytes, list[str | None]], name: bytes, parts: list[bytes], about: set[str]) -> set[str]:
    """Play a command of lists, of which a pop names no message; the jobs a pop was about."""
    if name in {b"LPUSH", b"RPUSH"}:
        for _ in parts[2:]:
            at = 0 if name == b"LPUSH" else len(lists[parts[1]])
            lists[parts[1]].insert(at, next(iter(about), None))
    elif name in {b"RPOP", b"LPOP"} and lists[parts[1]]:
        popped = lists[parts[1]].pop(-1 if name == b"RPOP" else 0)
        return {popped} if popped is not None else set()
    return set()


@dataclass(kw_only=True)
class Pops:
    """How messages left their lists.

    Attributes:
        recorded: By a script that records them in the same step.
        bare: By BRPOP, for an idle worker that records them with its next command.
        lost: Those of the bare ones that nobody recorded: the message's tag, and the second it was popped in.
    """

    recorded: int = 0
    bare: int = 0
    lost: dict[bytes, int] = field(default_factory=dict)


def pops(folder: Path) -> Pops:
    """Play the lists from the first command to the last, and see how each message left."""
    found = Pops()
    lists: dict[bytes, deque[bytes]] = defaultdict(deque)
    somewhere: set[bytes] = set()
    for second, parts in commands(folder):
        name = parts[0].upper()
        if name in {b"LPUSH", b"RPUSH"}:
            for message in parts[2:]:
                key = _key(message)
                found.lost.pop(key, None)
                (lists[parts[1]].appendleft if name == b"LPUSH" else lists[parts[1]].append)(key)
        elif name == b"HSET":
            key = _key(parts[3])
            somewhere.add(key)
            found.lost.pop(key, None)
        elif name == b"HDEL":
            somewhere.difference_update(parts[2:])
        elif name in {b"RPOP", b"LPOP"} and lists[parts[1]]:
            key = lists[parts[1]].pop() if name == b"RPOP" else lists[parts[1]].popleft()
            if key in somewhere:
                found.recorded += 1
            else:
                found.bare += 1
                found.lost[key] = second
    return found


def _key(message: bytes) -> bytes:
    """What a message is known by: its tag, or its content where it has none."""
    tag = _TAG.search(message)
    return tag.group(1) if tag else hashlib.sha256(message).digest()


def stories_of(folder: Path, complaints: Iterable[str]) -> str:
    """The stories of the jobs that these complaints name."""
    names: dict[str, None] = {}
    for text in complaints:
        for found in _ID.findall(text):
            names |= dict.fromkeys(_jobs_of(found))
    some = list(names)[:_SHOWN]
    if not some or not (folder / "appendonlydir").is_dir():
        return ""
    found = story(folder, some)
    told = [
        f"\nWhat Redis was told of {job_id}:\n" + "\n".join(f"  {line}" for line in found[job_id]) for job_id in found
    ]
    return "\n" + "\n".join(told)


def _jobs_of(name: str) -> list[str]:
    return [name] if "-" in name else [f"order-{name}", f"payment-{name}"]


def _number(path: Path) -> int:
    return int(path.name.split(".")[-3])
