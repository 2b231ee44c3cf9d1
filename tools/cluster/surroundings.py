"""What a build needs to know of the machine it runs on: a mirror, a proxy, an authority of one's own.

All of it ends up in the build stages of the Dockerfiles only, never in an image that is kept.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tools.cluster.errors import ClusterError

PASSED_ON: Final = ("BASE_IMAGE", "PIP_INDEX_URL", "UV_DEFAULT_INDEX")
"""Build arguments of the Dockerfiles, given when the variable is set."""

_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_BUNDLES: Final = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")

_ADDED_BY_HAND: Final = (
    Path("/usr/local/share/ca-certificates"),  # Debian, Ubuntu, Alpine
    Path("/etc/pki/ca-trust/source/anchors"),  # Fedora, RHEL
    Path("/etc/ca-certificates/trust-source/anchors"),  # Arch
)
_LARGEST: Final = 100_000
"""A build argument is a word of a command line and a variable; Linux takes 128 KiB for one."""


def build_arguments(env: Mapping[str, str] = os.environ, folders: Sequence[Path] = _ADDED_BY_HAND) -> dict[str, str]:
    """The build arguments that this machine asks for; none on an ordinary one."""
    given = {name: env[name] for name in PASSED_ON if env.get(name)}
    for name in _PROXIES:
        value = env.get(name) or env.get(name.lower())
        if value:
            given[name] = value
    if authorities := extra_ca(env, folders):
        given["EXTRA_CA"] = authorities
    return given


def extra_ca(env: Mapping[str, str] = os.environ, folders: Sequence[Path] = _ADDED_BY_HAND) -> str:
    """Certificates (PEM) that a build has to trust besides the well-known ones; "" for none.

    The file that ``EXTRA_CA`` names wins. Else a small file that another program's variable names. Where that is the
    whole list of the system, the certificates that somebody added to it: the rest is in the base image.
    """
    if named := env.get("EXTRA_CA"):
        text = _certificates(Path(named))
        if not text:
            raise ClusterError(f"EXTRA_CA names {named}, which holds no certificate (PEM)")
        if len(text) > _LARGEST:
            raise ClusterError(f"EXTRA_CA names {named}, which is too large: put just your own authorities into it")
        return text
    for name in _BUNDLES:
        text = _certificates(Path(env[name])) if env.get(name) else ""
        if text and len(text) <= _LARGEST:
            return text
    found = (path for folder in folders if folder.is_dir() for path in sorted(folder.rglob("*.crt")))
    return "".join(_certificates(path) for path in found)


def _certificates(path: Path) -> str:
    """The file's text if it holds certificates; "" if not."""
    try:
        text = path.read_text(encoding="ascii", errors="ignore")
    except OSError:
        return ""
    return text.rstrip() + "\n" if "BEGIN CERTIFICATE" in text else ""
