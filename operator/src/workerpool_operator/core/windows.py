"""Stabilisation windows: a change of size must be wished for during the whole window.

Going down, the highest wish of the window wins; going up, the lowest (the HorizontalPodAutoscaler's rule). Only wishes
that can still win are kept, so a window holds at most one entry for each size that was ever wished within it.
"""

from __future__ import annotations

from workerpool_operator.core.decision import Wish


def remember_highest(wishes: tuple[Wish, ...], wish: Wish, window_s: float) -> tuple[Wish, ...]:
    """The window with one more wish; its first entry is the highest."""
    kept = [old for old in _within(wishes, wish.time_s, window_s) if old.replicas > wish.replicas]
    return (*kept, wish)


def remember_lowest(wishes: tuple[Wish, ...], wish: Wish, window_s: float) -> tuple[Wish, ...]:
    """The window with one more wish; its first entry is the lowest."""
    kept = [old for old in _within(wishes, wish.time_s, window_s) if old.replicas < wish.replicas]
    return (*kept, wish)


def _within(wishes: tuple[Wish, ...], now_s: float, window_s: float) -> list[Wish]:
    """The wishes not older than the window; those from a future that a clock set back took away are made now."""
    if window_s <= 0:
        return []
    horizon_s = now_s - window_s
    return [
        old if old.time_s <= now_s else Wish(time_s=now_s, replicas=old.replicas)
        for old in wishes
        if old.time_s > horizon_s
    ]
