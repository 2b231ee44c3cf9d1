"""Whatever a pool is changed to: the API server takes it or names a place in the spec, and so does the operator."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.support.control_plane.cluster import ControlPlane
from tests.unit.resource.documents import VALID
from tests.unit.resource.test_fuzz import PLACES, VALUES, put
from workerpool_operator.resource import ResourceError, parse_pool

pytestmark = pytest.mark.integration

IN_THE_SPEC = [path for path in PLACES if path[:1] == ("spec",) and len(path) > 1]
WHERE = "/apis/workerpool.dev/v1alpha1/namespaces/default/workerpools"
SIZES = st.integers(-1, 40)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(IN_THE_SPEC), VALUES | SIZES, st.text(max_size=4)), min_size=1, max_size=3))
def test_any_change_is_taken_or_named(control_plane: ControlPlane, changes: list[tuple[Any, ...]]) -> None:
    document: Any = copy.deepcopy(VALID)
    document["metadata"] = {"name": "email", "namespace": "default"}
    for path, value, key in changes:
        put(document, path, value, key)
    assume(is_json(document))

    answer = control_plane.api.request("POST", WHERE, document, fieldValidation="Strict", dryRun="All")

    if answer.status != 201:
        assert 400 <= answer.status < 500, answer.body
        assert "spec" in answer.body["message"]
        return
    try:
        pool = parse_pool(answer.body)
    except ResourceError as error:
        assert str(error)  # noqa: PT017
        assert all(problem.path[:1] == ("spec",) for problem in error.problems), error  # noqa: PT017
    else:
        assert parse_pool(pool.to_dict()) == pool


def is_json(document: Any) -> bool:
    """Whether a client can send it at all: neither NaN nor half a surrogate pair."""
    try:
        json.dumps(document, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        return False
    return True
