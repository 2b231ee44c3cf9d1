"""What is asked of jobs that others bring, so that a wrong one stops the start with one line and not its first job."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from typing import Any, Protocol, TypeVar

from workerpool_worker.models import Job

# As in the WorkerPool resource: no commas, no control characters, no space at the ends.
_QUEUE = re.compile(r"[^\s,\x00-\x1f\x7f]([^,\x00-\x1f\x7f]*[^\s,\x00-\x1f\x7f])?")
_LONGEST_QUEUE = 253
_TASK = re.compile(r"[A-Za-z0-9_]+([.-][A-Za-z0-9_]+)*")
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CODE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


class RegistryError(ValueError):
    """Jobs that cannot be used; the text is one line that says whose and why."""


class _Spec(Protocol):
    @property
    def message(self) -> Any: ...
    @property
    def code(self) -> Any: ...
    @property
    def provider(self) -> Any: ...


SpecT = TypeVar("SpecT", bound=_Spec)


def named_object(place: str, source: str) -> Any:
    """What `module:NAME` names.

    Raises:
        RegistryError: it is not that shape, cannot be imported, or has no such name.
    """
    if not _CODE.fullmatch(place):
        raise RegistryError(f"{source}: must be package.module:NAME")
    module_name, _, name = place.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == module_name.partition(".")[0]
        hint = "; put the folder that holds it on PYTHONPATH, or install it" if missing else ""
        raise RegistryError(f"{source}: cannot import {module_name}: {_line(error)}{hint}") from error
    if not hasattr(module, name):
        raise RegistryError(f"{source}: module {module_name} has no {name}")
    return getattr(module, name)


def checked(found: Any, kind: type[SpecT], source: str) -> tuple[SpecT, ...]:
    """The specs in what was named: a tuple of them, or a function giving one.

    Raises:
        RegistryError: it is something else, or one of the jobs cannot be used.
    """
    if callable(found) and not isinstance(found, type):
        try:
            found = found()
        except Exception as error:
            raise RegistryError(f"{source}: the function failed: {_line(error)}") from error
    if not isinstance(found, tuple | list):
        hint = "; write (JobSpec(...),)" if isinstance(found, kind) else ""
        raise RegistryError(f"{source}: must be a tuple of JobSpec, is a {type(found).__name__}{hint}")
    for number, spec in enumerate(found):
        if not isinstance(spec, kind):
            raise RegistryError(f"{source}: its item {number} is no JobSpec but a {type(spec).__name__}")
        wrong = _wrong_message(spec.message) or _wrong_code(spec)
        if wrong:
            raise RegistryError(f"{source}: {wrong}")
    return tuple(found)


def _wrong_message(message: Any) -> str | None:
    if not isinstance(message, type) or not issubclass(message, Job) or message is Job:
        return f"the message {getattr(message, '__name__', repr(message))} is no subclass of workerpool_worker.api.Job"
    for name, pattern, example in (
        ("task", _TASK, "catalogue.sync"),
        ("queue", _QUEUE, "catalogue"),
        ("prefix", _PREFIX, "catalogue-sync"),
    ):
        value = getattr(message, name, None)
        if value is None:
            return f'{message.__name__} has no {name}; add a line such as {name} = "{example}"'
        if not isinstance(value, str) or not pattern.fullmatch(value) or len(value) > _LONGEST_QUEUE:
            return f"{name} {value!r} of {message.__name__} is not possible; write one such as {example}"
    return None


def _wrong_code(spec: _Spec) -> str | None:
    code, name = spec.code, spec.message.__name__
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        return f"the code of {name} must be module:function, is {code!r}"
    if spec.provider is not None and not callable(spec.provider):
        return f"the provider of {name} must be a function of the settings, is {spec.provider!r}"
    module = code.partition(":")[0]
    return None if _may_exist(module) else f"the code of {name} is in {module}, and there is no such module"


def _may_exist(module: str) -> bool:
    """Whether the module can be there, as far as is known without importing anything: packages can be large."""
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        parent = ".".join(parts[: end - 1])
        if parent and parent not in sys.modules:
            return True
        try:
            if importlib.util.find_spec(".".join(parts[:end])) is None:
                return False
        except (ImportError, ValueError):  # the parent is no package; a module without a spec
            return ".".join(parts[:end]) in sys.modules
    return True


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
