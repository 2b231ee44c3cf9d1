"""The judgement on an error, and the policies and limits as people write them."""

from __future__ import annotations

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from hypothesis import given
from hypothesis import strategies as st

from workerpool_worker.messages.history import HISTORY, History
from workerpool_worker.runtime.errors import (
    EffectBusyError,
    HandOverError,
    MailServerError,
    PermanentError,
    RateLimitedError,
    TransientError,
)
from workerpool_worker.runtime.limits import RateLimit, parse_limits
from workerpool_worker.runtime.retry import (
    LONGEST_WAIT_S,
    Dead,
    Later,
    RetryPolicy,
    judge,
    parse_policies,
    policy_of,
    seconds_of,
)
from workerpool_worker.settings import SettingsError, load_settings

pytestmark = pytest.mark.unit

POLICY = RetryPolicy(attempts=2, base_s=1, cap_s=30)


def judged(error: BaseException, history: History | None = None, *, policy: RetryPolicy = POLICY) -> Later | Dead:
    return judge(error, history or History(), policy, random=0.5, unknown_retries=1, max_deferrals=3)


@given(tries=st.integers(0, 10_000), random=st.floats(0, 1, exclude_max=True))
def test_a_growing_wait_is_jittered_fully_and_never_above_the_cap(tries: int, random: float) -> None:
    delay_s = RetryPolicy(attempts=5, base_s=0.5, cap_s=30).delay_s(tries, random)
    assert 0 <= delay_s <= min(30, 0.5 * 2 ** min(tries, 40))


@given(tries=st.integers(0, 10_000), random=st.floats(0, 1, exclude_max=True))
def test_a_fixed_wait_stays_within_a_tenth(tries: int, random: float) -> None:
    delay_s = RetryPolicy(attempts=5, base_s=30, cap_s=30, fixed=True).delay_s(tries, random)
    assert 27 <= delay_s <= 33


def test_a_permanent_error_ends_the_job_now() -> None:
    verdict = judged(PermanentError("no"))
    assert isinstance(verdict, Dead)
    assert verdict.history == History(tries=1)


@pytest.mark.parametrize("error", [MailServerError("away"), SoftTimeLimitExceeded()])
def test_a_transient_error_is_tried_again_until_the_policy_ends(error: BaseException) -> None:
    first = judged(error)
    assert first == Later(delay_s=0.5, history=History(tries=1))
    second = judged(error, first.history)
    assert second == Later(delay_s=1.0, history=History(tries=2))
    last = judged(error, second.history)
    assert isinstance(last, Dead)
    assert (last.history.tries, last.reason) == (3, "given up after 2 retries")


def test_an_error_nobody_foresaw_gets_few_tries_though_the_policy_has_many() -> None:
    many = RetryPolicy(attempts=100, base_s=1, cap_s=30)
    first = judged(KeyError("x"), policy=many)
    assert first == Later(delay_s=0.5, history=History(tries=1, unknown=1))
    assert isinstance(judged(KeyError("x"), first.history, policy=many), Dead)


def test_a_rate_limit_waits_as_long_as_asked_and_spends_no_try() -> None:
    verdict = judged(RateLimitedError("later", retry_after_s=90), History(tries=2))
    assert isinstance(verdict, Later)
    assert verdict.delay_s == pytest.approx(94.5)
    assert (verdict.history, verdict.deferred) == (History(tries=2, deferred=1), True)
    assert isinstance(judged(RateLimitedError("later"), History(deferred=3)), Dead)


def test_a_job_that_hands_over_has_its_tries_before_it_again() -> None:
    verdict = judged(HandOverError("on with page 7"), History(tries=2, unknown=1, lost=1, deferred=1))
    assert isinstance(verdict, Later)
    assert verdict.history == History(deferred=2)


def test_no_answer_makes_a_job_wait_for_longer_than_a_day() -> None:
    verdict = judged(RateLimitedError("next year", retry_after_s=4e7))
    assert isinstance(verdict, Later)
    assert verdict.delay_s == LONGEST_WAIT_S


def test_a_try_that_waits_for_a_claim_still_knows_that_the_one_before_was_cut_off() -> None:
    busy = judged(EffectBusyError("busy", retry_after_s=5), History(cut_off=True))
    assert busy.history.cut_off
    assert not judged(TransientError("x"), History(cut_off=True)).history.cut_off


def test_a_slot_is_used_once() -> None:
    assert judged(TransientError("x"), History(slot_s=5.0)).history.slot_s == 0
    assert judged(RateLimitedError("x"), History(slot_s=5.0)).history.slot_s == 0


def test_a_history_travels_in_a_header_and_nonsense_counts_as_none() -> None:
    history = History(tries=3, unknown=1, lost=2, deferred=4, slot_s=7.5, cut_off=True)
    assert History.of({HISTORY: history.as_header()}) == history
    assert History().as_header() == {}
    odds: tuple[object, ...] = (
        None,
        "x",
        5,
        [],
        {"tries": "many", "lost": -1, "slot_s": None, "cut_off": 1},
        {"tries": True},
    )
    for odd in odds:
        assert History.of({HISTORY: odd}) == History()


def test_policies_are_read_as_they_are_written() -> None:
    policies = parse_policies("email.*: attempts=5, base=1s, cap=5m; payment.verify: attempts=10, every=30s;")
    assert policies == (
        ("email.*", RetryPolicy(attempts=5, base_s=1, cap_s=300)),
        ("payment.verify", RetryPolicy(attempts=10, base_s=30, cap_s=30, fixed=True)),
    )
    assert policy_of("email.welcome", policies, POLICY).attempts == 5
    assert policy_of("order.process", policies, POLICY) is POLICY


@pytest.mark.parametrize(
    "text",
    [
        "email.*",
        "email.*: base=1s",
        "email.*: attempts=x",
        "email.*: attempts=1, every=1s, cap=5s",
        "email.*: attempts=1, base=5",
        "email.*: attempts=1, base=10m, cap=1m",
        "email.*: attempts=1, tries=2",
        ": attempts=1",
    ],
)
def test_a_policy_that_cannot_be_read_stops_the_start_with_the_variable_and_the_entry(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"WORKERPOOL_RETRY_POLICIES": text})
    assert str(caught.value).startswith("WORKERPOOL_RETRY_POLICIES: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("1.5s", 1.5), ("5m", 300), ("2h", 7200), ("1d", 86_400)]
)
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "0s", "-1s", "1 s", "1w", "s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        seconds_of(text)


def test_limits_are_read_as_they_are_written() -> None:
    assert parse_limits("queue:email=100/m, provider:stripe=25/s burst 50") == (
        RateLimit(kind="queue", name="email", jobs=100, per_s=60, burst=1),
        RateLimit(kind="provider", name="stripe", jobs=25, per_s=1, burst=50),
    )
    settings = load_settings({"WORKERPOOL_RATE_LIMITS": "queue:email=100/m, provider:stripe=25/s burst 50"})
    assert [limit.name for limit in settings.limits_of(queue="payment", provider="stripe")] == ["stripe"]
    assert [limit.name for limit in settings.limits_of(queue="email", provider="smtp")] == ["email"]
    assert settings.limits_of(queue="order", provider=None) == ()


@pytest.mark.parametrize(
    "text", ["email=5/s", "queue:email=5", "queue:email=0/s", "queue:a=1/s burst 0", "queue:a=-1/s"]
)
def test_a_limit_that_cannot_be_read_stops_the_start(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^WORKERPOOL_RATE_LIMITS: "):
        load_settings({"WORKERPOOL_RATE_LIMITS": text})
