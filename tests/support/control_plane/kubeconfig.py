"""Kubeconfig files: who speaks to which server."""

from __future__ import annotations

import json
from pathlib import Path


def write_kubeconfig(file: Path, *, url: str, ca_file: Path | None, token: str, namespace: str = "default") -> Path:
    """Write the kubeconfig of one user of one server, readable by its owner alone."""
    server = {"server": url} | ({"certificate-authority": str(ca_file)} if ca_file else {})
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "tests",
        "clusters": [{"name": "tests", "cluster": server}],
        "users": [{"name": "tests", "user": {"token": token}}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests", "namespace": namespace}}],
    }
    file.touch(mode=0o600)
    file.write_text(json.dumps(content, indent=2), encoding="utf-8")
    return file
