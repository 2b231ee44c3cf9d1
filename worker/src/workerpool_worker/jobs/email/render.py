"""What a mail says, from Jinja2 templates: the shop's own folder first, then the package's.

A mail `welcome` is made of `welcome.subject.j2`, `welcome.txt.j2` and, where there is one, `welcome.html.j2`. A shop
that brings only one of them keeps the others as they are.
"""

# ruff: noqa: PLC0415 - Jinja2 is not needed where a mail comes with its text

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workerpool_worker.models import money
from workerpool_worker.runtime.errors import InvalidJobError

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a mail says."""

    subject: str
    text: str
    html: str | None = None


def render(template: str, values: dict[str, Any], folder: Path | None = None) -> Content:
    """Fill in a template.

    Raises:
        InvalidJobError: there is no such template, it is broken, or it asks for a value the job has not.
    """
    from jinja2 import TemplateNotFound
    from jinja2.exceptions import TemplateError

    environment = _environment(folder)
    try:
        subject = environment.get_template(f"{template}.subject.j2").render(values)
        text = environment.get_template(f"{template}.txt.j2").render(values)
        try:
            page = environment.get_template(f"{template}.html.j2")
        except TemplateNotFound as missing:
            # Only this file may be missing, not one it includes.
            if missing.name != f"{template}.html.j2":
                raise
            return Content(subject=subject, text=text)
        return Content(subject=subject, text=text, html=page.render(values))
    except TemplateNotFound as error:
        where = f"{folder} (EMAIL_TEMPLATE_DIR)" if folder else "the package; EMAIL_TEMPLATE_DIR is not set"
        raise InvalidJobError(f"template {template}: there is no {error} in {where}") from error
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise InvalidJobError(f"template {template}: {type(error).__name__}: {error}") from error


@functools.cache
def _environment(folder: Path | None) -> Environment:
    from jinja2 import BaseLoader, ChoiceLoader, FileSystemLoader, PackageLoader, StrictUndefined, select_autoescape
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    loaders: list[BaseLoader] = [FileSystemLoader(folder)] if folder else []
    # In the sandbox a template cannot reach Python's insides: who may write mails may not thereby run code.
    environment = ImmutableSandboxedEnvironment(
        loader=ChoiceLoader([*loaders, PackageLoader("workerpool_worker.jobs.email")]),
        # Escapes in *.html.j2, not in *.txt.j2.
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
        # A value that is missing fails the job instead of sending "Hello ,".
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["money"] = money
    return environment
