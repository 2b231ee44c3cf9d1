"""What the Kubernetes API can answer instead of what was asked for.

Exception
└── ApiError: any refusal, with the HTTP status, the API's reason and a text that says what to do
    ├── Conflict: 409, someone else wrote first, or the object already exists (``reason`` tells which); read again
    ├── NotFound: 404, the object, its namespace or its whole kind does not exist
    ├── Forbidden: 403, a right is missing (the text names verb and resource), or a quota or policy said no
    ├── Invalid: 400 or 422, the object is wrong; the same request will be refused again
    ├── Unauthorized: 401, the credentials were refused, also after they were read again
    ├── Unreachable: no usable answer: no connection, no answer in time, 429 or 5xx; the same request may work later,
    │   and a write may have been carried out all the same
    ├── NotLeading: not sent, since this process does not lead any more
    └── NotConfigured: there is no way to reach an API server: not in a cluster, and no usable kubeconfig
"""

# ruff: noqa: N818 - each is named after what the API server says, in its own word

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from workerpool_operator.kube.api_paths import Target


class ApiError(Exception):
    """A refusal. ``status`` is the HTTP status, 0 without one; ``reason`` the API's CamelCase reason."""

    def __init__(self, *, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status: Final = status
        self.reason: Final = reason
        self.message: Final = message


class Conflict(ApiError):
    """Someone else wrote first, or the object already exists."""


class NotFound(ApiError):
    """The object, its namespace or its kind does not exist."""


class Forbidden(ApiError):
    """A right is missing, or a quota or policy said no."""


class Invalid(ApiError):
    """The object is wrong; the same request will be refused again."""


class Unauthorized(ApiError):
    """The credentials were refused."""


class Unreachable(ApiError):
    """No usable answer; the same request may work later."""


class NotLeading(ApiError):
    """A write that was not sent, since this process does not lead any more."""


class NotConfigured(ApiError):
    """There is no way to reach an API server."""


_CLASSES: dict[int, type[ApiError]] = {
    HTTPStatus.BAD_REQUEST: Invalid,
    HTTPStatus.UNAUTHORIZED: Unauthorized,
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.UNPROCESSABLE_ENTITY: Invalid,
    HTTPStatus.TOO_MANY_REQUESTS: Unreachable,
}

_LONGEST = 2000


def from_response(status: int, body: bytes, *, verb: str, target: Target) -> ApiError:
    """The error for an answer outside 2xx.

    Args:
        status: The HTTP status.
        body: What came with it: a ``Status`` object, or anything a proxy in between may say.
        verb: The RBAC verb of the request.
        target: What the request was about.
    """
    answer = _status_object(body)
    reason = str(answer.get("reason") or _phrase(status))
    said = str(answer.get("message") or body.decode(errors="replace").strip() or _phrase(status))[:_LONGEST]
    kind = _CLASSES.get(status)
    if kind is None:
        kind = Unreachable if status >= HTTPStatus.INTERNAL_SERVER_ERROR else ApiError
    message = f"cannot {verb} {target}: {said}{_advice(kind, said, verb, target)}"
    return kind(status=status, reason=reason, message=message)


def no_answer(error: BaseException, *, verb: str, target: Target, timeout_s: float) -> Unreachable:
    """The error for a request that got no answer at all."""
    late = isinstance(error, TimeoutError)
    what = f"no answer within {timeout_s:g} s" if late else (str(error) or type(error).__name__)
    message = f"cannot {verb} {target}: the API server is not reachable: {what}; it is tried again"
    return Unreachable(status=0, reason="Timeout" if late else "Unreachable", message=message)


def _advice(kind: type[ApiError], said: str, verb: str, target: Target) -> str:
    # RBAC's refusals read `User "u" cannot patch resource "deployments" ...`; quotas, admission policies and ending
    # namespaces are 403 as well and carry their own explanation. The API has no field that tells them apart.
    if kind is Forbidden and " cannot " in said:
        where = f"in the namespace {target.namespace}" if target.namespace else "in the whole cluster"
        return f"; grant the operator's service account {verb!r} on {target.resource_and_group!r} {where} (RBAC)"
    if kind is Unauthorized:
        return "; the token or client certificate was refused: check the service account or kubeconfig"
    return ""


def _status_object(body: bytes) -> Mapping[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) and answer.get("kind") == "Status" else {}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase.title().replace(" ", "")
    except ValueError:
        return f"Http{status}"
