"""What can go wrong in a job, and whether trying again can help.

    JobError
    ├── TransientError          try again later: the world may change
    │   ├── EffectBusyError     another attempt is at the same effect right now
    │   ├── MailServerError     the mail server is away or said "not now"
    │   ├── RateLimitedError    the other side is well, we ask too often: it says when to come back
    │   │   └── HandOverError   the job is well and long: it has kept what it did, and goes on in a further try
    │   └── ProviderTimeoutError  a provider did not answer; what was asked may have happened
    └── PermanentError          trying again would fail the same way
        ├── InvalidJobError     the message does not describe a job
        ├── EffectMismatchError one business id, two different requests
        ├── MailRefusedError    the mail server will never take this mail
        └── SmsRefusedError     the text message or its number will never be taken

Out of stock, declined and "refund larger than the charge" are none of these: they are answers, recorded as such.
"""

from __future__ import annotations


class JobError(Exception):
    """A job that did not end well."""


class TransientError(JobError):
    """Trying again later may help.

    Attributes:
        retry_after_s: The soonest a further try makes sense, in seconds; None leaves it to the back-off.
    """

    def __init__(self, text: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class EffectBusyError(TransientError):
    """Another attempt holds the effect and its lease has not run out."""


class MailServerError(TransientError):
    """The mail server cannot be used at the moment."""


class RateLimitedError(TransientError):
    """The other side has had enough of us for now; nothing was done and nothing is wrong with the job.

    `retry_after_s` is the other side's own Retry-After where it sent one.
    """


class HandOverError(RateLimitedError):
    """This try did its part of a long job and kept it; a further try goes on from there. Nothing is wrong.

    Raise it after progress only: what ends like this spends no attempt, so one that never gets on would never end.
    """


class ProviderTimeoutError(TransientError):
    """A provider did not answer in time; what was asked may have been done."""


class PermanentError(JobError):
    """Trying again would fail the same way."""


class InvalidJobError(PermanentError):
    """The message's arguments do not describe a job."""


class EffectMismatchError(PermanentError):
    """The same business id came with different parameters."""


class MailRefusedError(PermanentError):
    """The mail or its recipient was refused for good."""


class SmsRefusedError(PermanentError):
    """The text message or its number was refused for good."""
