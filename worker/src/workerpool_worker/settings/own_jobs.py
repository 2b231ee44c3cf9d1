"""The setting that brings jobs of others into this worker."""

from __future__ import annotations

import re

from pydantic import BaseModel, field_validator

from workerpool_worker.settings.declare import setting

_PLACE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


class OwnJobsSettings(BaseModel):
    """Where jobs are that neither this package nor an installed one brings."""

    jobs: tuple[str, ...] = setting(
        (), "WORKERPOOL_JOBS", meaning="jobs of your own on PYTHONPATH: package.module:NAME, with commas"
    )

    @field_validator("jobs", mode="before")
    @classmethod
    def _split_places(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @field_validator("jobs")
    @classmethod
    def _places(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_PLACE.fullmatch(place) for place in value):
            raise ValueError("must be package.module:NAME, with commas between, such as catalogue_sync.jobs:JOBS")
        return tuple(dict.fromkeys(value))
