"""Kubernetes quantities: ``500m``, ``1.5``, ``2Gi``, ``1e3``.

The grammar is the one in the documentation of ``Quantity`` in ``k8s.io/apimachinery/pkg/api/resource/quantity.go``::

    <quantity>        ::= <signedNumber><suffix>
    <digits>          ::= <digit> | <digit><digits>
    <number>          ::= <digits> | <digits>.<digits> | <digits>. | .<digits>
    <signedNumber>    ::= <number> | "+"<number> | "-"<number>
    <suffix>          ::= <binarySI> | <decimalExponent> | <decimalSI>
    <binarySI>        ::= Ki | Mi | Gi | Ti | Pi | Ei
    <decimalSI>       ::= n | u | m | "" | k | M | G | T | P | E
    <decimalExponent> ::= "e" <signedNumber> | "E" <signedNumber>
"""

from __future__ import annotations

import re
from decimal import Decimal

MAX_LENGTH = 32
# "E" alone is exa; with digits after it, it is an exponent.
PATTERN = r"^[+-]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?$"
NOT_NEGATIVE = PATTERN.replace("[+-]?", "[+]?", 1)
_QUANTITY = re.compile(PATTERN)
_FACTORS = {
    "": Decimal(1),
    **{
        suffix: Decimal(10) ** power
        for suffix, power in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)
    },
    **{suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)},
}


def parse_quantity(value: str | int) -> Decimal:
    """Turn a quantity into a number of its base unit (cores, bytes).

    Raises:
        ValueError: it is not a quantity; the text says what one looks like.
    """
    text = str(value)
    match = _QUANTITY.fullmatch(text) if len(text) <= MAX_LENGTH and text.isascii() else None
    if match is None:
        raise ValueError(f'"{text[:MAX_LENGTH]}" is not a quantity (such as 500m, 1Gi)')
    suffix = match[2] or ""
    number = text.removesuffix(suffix)
    if suffix[:1] in ("e", "E") and len(suffix) > 1 and suffix != "Ei":
        return Decimal(f"{number}{suffix}")
    return Decimal(number) * _FACTORS[suffix]


def check_quantity(value: str | int) -> str | int:
    """Check the value of a resource request or limit: a quantity that is not negative.

    Raises:
        ValueError: it is neither.
    """
    if parse_quantity(value) < 0 or str(value).startswith("-"):
        raise ValueError("must not be negative")
    return value
