"""The settings of what is done at known times; `Settings` is made of them too."""

# ruff: noqa: PLC0415 - cron expressions and YAML are read where there is something to read

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, PrivateAttr, field_validator, model_validator

from workerpool_worker.settings.declare import setting as _setting

if TYPE_CHECKING:
    from workerpool_worker.schedules.plan import Schedule

_OFF = "off"
_RECOVER, _CLEANUP, _REPORT = "*/5 * * * *", "17 3 * * *", "0 7 * * *"
_SURE = frozenset({"", _OFF, _RECOVER, _CLEANUP, _REPORT})


class ScheduleSettings(BaseModel):
    """Schedules, and what the built-in ones need to know."""

    schedules_file: Path | None = _setting(
        None, "WORKERPOOL_SCHEDULES_FILE", meaning="YAML file of schedules: a list of {name, cron, task, ...}"
    )
    cron_time_zone: str = _setting(
        "UTC", "WORKERPOOL_CRON_TIME_ZONE", meaning="time zone of schedules that name none, and of the daily report"
    )
    recover_cron: str = _setting(
        _RECOVER, "WORKERPOOL_RECOVER_CRON", meaning='when what got stuck is set going again; "off": never'
    )
    cleanup_cron: str = _setting(
        _CLEANUP, "WORKERPOOL_CLEANUP_CRON", meaning='when what is past its time is deleted; "off": never'
    )
    report_cron: str = _setting(
        "",
        "WORKERPOOL_REPORT_CRON",
        meaning=f'when the daily report is sent; {_REPORT} with REPORT_EMAIL; "off": never',
    )
    report_email: str = _setting("", "REPORT_EMAIL", meaning="who gets the daily report; none: nobody", max_length=254)
    recover_after_seconds: float = _setting(
        300, "WORKERPOOL_RECOVER_AFTER_SECONDS", meaning="what did not move for this long is looked after", ge=10
    )
    cleanup_seconds: float = _setting(
        120,
        "WORKERPOOL_CLEANUP_SECONDS",
        meaning="a clean-up works for this long, the next one goes on",
        gt=0,
        le=3_600,
    )

    _schedules: tuple[Schedule, ...] = PrivateAttr(())

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """The schedules in force: the built-in ones, then those of the file."""
        return self._schedules

    @field_validator("cron_time_zone")
    @classmethod
    def _cron_zone(cls, value: str) -> str:
        if value == "UTC":
            return value
        from workerpool_worker.schedules.cron import check_time_zone

        return check_time_zone(value)

    @field_validator("recover_cron", "cleanup_cron", "report_cron")
    @classmethod
    def _cron_expression(cls, value: str) -> str:
        value = value.strip()
        if value in _SURE:
            return value
        from workerpool_worker.schedules.cron import check_cron

        return check_cron(value)

    @field_validator("report_email")
    @classmethod
    def _report_address(cls, value: str) -> str:
        if value and (value.count("@") != 1 or any(c in value for c in ' \t\r\n<>,;:"') or not value.isprintable()):
            raise ValueError("must be one bare address such as shop@example.org")
        return value

    @model_validator(mode="after")
    def _schedules_in_force(self) -> ScheduleSettings:
        if self.report_cron not in {"", _OFF} and not self.report_email:
            raise ValueError("REPORT_EMAIL: is needed for WORKERPOOL_REPORT_CRON")
        from workerpool_worker.registry_checks import RegistryError
        from workerpool_worker.schedules.plan import built_in, read_file

        report = self.report_cron or (_REPORT if self.report_email else _OFF)
        crons = {"recover": self.recover_cron, "cleanup": self.cleanup_cron, "report": report}
        found = built_in(crons, self.cron_time_zone)
        if self.schedules_file is not None:
            try:
                found += read_file(self.schedules_file, self.cron_time_zone, getattr(self, "jobs", ()))
            except RegistryError:
                raise
            except ValueError as error:
                raise ValueError(f"WORKERPOOL_SCHEDULES_FILE: {error}") from None
        self._schedules = found
        return self
