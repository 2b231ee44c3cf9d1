"""sms.send: counted, claimed, sent, committed.

No provider has idempotency keys for text messages, so our own effect row is all there is: a claim before, the
provider's id after. Dying (SIGKILL) between the provider's answer and the commit sends the message again.
"""

from __future__ import annotations

from workerpool_worker.jobs.sms.provider import provider_for
from workerpool_worker.jobs.sms.segments import segments_of
from workerpool_worker.models import Sms
from workerpool_worker.runtime.context import JobContext, Outcome
from workerpool_worker.runtime.errors import InvalidJobError
from workerpool_worker.runtime.idempotency import LEFT_ALONE_S
from workerpool_worker.runtime.uninterrupted import uninterrupted


def send_sms(context: JobContext, job: Sms) -> Outcome:
    """Send a text message once.

    Raises:
        InvalidJobError: it takes more segments than the settings allow.
    """
    segments, limit = segments_of(job.text), context.settings.sms_max_segments
    if segments.number > limit:
        raise InvalidJobError(
            f"text: takes {segments.number} segments in {segments.encoding}, SMS_MAX_SEGMENTS is {limit}"
        )
    provider = provider_for(context)
    with context.effect(f"sms:{job.job_id}", job.arguments(), takeover_after_s=LEFT_ALONE_S) as claimed:
        if claimed.already_done:
            return {"outcome": "sent", "repeated": True}
        with uninterrupted():
            receipt = provider.send(to=job.to, text=job.text, reference=job.id)
            return claimed.done(
                {
                    "outcome": "sent",
                    "provider": context.settings.sms_provider,
                    "provider_id": receipt.id,
                    "segments": segments.number,
                }
            )
