"""The settings of hooks; `Settings` is made of them too."""

# ruff: noqa: PLC0415 - without hooks nothing of them is read

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, PrivateAttr, model_validator

from workerpool_worker.settings.declare import setting as _setting

if TYPE_CHECKING:
    from workerpool_worker.jobs.hooks.plan import Hook


class HookSettings(BaseModel):
    """Who is told when a job has completed, or failed for good."""

    hooks_file: Path | None = _setting(
        None, "WORKERPOOL_HOOKS_FILE", meaning="YAML file of hooks: a list of {on, tasks, email or webhook, ...}"
    )
    # The URL of a webhook may be all it takes to use it.
    hooks_json: str = _setting("", "WORKERPOOL_HOOKS", meaning="the same as JSON", secret=True)
    hook_timeout_seconds: float = _setting(
        10, "WORKERPOOL_HOOK_TIMEOUT_SECONDS", meaning="longest wait for a webhook's answer", gt=0, le=120
    )

    _hooks: tuple[Hook, ...] = PrivateAttr(())

    @property
    def hooks(self) -> tuple[Hook, ...]:
        """The hooks in force."""
        return self._hooks

    @model_validator(mode="after")
    def _hooks_in_force(self) -> HookSettings:
        if self.hooks_file is not None and self.hooks_json:
            raise ValueError("WORKERPOOL_HOOKS_FILE: set it or WORKERPOOL_HOOKS, not both")
        if self.hooks_file is None and not self.hooks_json:
            return self
        from workerpool_worker.jobs.hooks.plan import read_hooks, read_hooks_file

        variable = "WORKERPOOL_HOOKS_FILE" if self.hooks_file else "WORKERPOOL_HOOKS"
        try:
            found = read_hooks_file(self.hooks_file) if self.hooks_file else read_hooks(self.hooks_json)
        except ValueError as error:
            raise ValueError(f"{variable}: {error}") from None
        self._hooks = found
        return self
