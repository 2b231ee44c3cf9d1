"""The job. Read a page outside any transaction, keep it and the cursor in one, say how far it is, and so on.

Whatever ends a try (a kill, a time limit, a feed that is away), the next one goes on behind the last page that was
kept; the page at hand is read again, and nothing else.
"""

from __future__ import annotations

import json
import time

from catalogue_sync import runs
from catalogue_sync.feed import fetch
from catalogue_sync.jobs import CatalogueSync
from catalogue_sync.tables import metadata
from workerpool_worker.api import Email, HandOverError, JobContext, Outcome, create_missing

# Of the soft time limit: what is left must do for the page at hand.
_SHARE_OF_THE_LIMIT = 0.75
_NEXT_TRY_S = 1.0


def sync_catalogue(context: JobContext, job: CatalogueSync) -> Outcome:
    """Import the whole feed, in as many tries as it takes."""
    stop_at = time.monotonic() + _SHARE_OF_THE_LIMIT * context.settings.soft_time_limit_seconds
    create_missing(context.engine, metadata)
    run = runs.begin(context.engine, job)
    repeated = run.cursor is None
    while run.cursor is not None:
        page = fetch(run.cursor, known_etag=runs.known_etag(context.engine, run))
        run = runs.keep(context.engine, run, page)
        context.progress(run.percent, f"{run.pages} pages, {run.seen} articles")
        if run.cursor is not None and time.monotonic() > stop_at:
            # Better than the time limit: that costs an attempt and may cut a page in two.
            raise HandOverError(f"{run.pages} pages are in; the next try goes on", retry_after_s=_NEXT_TRY_S)
    if job.report_to is not None:
        # Last, and with an id made of the job's: however often we come by here, it is one mail.
        context.publish(_report(job, run))
    outcome: Outcome = {"outcome": "synced", **_counts(run)}
    return outcome | {"repeated": True} if repeated else outcome


def _counts(run: runs.Run) -> dict[str, int]:
    names = ("pages", "added", "changed", "unchanged", "vanished", "bad")
    return {name: getattr(run, name) for name in names}


def _report(job: CatalogueSync, run: runs.Run) -> Email:
    lines = [f"{job.feed_url}", "", *(f"{name}: {count}" for name, count in _counts(run).items())]
    complaints = json.loads(run.complaints)
    if complaints:
        lines += ["", f"Articles that could not be taken (the first {len(complaints)} of {run.bad}):", *complaints]
    if run.nameless:
        lines += ["", f"{run.nameless} articles have no readable sku, so none was marked as vanished."]
    elif not run.seen:
        lines += ["", "The feed is empty, so no article was marked as vanished."]
    subject = f"Catalogue import {job.id}: {run.added} new, {run.changed} changed, {run.vanished} vanished"
    return Email(id=f"catalogue-sync-{job.id}", to=job.report_to or "", subject=subject, text="\n".join(lines))
