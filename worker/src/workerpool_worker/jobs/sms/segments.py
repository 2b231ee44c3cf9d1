"""How many segments a text takes on the air, which is what is billed (3GPP TS 23.038 and 23.040).

A text whose characters are all in the GSM 7-bit alphabet has 160 to a message, or 153 to each part of a longer one;
any other has 70 and 67 UTF-16 code units. What takes two units (`€` there, an emoji here) is not split between parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
# Reached by an escape, so each takes two.
_EXTENDED = frozenset("\f^{}\\[~]|€")
_GSM_ONE, _GSM_PART = 160, 153
_UCS2_ONE, _UCS2_PART = 70, 67
_LAST_OF_ONE_UNIT = 0xFFFF


class Segments(NamedTuple):
    """The encoding a text needs and how many segments that makes."""

    encoding: Literal["GSM-7", "UCS-2"]
    number: int


def segments_of(text: str) -> Segments:
    """Count the segments of a text."""
    if all(character in _BASIC or character in _EXTENDED for character in text):
        return Segments("GSM-7", _count([1 + (c in _EXTENDED) for c in text], one=_GSM_ONE, part=_GSM_PART))
    return Segments("UCS-2", _count([1 + (ord(c) > _LAST_OF_ONE_UNIT) for c in text], one=_UCS2_ONE, part=_UCS2_PART))


def _count(units: Sequence[int], *, one: int, part: int) -> int:
    if sum(units) <= one:
        return 1
    parts, used = 1, 0
    for unit in units:
        if used + unit > part:
            parts, used = parts + 1, 0
        used += unit
    return parts
