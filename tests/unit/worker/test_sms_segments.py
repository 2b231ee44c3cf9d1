from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from workerpool_worker.jobs.sms.provider import masked
from workerpool_worker.jobs.sms.segments import segments_of
from workerpool_worker.models import Sms

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "encoding", "number"),
    [
        ("a", "GSM-7", 1),
        ("Your code: 1234 — keep it", "UCS-2", 1),
        ("a" * 160, "GSM-7", 1),
        ("a" * 161, "GSM-7", 2),
        ("a" * 306, "GSM-7", 2),
        ("a" * 307, "GSM-7", 3),
        ("€" * 80, "GSM-7", 1),
        ("€" * 81, "GSM-7", 2),
        # 152 and an escape: the pair goes to the next part, so 306 units take three.
        ("a" * 152 + "€" + "a" * 152, "GSM-7", 3),
        ("é\n\r@£¥Δ", "GSM-7", 1),
        ("`", "UCS-2", 1),
        ("ç", "UCS-2", 1),
        ("茶" * 70, "UCS-2", 1),
        ("茶" * 71, "UCS-2", 2),
        ("茶" * 134, "UCS-2", 2),
        ("茶" * 135, "UCS-2", 3),
        ("🙂" * 35, "UCS-2", 1),
        ("🙂" * 36, "UCS-2", 2),
        # 33 pairs to a part of 67 units: the half that is left holds no emoji.
        ("🙂" * 67, "UCS-2", 3),
    ],
)
def test_segments(text: str, encoding: str, number: int) -> None:
    assert segments_of(text) == (encoding, number)


@given(st.text(max_size=800), st.text(max_size=10))
def test_more_text_never_takes_fewer_segments(text: str, more: str) -> None:
    assert segments_of(text).number <= segments_of(text + more).number
    assert segments_of(text).number >= 1


@pytest.mark.parametrize("number", ["+393331234567", "+1500555", "+123456789012345"])
def test_numbers_in_e164(number: str) -> None:
    assert Sms(id="s", to=number, text="t").to == number


@pytest.mark.parametrize(
    "number",
    ["", "393331234567", "+0393331234", "+39 333 1234567", "+39(333)1234567", "+1234567890123456", "+12345",
     "+3933312345\n", "+٣٩٣٣٣١٢٣٤٥٦٧", "tel:+393331234567", "+39333123456a"],
)  # fmt: skip
def test_what_is_no_number_is_refused(number: str) -> None:
    with pytest.raises(ValidationError):
        Sms(id="s", to=number, text="t")


@pytest.mark.parametrize("text", ["", "x" * 1601])
def test_a_text_has_bounds(text: str) -> None:
    with pytest.raises(ValidationError):
        Sms(id="s", to="+393331234567", text=text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("'To' number +393331234567 is not valid", "'To' number …567 is not valid"),
        ("number 1 (500) 555-0006.", "number …006."),
        ("error 21211 of 2026", "error 21211 of 2026"),
        ("", ""),
    ],
)
def test_numbers_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown
