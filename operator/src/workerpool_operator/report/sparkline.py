"""A line of small bars: how a number went over time, in one row of text. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
"""Bars from 0 to the top. The lowest is only used for 0: one waiting job looks different from none."""
ASCII_BLOCKS = "_.:-=+*#"
"""The same for terminals without these characters."""
GAP = "·"
"""Stands where the number is unknown."""
ASCII_GAP = "?"


def sparkline(values: Sequence[float | None], *, top: float | None = None, ascii_only: bool = False) -> str:
    """Draw one character a value.

    Args:
        values: What to draw, oldest first; None is unknown and is drawn as a gap, never as 0.
        top: The value of a full bar; the largest of the values when None. Larger values are drawn as full bars.
        ascii_only: Draw with characters that every terminal has.

    Returns:
        A string as long as ``values``.
    """
    blocks, gap = (ASCII_BLOCKS, ASCII_GAP) if ascii_only else (BLOCKS, GAP)
    known = [value for value in values if value is not None]
    full = top if top is not None else max(known, default=0.0)
    return "".join(gap if value is None else blocks[_height(value, full, len(blocks) - 1)] for value in values)


def _height(value: float, full: float, highest: int) -> int:
    if value <= 0 or full <= 0:
        return 0
    if value >= full:
        return highest
    return max(1, math.ceil(value / full * highest))


def resample(
    points: Iterable[tuple[float, float | None]], *, start_s: float, end_s: float, width: int
) -> list[float | None]:
    """Spread timed values over ``width`` equal spans of time.

    A span shows the largest value that held in it, so a short burst is never lost; a value holds until the next point.
    Where the last word was "unknown", the span is unknown unless a number was read in it.

    Args:
        points: Pairs of (time in seconds, value), ascending; those before ``start_s`` only say what held at the start.
        start_s: Where the first span begins.
        end_s: Where the last span ends.
        width: How many spans.

    Returns:
        ``width`` values; None where nothing is known, as before the first point.
    """
    spans: list[list[float | None]] = [[] for _ in range(width)]
    span_s = (end_s - start_s) / width if width else 0.0
    held: float | None = None
    for time_s, value in points:
        if time_s > end_s or span_s <= 0:
            break
        if time_s < start_s:
            held = value
            continue
        spans[min(width - 1, int((time_s - start_s) / span_s))].append(value)
    result: list[float | None] = []
    for span in spans:
        known = [value for value in (held, *span) if value is not None]
        result.append(max(known, default=None))
        held = span[-1] if span else held
    return result
