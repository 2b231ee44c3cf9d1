"""The example in real workers: fetched over HTTP, killed in the middle, every article once and one mail."""

from __future__ import annotations

import os
import signal
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from catalogue_sync.jobs import CatalogueSync
from catalogue_sync.tables import articles
from tests.integration.worker.bench import COMMAND, Bench, Worker, until
from tests.support.providers.catalogue import PATH, Catalogue
from tests.support.providers.fake_web import FakeWeb, Reply
from tests.support.smtp import Mailbox
from workerpool_worker.runtime.database import make_engine
from workerpool_worker.store import queries

pytestmark = pytest.mark.integration

EXAMPLE = Path(__file__).parents[3] / "examples" / "catalogue-sync"
PAGES = 50
PAGE_SIZE = 20
COUNT = PAGES * PAGE_SIZE - 7


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue(COUNT)


@pytest.fixture
def web(catalogue: Catalogue) -> Iterator[FakeWeb]:
    with FakeWeb(catalogue.reply) as served:
        yield served


def start(bench: Bench, *folders: Path, **more: object) -> Worker:
    path = os.pathsep.join(map(str, (EXAMPLE, *folders)))
    return bench.start(**({"PYTHONPATH": path, "WORKERPOOL_QUEUES": "catalogue,email"} | more))


def named(bench: Bench, **more: object) -> Worker:
    return start(bench, WORKERPOOL_JOBS="catalogue_sync.jobs:JOBS", **more)


def send(bench: Bench, web: FakeWeb, name: str = "monday") -> None:
    job = CatalogueSync(id=name, feed_url=web.url + PATH, page_size=PAGE_SIZE, report_to="owner@shop.example")
    assert bench.producer.send(job) == f"catalogue-sync-{name}"


def send_by_command(bench: Bench, web: FakeWeb, site: Path) -> None:
    fields = (f"feed_url={web.url}{PATH}", f"page_size={PAGE_SIZE}", "report_to=owner@shop.example")
    command = [COMMAND, "enqueue", "job", "catalogue.sync", "--id", "monday", *fields]
    environment = bench.environment(PYTHONPATH=f"{EXAMPLE}{os.pathsep}{site}")
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout == "catalogue-sync-monday\n"


def in_the_shop(bench: Bench) -> list[str]:
    engine = make_engine(f"sqlite:///{bench.folder / 'workerpool.db'}")
    try:
        with engine.connect() as connection:
            return list(connection.execute(sa.select(articles.c.sku).order_by(articles.c.sku)).scalars())
    finally:
        engine.dispose()


def kill_child(worker: Worker) -> None:
    """SIGKILL to the process that runs the job, as from the kernel when memory runs out."""
    (child,) = psutil.Process(worker.process.pid).children()
    child.send_signal(signal.SIGKILL)


def ended(bench: Bench, mailbox: Mailbox) -> bool:
    return bool(mailbox.mails) and not bench.redis.llen("catalogue") and bench.all_done()


def followed(bench: Bench, seen: list[tuple[float, str | None]]) -> bool:
    """Note how far the import says it is, as `workerpool-worker jobs show` does; whether it is done."""
    if not (bench.folder / "workerpool.db").exists():
        return False
    engine = make_engine(f"sqlite:///{bench.folder / 'workerpool.db'}")
    try:
        record = queries.find(engine, "catalogue-sync-monday") if sa.inspect(engine).has_table("jobs") else None
    finally:
        engine.dispose()
    if record is not None:
        seen.append((record.percent, record.message))
    return record is not None and record.state == "completed"


def outcomes(bench: Bench, name: str = "monday") -> list[str]:
    return [outcome for job_id, outcome in bench.outcomes() if job_id == f"catalogue-sync-{name}"]


def test_an_import_whose_workers_are_killed_brings_every_article_once_and_one_mail(
    bench: Bench, catalogue: Catalogue, web: FakeWeb, mailbox: Mailbox
) -> None:
    catalogue.slow_s = 0.05
    send(bench, web)
    first = named(bench)
    until(lambda: sum(catalogue.asked.values()) >= 12, what=bench.logs)
    kill_child(first)
    until(lambda: sum(catalogue.asked.values()) >= 25, timeout_s=30, what=bench.logs)
    first.kill_group()
    named(bench)
    until(lambda: ended(bench, mailbox), timeout_s=40, what=bench.logs)
    assert in_the_shop(bench) == sorted(catalogue.articles)
    kills = 2
    assert len(catalogue.asked) == PAGES
    assert sum(catalogue.asked.values()) <= PAGES + kills
    (mail,) = mailbox.mails
    assert mail["Subject"] == f"Catalogue import monday: {COUNT} new, 0 changed, 0 vanished"
    assert outcomes(bench)[-1] == "synced"


def test_an_installed_package_brings_its_job_and_later_imports_read_what_changed(
    bench: Bench, catalogue: Catalogue, web: FakeWeb, mailbox: Mailbox, tmp_path: Path
) -> None:
    site = install(tmp_path / "site")
    worker = start(bench, site, CATALOGUE_TOKEN="of-a-test").ready()
    send_by_command(bench, web, site)
    until(lambda: ended(bench, mailbox), what=bench.logs)
    assert in_the_shop(bench) == sorted(catalogue.articles)
    assert catalogue.tokens == {"Bearer of-a-test"}
    gone = max(catalogue.articles)
    del catalogue.articles[gone]
    send(bench, web, "tuesday")
    until(lambda: len(mailbox.mails) == 2, what=bench.logs)
    assert mailbox.mails[-1]["Subject"] == "Catalogue import tuesday: 0 new, 0 changed, 1 vanished"
    assert (sum(catalogue.unmodified.values()), sum(catalogue.full.values())) == (PAGES - 1, PAGES + 1)
    assert "of-a-test" not in worker.log.read_text()


def test_the_soft_time_limit_is_no_failure_and_a_feed_that_is_busy_is_waited_for(
    bench: Bench, catalogue: Catalogue, web: FakeWeb, mailbox: Mailbox
) -> None:
    catalogue.slow_s = 0.05
    catalogue.replies = [Reply(status=429, headers={"Retry-After": "1"})]
    send(bench, web)
    # Not one try may be spent: the first that was would be the last.
    named(bench, WORKERPOOL_SOFT_TIME_LIMIT_SECONDS=2, WORKERPOOL_HARD_TIME_LIMIT_SECONDS=20, WORKERPOOL_MAX_RETRIES=0)
    seen: list[tuple[float, str | None]] = []
    until(lambda: followed(bench, seen), timeout_s=40, what=bench.logs)
    until(lambda: ended(bench, mailbox), what=bench.logs)
    assert in_the_shop(bench) == sorted(catalogue.articles)
    assert set(catalogue.asked.values()) == {1}
    assert "SoftTimeLimitExceeded" not in bench.logs()
    assert outcomes(bench).count("synced") == 1
    assert set(outcomes(bench)[:-1]) == {"deferred"}
    assert 3 <= len(outcomes(bench)) <= 8
    percents = [percent for percent, _ in seen]
    assert percents == sorted(percents)
    assert len({percent for percent in percents if 0 < percent < 100}) >= 2
    assert any(message and message.endswith(" articles") for _, message in seen)
    assert len(mailbox.mails) == 1


def install(site: Path) -> Path:
    """What pip leaves of the example for others to find; its code is on PYTHONPATH, as with an editable install."""
    project: dict[str, Any] = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    info = site / f"catalogue_sync-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"]
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {it}\n" for name, it in group_.items()) for group, group_ in groups.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return site
