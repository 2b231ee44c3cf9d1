"""Whatever a document holds: one type of error, and every problem says where."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.resource.documents import VALID, text_of
from workerpool_operator.resource import ResourceError, World, load_pools, parse_pool

pytestmark = pytest.mark.unit

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["0 9 * * *", "* * * * L", "0 0 * * 1#9", "1Gi", "redis://a:b@c", "Europe", "", "\ud800", "L/2 L"]
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.sampled_from(["name", "key", "url", "[key]"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, entry in entries for place in places(entry, (*path, key)))]


PLACES = places(VALID)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.sampled_from(PLACES), VALUES, st.text(max_size=4)), min_size=1, max_size=3),
    st.sampled_from(World),
)
def test_any_change_of_a_valid_document_is_valid_or_told(changes: list[tuple[Any, ...]], world: World) -> None:
    document: Any = copy.deepcopy(VALID)
    for path, value, key in changes:
        put(document, path, value, key)

    check(document, world)


def put(document: Any, path: tuple[Any, ...], value: Any, key: str) -> None:
    """Replace what is at the path and add a field beside it, where an earlier change has left the path."""
    node = document
    for part in path[:-1]:
        is_there = part in node if isinstance(node, dict) else isinstance(node, list) and part in range(len(node))
        if not is_there:
            return
        node = node[part]
    if isinstance(node, dict):
        node[path[-1] if path else key] = value
        node.setdefault(key, value)
    elif isinstance(node, list) and path[-1] in range(len(node)):
        node[path[-1]] = value


def check(document: Any, world: World) -> None:
    try:
        pool = parse_pool(document, world=world)
    except ResourceError as error:
        assert error.problems  # noqa: PT017
        for problem in error.problems:
            assert problem.path or "must be a WorkerPool" in problem.message or "must be text" in problem.message
            assert "is not valid; see" not in problem.message, problem
            assert "\n" not in str(problem)
    else:
        assert parse_pool(pool.to_dict(), world=world) == pool


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | st.text(alphabet="ab:-[]{}&*!|>'\"# \n\t,?<~1.", max_size=40))
def test_any_text_is_pools_or_told(text: str) -> None:
    for candidate in (text, text_of(VALID) + text):
        try:
            load_pools(candidate)
        except ResourceError as error:
            assert error.problems  # noqa: PT017
            assert all(str(problem).startswith("pools.yaml") for problem in error.problems)  # noqa: PT017
