"""Quantities as Kubernetes writes them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerpool_operator.resource.quantity import parse_quantity

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (2, "2"),
        ("0", "0"),
        ("500m", "0.5"),
        ("1.5", "1.5"),
        (".5", "0.5"),
        ("1.", "1"),
        ("+1k", "1000"),
        ("-1", "-1"),
        ("1Ki", "1024"),
        ("1.5Gi", "1610612736"),
        ("1E", "1000000000000000000"),
        ("1Ei", "1152921504606846976"),
        ("1e3", "1000"),
        ("1E-3", "0.001"),
        ("100n", "0.0000001"),
        ("3u", "0.000003"),
    ],
)
def test_values(text: str | int, value: str) -> None:
    assert parse_quantity(text) == Decimal(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "1Gb",
        "1 Gi",
        "Gi",
        "1ki",
        "1K",
        "1KI",
        "1e",
        "1e1.5",
        "1mi",
        "0x1",
        "\N{ARABIC-INDIC DIGIT ONE}",
        "1e999",
        "9" * 33,
    ],
)
def test_nonsense(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity(text)


@given(st.text(max_size=8))
def test_any_text_is_a_number_or_told(text: str) -> None:
    try:
        assert parse_quantity(text).is_finite()
    except ValueError as error:
        assert "is not a quantity" in str(error)  # noqa: PT017
