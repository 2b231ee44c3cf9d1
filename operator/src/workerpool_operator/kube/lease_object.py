"""The coordination.k8s.io/v1 Lease on the wire: what is read of it and what is written. Pure but for the wall clock.

The times in it are for people (``kubectl describe lease``): no candidate ever compares them with its own clock.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from typing import Any

from workerpool_operator.kube.lease_election import Lease

Json = dict[str, Any]


def parse(body: Mapping[str, Any]) -> Lease:
    """A Lease from the API. Fields that are missing or of another kind count as not there."""
    spec = body.get("spec") or {}
    duration_s, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    return Lease(
        holder=str(spec.get("holderIdentity") or ""),
        version=str(body["metadata"]["resourceVersion"]),
        duration_s=float(duration_s) if isinstance(duration_s, int) and duration_s > 0 else None,
        transitions=transitions if isinstance(transitions, int) else 0,
        renewed=str(spec.get("renewTime") or ""),
    )


def new(*, namespace: str, name: str, identity: str, duration_s: float) -> Json:
    """A Lease to create."""
    now = _now()
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {**_held(identity, duration_s, now), "acquireTime": now, "leaseTransitions": 0},
    }


def taken(lease: Lease, *, identity: str, duration_s: float) -> Json:
    """The patch that takes a Lease over."""
    now = _now()
    return {"spec": {**_held(identity, duration_s, now), "acquireTime": now, "leaseTransitions": lease.transitions + 1}}


def renewed(*, identity: str, duration_s: float) -> Json:
    """The patch that renews it."""
    return {"spec": _held(identity, duration_s, _now())}


def released() -> Json:
    """The patch that gives it back; as client-go does it, the duration shrinks for those who only look at times."""
    return {"spec": {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}}


def _held(identity: str, duration_s: float, now: str) -> Json:
    return {"holderIdentity": identity, "leaseDurationSeconds": math.ceil(duration_s), "renewTime": now}


def _now() -> str:
    """RFC 3339 with microseconds: the API's MicroTime."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
