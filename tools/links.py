"""Links between the pages of this repository: the file must be there, and the heading too."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_FENCE: Final = re.compile(r"^ *(```|~~~)")
_CODE: Final = re.compile(r"`[^`]*`")
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)[^)]*\)")
_HEADING: Final = re.compile(r"^#{1,6} +(.*?)[ #]*$")
_ELSEWHERE: Final = re.compile(r"^[a-z][a-z0-9+.-]*:|^//")
_NOT_IN_ANCHORS: Final = re.compile(r"[^\w\- ]")


def dead_links(page: Path) -> Iterator[tuple[int, str]]:
    """Line and target of each link of a Markdown page that leads to no file, or to no heading of one."""
    for number, line in _prose(page):
        for target in _LINK.findall(_CODE.sub("", line)):
            if not _ELSEWHERE.match(target) and not _is_there(page, target):
                yield number, target


def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    return _anchors(page, page.stat().st_mtime_ns)


def _is_there(page: Path, target: str) -> bool:
    name, _, anchor = target.partition("#")
    file = page.parent / name if name else page
    if not file.exists():
        return False
    return not anchor or file.suffix != ".md" or anchor in anchors(file)


@functools.cache
def _anchors(page: Path, _changed_ns: int) -> frozenset[str]:
    found: set[str] = set()
    for _, line in _prose(page):
        heading = _HEADING.match(line)
        if heading:
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.group(1))
            name = _NOT_IN_ANCHORS.sub("", text.lower()).replace(" ", "-")
            more = 0
            while (one := f"{name}-{more}" if more else name) in found:
                more += 1
            found.add(one)
    return frozenset(found)


def _prose(page: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not in a block of code, numbered from 1."""
    fence = ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        mark = _FENCE.match(line)
        if mark and (not fence or mark.group(1) == fence):
            fence = "" if fence else mark.group(1)
        elif not fence:
            yield number, line
