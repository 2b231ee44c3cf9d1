"""The control plane serves WorkerPools and the kinds of the Prometheus Operator."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chart.kubeconform import Kubeconform
from tests.support.control_plane.api import Object
from tools.kube_schemas import ensure, monitoring_crds, write_crd
from tools.kube_sources import SchemaError
from workerpool_operator.kube.crd import crd


@pytest.fixture(scope="session")
def custom_resources() -> list[Object]:
    try:
        return [crd(), *monitoring_crds()]
    except SchemaError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def kubeconform(tmp_path_factory: pytest.TempPathFactory) -> Kubeconform:
    """Strict schemas of all supported versions of Kubernetes, and of WorkerPools as the model has them now."""
    try:
        cached = ensure()
    except SchemaError as error:
        pytest.fail(str(error), pytrace=False)
    own: Path = tmp_path_factory.mktemp("schemas")
    write_crd(crd(), own / "crds" / "workerpool.dev")
    return Kubeconform(folders=(cached, own))
