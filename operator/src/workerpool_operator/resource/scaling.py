"""``spec.scaling``: what "fast enough" means, and how quickly the pool may change."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from workerpool_operator.resource.base import DnsLabel, Model


def _check_cron(text: str) -> str:
    # Imported by those who have schedules only: it takes a fifth of the time that the whole package takes.
    from workerpool_operator.resource.cron import check_cron  # noqa: PLC0415

    return check_cron(text)


def _check_time_zone(name: str) -> str:
    from workerpool_operator.resource.cron import check_time_zone  # noqa: PLC0415

    return check_time_zone(name)


CronExpression = Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(_check_cron)]
TimeZone = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_check_time_zone)]


class BusyRule(enum.StrEnum):
    """Whether the pool may shrink below the number of workers that hold a job."""

    WAIT = "Wait"
    ALLOW = "Allow"


class ScaleUpRules(Model):
    """How fast the pool may grow."""

    stabilization_seconds: int = Field(
        default=0,
        ge=0,
        le=3600,
        description="Grow only to the size that was asked for during all of this many seconds.",
    )
    max_replicas_per_step: int | None = Field(
        default=None, ge=1, le=1000, description="Replicas that one step may add at most; default: no limit."
    )


class ScaleDownRules(Model):
    """How fast the pool may shrink."""

    stabilization_seconds: int | None = Field(
        default=None,
        ge=0,
        le=3600,
        description=(
            "Shrink only to the highest size that was asked for during this many seconds. "
            "Default: 60 with backlogPerReplica; with queueLatencySeconds alone the policy decides by what waits."
        ),
    )
    when_busy: BusyRule = Field(
        default=BusyRule.WAIT,
        description="Wait: never fewer replicas than workers that hold a job. Allow: a busy worker may be stopped.",
    )


class Schedule(Model):
    """A time during which the pool's minimum is higher."""

    name: DnsLabel = Field(description="Name of the schedule, unique in the pool; it is shown while it is in force.")
    start: CronExpression = Field(
        description="When it begins: a cron expression of five fields (minute hour day-of-month month day-of-week)."
    )
    end: CronExpression = Field(description="When it ends: a cron expression of five fields, other than start.")
    time_zone: TimeZone = Field(
        default="UTC", description="IANA name of the time zone of start and end, such as Europe/Rome."
    )
    min_replicas: int = Field(
        ge=1, le=1000, description="The least size while it is in force; at most spec.maxReplicas."
    )


class FallbackRule(Model):
    """The size to hold while the broker cannot be read."""

    replicas: int = Field(
        ge=0, le=1000, description="The size to hold at least, while the broker is away; at most spec.maxReplicas."
    )
    after_seconds: int = Field(
        default=60,
        ge=0,
        le=86400,
        description="For how many seconds the broker has to be unreadable before it applies.",
    )


class BudgetShare(Model):
    """A limit that this pool shares with others of its namespace."""

    name: DnsLabel = Field(description="Name of the budget: all pools of the namespace that name it share it.")
    max_replicas: int = Field(
        ge=1,
        le=10000,
        description="The most replicas over all these pools together; where they disagree, the lowest counts.",
    )
    weight: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="While there are too few for all, a pool of weight 2 has twice as many as one of weight 1.",
    )


class Scaling(Model):
    """What "fast enough" means, and how quickly the pool may change."""

    backlog_per_replica: int | None = Field(
        default=None,
        ge=1,
        le=100000,
        description=(
            "Jobs, waiting or running, that one replica should face. "
            "Default: 10 when queueLatencySeconds is not set either, else no such target."
        ),
    )
    queue_latency_seconds: int | None = Field(
        default=None,
        ge=1,
        le=86400,
        description="No job should wait longer. With backlogPerReplica too, the larger answer wins.",
    )
    poll_interval_milliseconds: int = Field(
        default=1000, ge=100, le=60000, description="How often the queues are read, in milliseconds."
    )
    scale_up: ScaleUpRules = Field(default=ScaleUpRules.model_construct(), description="How fast the pool may grow.")
    scale_down: ScaleDownRules = Field(
        default=ScaleDownRules.model_construct(), description="How fast the pool may shrink."
    )
    schedules: tuple[Schedule, ...] = Field(
        default=(),
        max_length=32,
        description="Times with a higher minimum; of those in force the highest counts.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    fallback: FallbackRule | None = Field(
        default=None, description="The size while the broker cannot be read; without it the pool holds its size."
    )
    budget: BudgetShare | None = Field(
        default=None, description="A limit shared with other pools, such as a provider's rate or database connections."
    )
    paused: bool = Field(default=False, description="Hold the size: nothing is scaled while this is true.")
