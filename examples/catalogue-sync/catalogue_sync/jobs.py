"""The message, and the table the worker reads. The worker's main process imports this module: nothing large in here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from workerpool_worker.api import BusinessId, Job, JobSpec

# The message lies in Redis and its id in logs: a password has no place in either, so a URL with one is refused.
FeedUrl = Annotated[str, StringConstraints(max_length=500, pattern=r"^https?://[^\s/@?#]+([/?][^\s#]*)?$")]


class CatalogueSync(Job):
    """One import of a whole catalogue. The same id again is the same import: it goes on, or is already done."""

    task = "catalogue.sync"
    queue = "catalogue"
    prefix = "catalogue-sync"

    # The completion mail's id is made of this one and has to fit too.
    id: Annotated[BusinessId, Field(max_length=100)]
    feed_url: FeedUrl
    page_size: Annotated[int, Field(ge=1, le=1_000)] = 100
    report_to: Annotated[str, StringConstraints(max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")] | None = None


JOBS = (JobSpec(CatalogueSync, "catalogue_sync.sync:sync_catalogue", provider=lambda _: "catalogue"),)
