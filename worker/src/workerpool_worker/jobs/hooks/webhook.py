"""hook.webhook: tells another program that a job is over, by an HTTP request that it can check."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
import urllib.request
from urllib.parse import urlsplit

from workerpool_worker.jobs.hooks.messages import HookWebhook
from workerpool_worker.jobs.hooks.places import check_place
from workerpool_worker.runtime import http
from workerpool_worker.runtime.context import JobContext, Outcome
from workerpool_worker.runtime.errors import PermanentError, RateLimitedError, TransientError

SIGNATURE = "X-Workerpool-Signature"
DELIVERY = "X-Workerpool-Delivery"
EVENT = "X-Workerpool-Event"

_GONE = 410
_TOO_MANY = 429
_PASSING = frozenset({408, 425})
_PORTS = {"https": 443, "http": 80}


def send_webhook(context: JobContext, job: HookWebhook) -> Outcome:
    """Deliver once, as far as can be told: a receiver drops what comes twice by its X-Workerpool-Delivery."""
    hook = next((it for it in context.settings.hooks if it.name == job.hook and it.webhook), None)
    if hook is None:
        raise PermanentError(f"there is no webhook {job.hook} in the settings of this worker any more")
    about = {"job_id": job.payload.job_id, "state": job.payload.state}
    with context.effect(f"hook:{job.id}", about) as claimed:
        if claimed.already_done:
            return {"outcome": "delivered", "repeated": True}
        body = json.dumps(job.payload.model_dump(mode="json"), separators=(",", ":"), sort_keys=True).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "workerpool",
            DELIVERY: job.id,
            EVENT: f"job.{job.payload.state}",
        }
        if hook.secret_env:
            headers[SIGNATURE] = signature(body, _secret(hook.secret_env), int(time.time()))
        status = _post(hook.webhook, headers, body, timeout_s=context.settings.hook_timeout_seconds)
        return claimed.done({"outcome": "delivered", "status": status})


def signature(body: bytes, secret: str, now_s: int) -> str:
    """The header that proves who sent a body and when: `t=...,v1=...`, as Stripe writes its own."""
    made = hmac.new(secret.encode(), str(now_s).encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={now_s},v1={made}"


def _secret(variable: str) -> str:
    secret = os.environ.get(variable, "")
    if not secret:
        raise PermanentError(f"the environment variable {variable} of the hook's secret is not set")
    return secret


def _by_proxy(scheme: str, host: str) -> bool:
    """Whether a proxy makes the request: then it looks the name up, and we may not be able to."""
    return scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host)


def _post(url: str, headers: dict[str, str], body: bytes, *, timeout_s: float) -> int:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not _by_proxy(parts.scheme, host):
        check_place(host, parts.port or _PORTS[parts.scheme])
    answer = http.request("POST", url, headers=headers, timeout_s=timeout_s, body=body)
    status = answer.status
    if status < 300:  # noqa: PLR2004 - 2xx
        return status
    said = f"{host} answered {status}"
    if status == _TOO_MANY:
        raise RateLimitedError(said, retry_after_s=answer.retry_after_s())
    if status in _PASSING or status >= 500:  # noqa: PLR2004 - 5xx
        raise TransientError(said, retry_after_s=answer.retry_after_s())
    if status < 400:  # noqa: PLR2004 - 3xx
        raise PermanentError(f"{said}, a redirect, which is not followed; set the webhook to where it leads")
    raise PermanentError(f"{said}: the webhook is gone" if status == _GONE else said)
