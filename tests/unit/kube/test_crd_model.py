"""The CRD's bounds and the model agree, over values at and around every bound."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.support.structural import leaves, refusals
from tests.unit.resource.documents import VALID
from tests.unit.resource.test_fuzz import PLACES, VALUES, put
from workerpool_operator.kube.crd import schema
from workerpool_operator.resource import ResourceError, WorkerPool, parse_pool

pytestmark = pytest.mark.unit

SPEC = schema()["properties"]["spec"]
# What the model asks beyond the bounds; the server asks a part of it in CEL.
BEYOND = {"url", "start", "end", "timeZone", "priorities"}
FULL = copy.deepcopy(VALID)
FULL["spec"]["deploymentRef"] = {"name": "mailer"}
FULL["spec"]["broker"]["url"] = "rediss://redis:6379/0"
FULL["spec"]["worker"]["env"][1]["valueFrom"] |= {
    "configMapKeyRef": {"name": "c", "key": "k"},
    "fieldRef": {"fieldPath": "metadata.name", "apiVersion": "v1"},
    "resourceFieldRef": {"resource": "limits.memory", "containerName": "worker", "divisor": 1},
}
FULL["spec"]["worker"]["env"].insert(0, FULL["spec"]["worker"]["env"].pop(1))
FULL["spec"]["worker"]["envFrom"][0]["secretRef"] = {"name": "s"}
FULL["spec"]["worker"]["topologySpreadConstraints"][0] |= {
    "labelSelector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]},
    "matchLabelKeys": ["a"],
}
LEAVES = dict(leaves(SPEC))


def place(path: tuple[str, ...]) -> list[str | int]:
    return ["spec", *(0 if part == "[]" else part for part in path)]


def around(field: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values at and around the bounds of a field, and of other types."""
    other: st.SearchStrategy[Any] = st.sampled_from([True, 1.5, "x", 7, [], {}, ["x"], {"a": "b"}, {"a": {}}, [[]]])
    if field.get("enum"):
        return st.sampled_from([*field["enum"], field["enum"][0].lower(), ""]) | other
    if field.get("type") == "integer":
        low, high = field["minimum"], field.get("maximum", 2**63 - 1)
        return st.integers(low - 2, low + 2) | st.integers(high - 2, high + 2) | other
    if field.get("type") == "array":
        return st.sampled_from([["x"] * size for size in (field.get("minItems", 0), field["maxItems"] + 1)]) | other
    if field.get("type") == "object":
        return (
            st.sampled_from([{f"k{n}": "x" for n in range(field["maxProperties"] + more)} for more in (0, 1)]) | other
        )
    longest, shortest = field.get("maxLength", 0), field.get("minLength", 0)
    lengths = st.sampled_from([max(shortest - 1, 0), shortest, longest, longest + 1])
    texts = st.text(alphabet="aA0.-_/: ,=@\n\x7fé", max_size=6)
    return lengths.map(lambda length: "a" * length) | texts | st.integers(-1, 1) | other


@pytest.mark.parametrize("path", LEAVES, ids=".".join)
def test_every_field_of_the_crd_is_reached(path: tuple[str, ...]) -> None:
    """The document below has a place for each, or the property would pass over it."""
    node: Any = FULL
    for part in place(path)[:-1]:
        node = node[part]

    assert isinstance(node, list if path[-1] == "[]" else dict)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_value_is_within_the_bounds_of_both_or_of_neither(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(list(LEAVES)))
    value = data.draw(around(dict(LEAVES[path])))
    document: Any = copy.deepcopy(FULL)
    node: Any = document
    *parents, name = place(path)
    for part in parents:
        node = node[part]
    node[name] = value

    refused = list(refusals(SPEC, document["spec"], "spec"))
    told = problems(document)
    is_beyond = any(part in BEYOND for part in path)
    # Of a map the schema says nothing of the keys; CEL does.
    is_map = LEAVES[path].get("type") == "object"

    if refused:
        assert told, refused
    elif not is_beyond and not is_map:
        assert told == [], (path, value)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES, st.text(max_size=4)), min_size=1, max_size=3))
def test_what_the_operator_takes_the_crd_takes(changes: list[tuple[Any, ...]]) -> None:
    document: Any = copy.deepcopy(VALID)
    for path, value, key in changes:
        put(document, path, value, key)
    try:
        pool = parse_pool(document)
    except ResourceError:
        return

    assert list(refusals(SPEC, pool.to_dict()["spec"], "spec")) == []


def problems(document: dict[str, Any]) -> list[Any]:
    """What the model alone refuses, without the rules that span fields."""
    try:
        WorkerPool.model_validate_json(json.dumps(document), by_alias=True, by_name=False)
    except ValidationError as error:
        return list(error.errors(include_url=False))
    return []
