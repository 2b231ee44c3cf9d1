"""When to try again, and when to give up: a pure judgement on an error."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, replace

from workerpool_worker.messages.history import History
from workerpool_worker.runtime.errors import (
    EffectBusyError,
    HandOverError,
    PermanentError,
    RateLimitedError,
    TransientError,
)

LONGEST_WAIT_S = 86_400.0
"""A provider that says "come back next year" is asked again the next day."""

_SPREAD = 0.1
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How a task is tried again.

    Full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"): uniform in [0, min(cap, base * 2^n)].
    Many jobs that failed together, because the mail server was away, do not come back together.

    Attributes:
        attempts: Tries after the first.
        base_s: The first back-off; of a fixed policy, every one.
        cap_s: The longest back-off.
        fixed: Whether every wait is `base_s`, give or take a tenth, instead of growing.
    """

    attempts: int
    base_s: float
    cap_s: float
    fixed: bool = False

    def delay_s(self, tries: int, random: float) -> float:
        """Seconds to wait after `tries` tries were spent before this one; `random` is in [0, 1)."""
        if self.fixed:
            return self.base_s * (0.9 + 0.2 * random)
        # 2**40 is far beyond any cap, and an exponent without bound would overflow a float.
        return random * min(self.cap_s, self.base_s * 2.0 ** min(tries, 40))


@dataclass(frozen=True, kw_only=True)
class Later:
    """Try again in `delay_s`; `history` is what the job then has behind it. `deferred`: no try was spent."""

    delay_s: float
    history: History
    deferred: bool = False


@dataclass(frozen=True, kw_only=True)
class Dead:
    """Give up; `reason` says why no further try is made."""

    history: History
    reason: str


def judge(
    error: BaseException,
    history: History,
    policy: RetryPolicy,
    *,
    random: float,
    unknown_retries: int,
    max_deferrals: int,
) -> Later | Dead:
    """What is to become of a job whose try ended with this error.

    - Permanent: given up now.
    - Rate-limited, handed over, or the effect is in another try's hands: put off as long as was asked for; no try is
      spent. A job that hands over has come further, so its earlier errors no longer count.
    - Transient, or the soft time limit: tried again by the policy.
    - Anything else is a fault nobody foresaw: a few tries, by the policy's waits.

    Args:
        error: What ended the try.
        history: What the job had behind it when the try began.
        policy: Of its task.
        random: In [0, 1).
        unknown_retries: Tries after errors nobody foresaw.
        max_deferrals: Times a job may be put off without spending a try.
    """
    spent = replace(history, tries=history.tries + 1, cut_off=False, slot_s=0.0)
    wait_s = policy.delay_s(history.tries, random)
    if isinstance(error, PermanentError):
        return Dead(history=spent, reason="trying again would not help")
    if isinstance(error, RateLimitedError | EffectBusyError):
        # A try that waits for the claim of one that was cut off has to say so, or it would wait for it as for a
        # living one's: minutes instead of seconds.
        cut_off = history.cut_off and isinstance(error, EffectBusyError)
        if history.deferred >= max_deferrals:
            return Dead(history=spent, reason=f"put off {history.deferred} times")
        put_off = replace(spent, tries=history.tries, deferred=history.deferred + 1, cut_off=cut_off)
        if isinstance(error, HandOverError):
            # It came further, so what went wrong on the way is behind it.
            put_off = replace(put_off, tries=0, unknown=0, lost=0)
        asked_s = error.retry_after_s
        # When to come back was said: a little later, so that all who were told the same do not come back as one.
        wait_s = wait_s if asked_s is None else min(asked_s * (1 + _SPREAD * random), LONGEST_WAIT_S)
        return Later(delay_s=wait_s, history=put_off, deferred=True)
    foreseen = isinstance(error, TransientError) or type(error).__name__ == "SoftTimeLimitExceeded"
    if not foreseen:
        spent = replace(spent, unknown=history.unknown + 1)
        if spent.unknown > unknown_retries:
            return Dead(history=spent, reason=f"given up after {unknown_retries} retries of an error nobody foresaw")
    if spent.tries > policy.attempts:
        return Dead(history=spent, reason=f"given up after {policy.attempts} retries")
    return Later(delay_s=_soonest(error, wait_s), history=spent)


def _soonest(error: BaseException, wait_s: float) -> float:
    asked_s = error.retry_after_s if isinstance(error, TransientError) else None
    return min(max(wait_s, asked_s or 0.0), LONGEST_WAIT_S)


Policies = tuple[tuple[str, RetryPolicy], ...]


def policy_of(task: str, policies: Policies, general: RetryPolicy) -> RetryPolicy:
    """The policy of the first pattern (shell wildcards) that matches the task's name."""
    return next((policy for pattern, policy in policies if fnmatch.fnmatchcase(task, pattern)), general)


def parse_policies(text: str) -> Policies:
    """Read `email.*: attempts=5, base=1s, cap=5m; payment.verify: attempts=10, every=30s`.

    Raises:
        ValueError: it cannot be read; the text names the entry.
    """
    return tuple(_entry(part.strip()) for part in text.split(";") if part.strip())


def _entry(text: str) -> tuple[str, RetryPolicy]:
    pattern, colon, rest = text.partition(":")
    pairs = [part.partition("=") for part in rest.split(",")]
    values = {name.strip(): value.strip() for name, _, value in pairs}
    unknown = values.keys() - {"attempts", "base", "cap", "every"}
    if not colon or not pattern.strip() or unknown or not values.get("attempts", "").isdigit():
        raise ValueError(
            f"{text!r} must be TASK: attempts=5, base=1s, cap=5m (growing) or TASK: attempts=5, every=30s (fixed)"
        )
    attempts = int(values["attempts"])
    if "every" in values:
        if values.keys() & {"base", "cap"}:
            raise ValueError(f"{text!r} has both every (fixed) and base or cap (growing)")
        every_s = seconds_of(values["every"])
        return pattern.strip(), RetryPolicy(attempts=attempts, base_s=every_s, cap_s=every_s, fixed=True)
    base_s, cap_s = seconds_of(values.get("base", "500ms")), seconds_of(values.get("cap", "5m"))
    if base_s > cap_s:
        raise ValueError(f"{text!r}: base is longer than cap")
    return pattern.strip(), RetryPolicy(attempts=attempts, base_s=base_s, cap_s=cap_s)


def seconds_of(text: str) -> float:
    """Read a duration such as 500ms, 30s, 5m, 2h or 1d.

    Raises:
        ValueError: it is none.
    """
    found = _DURATION.fullmatch(text)
    if found is None or not float(found[1]):
        raise ValueError(f"{text!r} must be a duration such as 500ms, 30s, 5m or 2h")
    return float(found[1]) * _UNITS_S[found[2]]
