"""The control plane serves WorkerPools from its start."""

from __future__ import annotations

import pytest

from tests.support.control_plane.api import Object
from workerpool_operator.kube.crd import crd


@pytest.fixture(scope="session")
def custom_resources() -> list[Object]:
    return [crd()]
