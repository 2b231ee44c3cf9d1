"""The settings of how long things are kept; `Settings` is made of them too."""

from __future__ import annotations

from pydantic import BaseModel, model_validator

from workerpool_worker.settings.declare import setting as _setting

_LONGEST_DAYS = 36_500
_MOST = 100_000_000
# A letter may be requeued on its last day, and its job be tried for days.
_LONGER_THAN_LETTERS_DAYS = 7


class RetentionSettings(BaseModel):
    """For how long, and how many, before the clean-up removes the rest. 0 keeps none."""

    job_status: bool = _setting(True, "WORKERPOOL_JOB_STATUS", meaning="whether the status of jobs is kept: on or off")
    keep_completed_days: float = _setting(
        7,
        "WORKERPOOL_KEEP_COMPLETED_DAYS",
        meaning="days the status of a completed job is kept",
        ge=0,
        le=_LONGEST_DAYS,
    )
    keep_failed_days: float = _setting(
        30, "WORKERPOOL_KEEP_FAILED_DAYS", meaning="days the status of a failed job is kept", ge=0, le=_LONGEST_DAYS
    )
    keep_completed_jobs: int = _setting(
        100_000, "WORKERPOOL_KEEP_COMPLETED_JOBS", meaning="completed jobs whose status is kept", ge=0, le=_MOST
    )
    keep_failed_jobs: int = _setting(
        100_000, "WORKERPOOL_KEEP_FAILED_JOBS", meaning="failed jobs whose status is kept", ge=0, le=_MOST
    )
    keep_effects_days: float = _setting(
        90,
        "WORKERPOOL_KEEP_EFFECTS_DAYS",
        meaning="days it is remembered that an effect has happened; a job that comes again later does it again",
        ge=_LONGER_THAN_LETTERS_DAYS,
        le=_LONGEST_DAYS,
    )
    keep_dead_letters_days: float = _setting(
        30, "WORKERPOOL_KEEP_DEAD_LETTERS_DAYS", meaning="days a dead letter is kept", gt=0, le=_LONGEST_DAYS
    )
    keep_dead_letters: int = _setting(
        10_000, "WORKERPOOL_KEEP_DEAD_LETTERS", meaning="dead letters a queue keeps", ge=1, le=_MOST
    )

    @model_validator(mode="after")
    def _effects_outlive_letters(self) -> RetentionSettings:
        needed = self.keep_dead_letters_days + _LONGER_THAN_LETTERS_DAYS
        if self.keep_effects_days < needed:
            raise ValueError(
                f"WORKERPOOL_KEEP_EFFECTS_DAYS: must be at least {needed:g}, {_LONGER_THAN_LETTERS_DAYS} more than "
                f"WORKERPOOL_KEEP_DEAD_LETTERS_DAYS (got {self.keep_effects_days:g}): "
                "a dead letter requeued later would have its effects twice"
            )
        return self
