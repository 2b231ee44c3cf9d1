"""maintenance.report: how a day was, as a mail. A day is told of once."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import asdict

from redis.exceptions import RedisError

from workerpool_worker.broker.connect import client_for
from workerpool_worker.broker.errors import reason
from workerpool_worker.jobs.email.render import render
from workerpool_worker.jobs.maintenance.figures import Day, of_database, of_redis
from workerpool_worker.jobs.maintenance.messages import Report
from workerpool_worker.models import Email
from workerpool_worker.runtime.context import JobContext, Outcome
from workerpool_worker.runtime.errors import PermanentError, TransientError
from workerpool_worker.runtime.idempotency import once_in_transaction
from workerpool_worker.schedules.cron import time_zone


def report(context: JobContext, job: Report) -> Outcome:
    """Gather, write down, and send the mail. What was written down is what is sent, also on a repeat."""
    settings = context.settings
    if not settings.report_email:
        raise PermanentError("REPORT_EMAIL is not set: there is nobody to report to")
    zone = time_zone(settings.cron_time_zone)
    day = job.day or dt.datetime.fromtimestamp(time.time(), zone).date() - dt.timedelta(days=1)
    content = _content(context, day, zone)
    kept, first = once_in_transaction(
        context.engine,
        f"report:{day.isoformat()}",
        {"day": day.isoformat()},
        lambda _: {"to": settings.report_email, **content},
        owner=context.job_id,
    )
    context.publish(
        Email(
            id=f"report-{day.isoformat()}",
            to=kept["to"],
            subject=kept["subject"],
            text=kept["text"],
            html=kept["html"],
        )
    )
    return {"outcome": "reported", "day": day.isoformat(), "repeated": not first}


def _content(context: JobContext, day: dt.date, zone: dt.tzinfo) -> dict[str, str | None]:
    settings = context.settings
    window = Day.of(day, zone)
    try:
        with client_for(settings) as client:
            now = of_redis(client, settings.queues, window, now_s=time.time())
    except (RedisError, OSError) as error:
        raise TransientError(f"Redis: {reason(error, settings.broker)}") from error
    figures = asdict(of_database(context.engine, window)) | asdict(now)
    values = {**figures, "day": day.isoformat(), "zone": settings.cron_time_zone}
    found = render("daily_report", values, settings.email_template_dir)
    return {"subject": found.subject.strip(), "text": found.text, "html": found.html}
