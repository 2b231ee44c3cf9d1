"""How many digits of a currency are behind the point (ISO 4217)."""

from __future__ import annotations

_USUAL = 2
_DIGITS: dict[str, int] = dict.fromkeys(
    ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"), 0
) | dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3)


def digits_of(currency: str) -> int:
    """Two for most; none for the yen and others; three for some dinars and the rial of Oman."""
    return _DIGITS.get(currency, _USUAL)
