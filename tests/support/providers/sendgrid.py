"""SendGrid as its public API documentation shows it (v3, POST /v3/mail/send); it was never asked itself.

Shapes: https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send, errors and rate limits of the same
reference. What the documentation calls required is required here.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.support.providers.scripted_http import Reply, ScriptedServer, Seen

KEY = "SG.test-key"
# "Header can not be one of the reserved keys."
RESERVED = {"x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding"} | {
    "to", "from", "subject", "reply-to", "cc", "bcc",
}  # fmt: skip


def errors(status: int, *said: tuple[str | None, str], **headers: str) -> Reply:
    """The documented body of an error: message, field and help."""
    body = {"errors": [{"message": message, "field": name, "help": None} for name, message in said]}
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=status, body=json.dumps(body).encode(), headers={"Content-Type": "application/json", **names})


def sendgrid() -> ScriptedServer:
    return ScriptedServer(usual=_usual)


def _usual(request: Seen) -> Reply:
    if request.headers.get("authorization") != f"Bearer {KEY}":
        return errors(401, (None, "The provided authorization grant is invalid, expired, or revoked"))
    if request.path != "/v3/mail/send":
        return errors(404, (None, "Resource not found"))
    problem = _problem(json.loads(request.body))
    if problem is not None:
        return errors(400, problem)
    return Reply(status=202, headers={"X-Message-Id": "14c5d75ce93.dfd.64b469"})


def _problem(body: dict[str, Any]) -> tuple[str, str] | None:
    for name in ("personalizations", "from", "subject", "content"):
        if not body.get(name):
            return name, f"The {name} is required."
    if [part["type"] for part in body["content"]] not in (["text/plain"], ["text/plain", "text/html"]):
        return "content", "If present, text/plain and text/html may only be provided once, in this order."
    if any(name.lower() in RESERVED for name in body.get("headers", {})):
        return "headers", "Header can not be one of the reserved keys."
    if any(not isinstance(value, str) for value in body.get("custom_args", {}).values()):
        return "custom_args", "The custom_args values must be strings."
    for file in body.get("attachments", []):
        if not file.get("filename") or not base64.b64decode(file["content"], validate=True):
            return "attachments", "The attachment content must be base64 encoded."
    return None
