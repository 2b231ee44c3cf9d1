"""Run uv, bringing it along where there is none: ``python3 tools/bootstrap.py [UV ARGUMENTS]``.

Needs only Python's standard library. A uv on PATH is used when it is recent enough. Otherwise the pinned one of
tools/uv.txt is installed with pip into a folder of its own in the user's cache, outside the checkout, once. Without
arguments it makes the project's environment, ``.venv``, with the Python that runs this file.
"""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

MINIMUM_PYTHON = (3, 11)
PIN = Path(__file__).with_name("uv.txt")


def fail(message: str) -> None:
    """End with one line on standard error."""
    sys.stderr.write(f"workerpool: {message}\n")
    sys.exit(1)


def pinned_version() -> str:
    """The version of uv that the project is built with."""
    return PIN.read_text(encoding="utf-8").split("==")[1].split()[0]


def version_of(program: str) -> tuple[int, ...]:
    """The version a uv says it is; () when it says nothing that can be read."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=20).stdout
        return tuple(int(part) for part in said.split()[1].split("."))
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return ()


def installed() -> str | None:
    """A uv that is already there and is at least the pinned version."""
    wanted = tuple(int(part) for part in pinned_version().split("."))
    found = shutil.which("uv")
    return found if found and version_of(found) >= wanted else None


def install(home: Path) -> str:
    """Install the pinned uv into ``home``, or give the one already there."""
    program = home / "bin" / "uv"
    if version_of(str(program)):
        return str(program)
    sys.stderr.write(f"workerpool: installing uv {pinned_version()} into {home}\n")
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as scratch:
        target = Path(scratch) / "uv"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--root-user-action=ignore", "--target", str(target), "--requirement", str(PIN)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            fail(
                f"could not install uv with pip ({last}). Install uv by hand, or pip (Debian: apt install python3-pip)"
            )
        shutil.rmtree(home, ignore_errors=True)
        target.rename(home)
    return str(program)


def environment() -> dict[str, str]:
    """The environment of uv: it trusts whom this machine trusts, as pip does, where the machine says whom.

    By itself it trusts a list of its own, which knows nothing of the certificate of a company's proxy.
    """
    known = ssl.get_default_verify_paths()
    own = known.cafile is not None or (known.capath is not None and any(Path(known.capath).iterdir()))
    return {"UV_SYSTEM_CERTS": "true", **os.environ} if own else dict(os.environ)


def main() -> None:
    """Find or bring uv and run it."""
    if sys.version_info < MINIMUM_PYTHON:
        need = ".".join(map(str, MINIMUM_PYTHON))
        fail(f"Python {need} or later is needed; python3 is {sysconfig.get_python_version()}")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    uv = installed() or install(cache / "workerpool" / f"uv-{pinned_version()}")
    arguments = sys.argv[1:]
    if not arguments:
        sys.stderr.write("workerpool: making .venv\n")
        arguments = ["sync", "--frozen", "--all-packages", "--all-extras", "--compile-bytecode", "--quiet"]
        arguments += ["--python", sys.executable]
    sys.exit(subprocess.run([uv, *arguments], env=environment(), check=False).returncode)


if __name__ == "__main__":
    main()
