"""What became of a message, read from Redis's append-only file: every command that changed anything, in order.

A job that is missing was either acknowledged without its effect (a fault of the worker), or left a list and was never
recorded as unacknowledged: popped by BRPOP for a worker that did not live to record it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

_ID = re.compile(r"\b(?:[a-z]+(?:-[a-z]+)*-)?t\d+\b")
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
            for tag in re.findall(rb'"delivery_tag": ?"([^"]+)"', text):
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
