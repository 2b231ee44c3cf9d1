"""The rules on one text say in CEL what the model says in Python."""

from __future__ import annotations

import re
import zoneinfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workerpool_operator.kube.crd_rules import ADDRESS, FIVE_FIELDS, PASSWORD_IN_QUERY, PASSWORD_OF_USER, TIME_ZONE
from workerpool_operator.resource.broker import check_url
from workerpool_operator.resource.cron import check_cron

pytestmark = pytest.mark.unit

WORD = st.text(alphabet="ab1.-_~%", max_size=4)
USERS = st.just("") | st.tuples(WORD, st.sampled_from(["", ":", "%3A", "%3a", "::"]), WORD).map("".join).map(
    "{}@".format
)
KEYS = st.sampled_from(["db", "password", "sentinel_password", "PASSWORD", "passwords", "pass"])
QUERIES = st.just("") | st.lists(st.tuples(KEYS, WORD).map("=".join), min_size=1, max_size=2).map("&".join).map(
    "?{}".format
)
HOSTS = st.sampled_from(["redis", "redis:6379", "[::1]:6379", "a:1,b:2", ""])
SCHEMES = st.sampled_from(["redis", "rediss", "redis+sentinel", "rediss+sentinel", "unix", "amqp", "Redis", ""])
URLS = st.tuples(
    SCHEMES, st.just("://"), USERS, HOSTS, st.sampled_from(["", "/", "/0", "/m/0", "/a:b@c"]), QUERIES
).map("".join)


@settings(max_examples=500, deadline=None)
@given(URLS)
def test_a_password_in_a_url_is_seen_by_both(url: str) -> None:
    matches = bool(re.search(PASSWORD_OF_USER, url) or re.search(PASSWORD_IN_QUERY, url))
    try:
        check_url(url)
    except ValueError as error:
        assert matches or "holds a password" not in str(error)  # noqa: PT017
    else:
        assert not matches
        assert re.search(ADDRESS, url)


def test_every_time_zone_is_one() -> None:
    assert [zone for zone in zoneinfo.available_timezones() if not re.search(TIME_ZONE, zone)] == []


@given(
    st.lists(st.sampled_from(["0", "*", "*/5", "1-3", "MON", "JAN", "L"]), min_size=4, max_size=6),
    st.sampled_from([" ", "  ", "\t"]),
)
def test_what_is_a_cron_expression_has_five_fields(fields: list[str], space: str) -> None:
    text = space.join(fields)
    try:
        check_cron(text)
    except ValueError:
        return

    assert re.search(FIVE_FIELDS, text)
