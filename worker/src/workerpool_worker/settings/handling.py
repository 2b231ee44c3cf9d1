"""How often and when a job is tried again, when it is given up, and how many may run in a time."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, field_validator

from workerpool_worker.runtime.limits import RateLimit, parse_limits
from workerpool_worker.runtime.retry import RetryPolicy, parse_policies, policy_of
from workerpool_worker.settings.declare import setting as _setting


class HandlingSettings(BaseModel):
    """Retries, losses, limits. Durations are in the unit their name ends with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_retries: int = _setting(20, "WORKERPOOL_MAX_RETRIES", meaning="tries of a job after the first", ge=0, le=1000)
    retry_base_ms: int = _setting(500, "WORKERPOOL_RETRY_BASE_MS", meaning="first back-off, doubled every try", ge=1)
    retry_cap_ms: int = _setting(
        300_000, "WORKERPOOL_RETRY_CAP_MS", meaning="longest back-off", ge=1, le=30 * 86_400_000
    )
    retry_policies: str = _setting(
        "", "WORKERPOOL_RETRY_POLICIES", meaning="other policies by task: email.*: attempts=5, base=1s, cap=5m; ..."
    )
    unknown_error_retries: int = _setting(
        3, "WORKERPOOL_UNKNOWN_ERROR_RETRIES", meaning="tries after an error nobody foresaw", ge=0, le=1000
    )
    max_losses: int = _setting(
        3, "WORKERPOOL_MAX_LOSSES", meaning="times a job may take its worker or child with it", ge=1, le=100
    )
    max_deferrals: int = _setting(
        1_000, "WORKERPOOL_MAX_DEFERRALS", meaning="times a provider may tell a job to come back later", ge=1
    )
    max_message_bytes: int = _setting(
        8_388_608, "WORKERPOOL_MAX_MESSAGE_BYTES", meaning="a larger message goes to the dead letters", ge=65_536
    )
    rate_limits: str = _setting(
        "", "WORKERPOOL_RATE_LIMITS", meaning="over all replicas: queue:email=100/m, provider:stripe=25/s burst 50, ..."
    )

    @field_validator("retry_policies")
    @classmethod
    def _policies_parse(cls, value: str) -> str:
        parse_policies(value)
        return value

    @field_validator("rate_limits")
    @classmethod
    def _limits_parse(cls, value: str) -> str:
        parse_limits(value)
        return value

    def retry_policy(self, task: str) -> RetryPolicy:
        """How a task is tried again: by the first pattern that matches its name, else by the three general settings."""
        general = RetryPolicy(
            attempts=self.max_retries, base_s=self.retry_base_ms / 1000, cap_s=self.retry_cap_ms / 1000
        )
        return policy_of(task, parse_policies(self.retry_policies), general)

    def limits_of(self, *, queue: str, provider: str | None) -> tuple[RateLimit, ...]:
        """The rate limits a job of this queue and provider is under."""
        wanted = {("queue", queue), ("provider", provider)}
        return tuple(limit for limit in parse_limits(self.rate_limits) if (limit.kind, limit.name) in wanted)
