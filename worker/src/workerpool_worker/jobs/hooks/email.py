"""hook.email: tells a person that a job is over."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from workerpool_worker.jobs.email.mail import mail_of
from workerpool_worker.jobs.email.render import render
from workerpool_worker.jobs.email.transport import transport_for
from workerpool_worker.jobs.hooks.messages import HookEmail
from workerpool_worker.runtime.context import JobContext, Outcome
from workerpool_worker.runtime.idempotency import LEFT_ALONE_S
from workerpool_worker.runtime.uninterrupted import uninterrupted


def send_hook_email(context: JobContext, job: HookEmail) -> Outcome:
    """Send it once. Its text is of no matter for that: a job that ends twice may say other things each time."""
    values = job.payload.model_dump(mode="json")
    values["finished_at"] = datetime.fromtimestamp(job.payload.finished_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    values["result"] = json.dumps(job.payload.result, indent=2, ensure_ascii=False)
    content = render(f"job_{job.payload.state}", {**values, "id": job.id}, context.settings.email_template_dir)
    mail = mail_of(job, content, (), context.settings)
    transport = transport_for(context.settings)
    about = {"job_id": job.payload.job_id, "state": job.payload.state}
    with context.effect(f"hook:{job.id}", about, takeover_after_s=LEFT_ALONE_S) as claimed:
        if claimed.already_done:
            return {"outcome": "sent", "repeated": True}
        transport.prepare()
        with uninterrupted():
            transport.send(mail)
            return claimed.done({"outcome": "sent", "message_id": mail.message_id})
