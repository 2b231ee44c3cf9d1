"""Signatures against AWS's own test suite for Signature Version 4 (aws-sig-v4-test-suite)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from workerpool_worker.jobs.sms.sigv4 import Credentials, signed_headers

pytestmark = pytest.mark.unit

NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx"
    "7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6"
    "d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)
HOST = {"Host": "example.amazonaws.com"}
FORM = {"Content-Type": "application/x-www-form-urlencoded", **HOST}
FORM_UTF8 = {"Content-Type": "application/x-www-form-urlencoded; charset=utf8", **HOST}


@pytest.mark.parametrize(
    ("method", "headers", "body", "token", "signed", "signature"),
    [
        # In the suite's words: get-vanilla, post-vanilla, post-x-www-form-urlencoded, its -parameters,
        # post-header-key-sort, get-header-value-trim, post-sts-header-before (the token is signed).
        ("GET", HOST, b"", "", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", HOST, b"", "", "host;x-amz-date", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ("POST", FORM, b"Param1=value1", "", "content-type;host;x-amz-date",
         "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"),
        ("POST", FORM_UTF8, b"Param1=value1", "", "content-type;host;x-amz-date",
         "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe"),
        ("POST", {"My-Header1": "value1", **HOST}, b"", "", "host;my-header1;x-amz-date",
         "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"),
        ("GET", {"My-Header1": " value1", "My-Header2": ' "a   b   c"', **HOST}, b"", "",
         "host;my-header1;my-header2;x-amz-date", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"),
        ("POST", HOST, b"", TOKEN, "host;x-amz-date;x-amz-security-token",
         "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"),
    ],
)  # fmt: skip
def test_signatures_are_those_of_the_suite(
    method: str, headers: dict[str, str], body: bytes, token: str, signed: str, signature: str
) -> None:
    sent = signed_headers(
        Credentials(access_key_id=KEY, secret_access_key=SECRET, session_token=token),
        region="us-east-1",
        service="service",
        headers=headers,
        body=body,
        now=NOW,
        method=method,
    )
    scope = "20150830/us-east-1/service/aws4_request"
    assert sent["Authorization"] == (
        f"AWS4-HMAC-SHA256 Credential={KEY}/{scope}, SignedHeaders={signed}, Signature={signature}"
    )
    assert sent["X-Amz-Date"] == "20150830T123600Z"
    assert sent.get("X-Amz-Security-Token", "") == token


def test_credentials_do_not_show_their_secret() -> None:
    shown = repr(Credentials(access_key_id=KEY, secret_access_key=SECRET, session_token=TOKEN))
    assert KEY in shown
    assert SECRET not in shown
    assert TOKEN not in shown
