"""Any of the core's records as plain JSON values, with the names that people know from the YAML. Pure.

``scale_down.stabilization_s`` becomes ``scaleDown.stabilizationSeconds``. It goes by what a record holds, so a field
that is added to one is told without anybody writing its name down a second time.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Iterable, Mapping
from typing import Any

_DIGITS = 6


def plain(value: object) -> Any:  # noqa: PLR0911 - one answer for each kind of value
    """The value as JSON takes it; a number that is none (infinity, not-a-number) is null."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return round(value, _DIGITS) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    fields = _fields(value)
    if fields is not None:
        return {yaml_name(name): plain(getattr(value, name)) for name in fields}
    return [plain(item) for item in value] if isinstance(value, Iterable) else str(value)


def yaml_name(name: str) -> str:
    """``stabilization_s`` as ``stabilizationSeconds``, ``min_replicas`` as ``minReplicas``."""
    if name.endswith("_s"):
        name = name[:-2] + "_seconds"
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _fields(value: object) -> tuple[str, ...] | None:
    """The names of a record's fields; None for what is no record."""
    if dataclasses.is_dataclass(value):
        return tuple(field.name for field in dataclasses.fields(value))
    names = getattr(value, "_fields", None)
    return tuple(names) if isinstance(value, tuple) and names is not None else None
