"""``status``: what the operator says of a pool. The model behind the CRD's schema; the operator only ever writes it."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import Field, StringConstraints

from workerpool_operator.resource.base import INT32_MAX, INT64_MAX, Model

CONDITION_REASON = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
_DATE_TIME = {"format": "date-time"}

Time = Annotated[str, StringConstraints(min_length=1, max_length=64), Field(json_schema_extra=_DATE_TIME)]
Jobs = Annotated[int, Field(ge=0, le=INT64_MAX)]
Replicas = Annotated[int, Field(ge=0, le=INT32_MAX)]


class ConditionStatus(enum.StrEnum):
    """Whether a condition holds; Unknown where the operator cannot tell."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Model):
    """One aspect of the pool, in the form that all of Kubernetes uses."""

    type: Annotated[str, StringConstraints(min_length=1, max_length=316, pattern=CONDITION_REASON)] = Field(
        description="The aspect: Ready, BrokerReachable, ScalingActive or ScalingLimited."
    )
    status: ConditionStatus = Field(description="Whether it holds; Unknown where the operator cannot tell.")
    reason: Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=CONDITION_REASON)] = Field(
        description="Why, in one CamelCase word that programs can rely on."
    )
    message: Annotated[str, StringConstraints(max_length=32768)] = Field(
        description="Why, in words, with what to do about it."
    )
    last_transition_time: Time = Field(description="When status changed last.")
    observed_generation: int | None = Field(
        default=None, ge=0, le=INT64_MAX, description="The metadata.generation that this was found for."
    )


class Backlog(Model):
    """The jobs of the pool's queues; a number that is not known is left out."""

    ready: Jobs | None = Field(default=None, description="Jobs that wait for a worker.")
    running: Jobs | None = Field(default=None, description="Jobs that a worker holds.")
    scheduled: Jobs | None = Field(default=None, description="Jobs that are due later.")
    oldest_job_seconds: Jobs | None = Field(
        default=None, description="How long the oldest waiting job has waited, in whole seconds."
    )


class Status(Model):
    """What the operator last found and did; written when it tells something new, not at every poll."""

    observed_generation: int | None = Field(
        default=None, ge=0, le=INT64_MAX, description="The metadata.generation that this status is about."
    )
    selector: Annotated[str, StringConstraints(max_length=4096)] | None = Field(
        default=None, description="Selects the pool's pods, as text; the scale subresource shows it."
    )
    replicas: Replicas | None = Field(default=None, description="Replicas that the Deployment has.")
    ready_replicas: Replicas | None = Field(default=None, description="Replicas that are ready for jobs.")
    desired_replicas: Replicas | None = Field(default=None, description="The size that the operator decided on.")
    last_scale_time: Time | None = Field(default=None, description="When the operator changed the size last.")
    backlog: Backlog | None = Field(
        default=None,
        description="The jobs of the pool's queues when they were last read; coarse, the metrics have it in full.",
    )
    conditions: tuple[Condition, ...] = Field(
        default=(),
        max_length=16,
        description="Ready, BrokerReachable, ScalingActive and ScalingLimited, each with reason and message.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
