"""The folder a demo leaves its mails, invoices and picture in: its own, emptied for the next one."""

from __future__ import annotations

import shutil
from pathlib import Path

from workerpool_operator.local.folder_lock import in_use

MARKER = ".workerpool-demo"
"""A file that says a folder is a demo's and may be emptied for the next one."""


class DemoError(Exception):
    """The demo cannot run. The text is one line that says what to do."""


def prepare(output: Path) -> None:
    """Make the demo's folder, or empty the one of an earlier demo; never a folder with anything else in it."""
    try:
        if output.is_dir() and any(output.iterdir()):
            if not (output / MARKER).exists():
                raise DemoError(f"{output} is not empty and is no demo's folder: name another one with --output")
            if in_use(output / "state" / "redis"):
                raise DemoError(f"{output}: a demo still runs there: wait for it, or name another one with --output")
            shutil.rmtree(output)
        output.mkdir(parents=True, exist_ok=True)
        (output / MARKER).touch()
    except OSError as error:
        raise DemoError(
            f"{output}: cannot write there ({error.strerror}): name another folder with --output"
        ) from error
