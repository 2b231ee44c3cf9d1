"""A cluster that somebody else runs: the one named by ``WORKERPOOL_TEST_KUBECONFIG``, never the ambient one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .api import Api
from .cluster import ControlPlane

VARIABLE = "WORKERPOOL_TEST_KUBECONFIG"


def named_kubeconfig() -> Path | None:
    """The kubeconfig that was named for the tests."""
    value = os.environ.get(VARIABLE)
    return Path(value).expanduser() if value else None


def trouble_with(kubeconfig: Path) -> str | None:
    """Why a kubeconfig is of no use, None when its server is ready."""
    try:
        with Api(kubeconfig) as api:
            answer = api.request("GET", "/readyz", timeout_s=5)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it is to be told
        return f"{type(error).__name__}: {error}"
    return None if answer.status == 200 else f"{api.url}/readyz says {answer.status}: {answer.body}"


@contextmanager
def external_control_plane(kubeconfig: Path, folder: Path) -> Iterator[ControlPlane]:
    """A cluster that is there already and stays."""
    kubectl = shutil.which("kubectl")
    with Api(kubeconfig) as api:
        yield ControlPlane(
            api=api,
            folder=folder,
            ca_file=api.ca_file,
            kubectl=Path(kubectl) if kubectl else None,
            said=f"the cluster of ${VARIABLE}",
        )
