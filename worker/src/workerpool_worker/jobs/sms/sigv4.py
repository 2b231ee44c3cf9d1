"""AWS Signature Version 4 for a POST to one endpoint, from its specification; a pure function of its arguments.

https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html. The path is `/` and there is no query
string, which is all that Amazon SNS needs; botocore for this alone would be 30 MB and most of a second of start.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """An access key; with a token where it is a temporary one."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


def signed_headers(
    credentials: Credentials,
    *,
    region: str,
    service: str,
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
    method: str = "POST",
) -> dict[str, str]:
    """The headers to send: those given (`Host` among them), the date, the token if there is one, and the signature.

    Args:
        credentials: Whose signature.
        region: Such as eu-south-1.
        service: Such as sns.
        headers: All of them are signed.
        body: What is sent.
        now: The time in UTC; AWS takes a signature for five minutes.
        method: The request's method.
    """
    stamp = f"{now:%Y%m%dT%H%M%SZ}"
    sent = {**headers, "X-Amz-Date": stamp}
    if credentials.session_token:
        sent["X-Amz-Security-Token"] = credentials.session_token
    # In the order of the names in lower case, values without needless spaces.
    canonical = sorted((name.lower(), " ".join(value.split())) for name, value in sent.items())
    names = ";".join(name for name, _ in canonical)
    lines = "".join(f"{name}:{value}\n" for name, value in canonical)
    request = f"{method}\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    to_sign = f"{_ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{credentials.secret_access_key}".encode()
    for part in scope.split("/"):
        key = _mac(key, part)
    signature = _mac(key, to_sign).hex()
    sent["Authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return sent


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
