"""The log lines of real workers: every one says which job it belongs to, and what one order led to has one id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.integration.worker.bench import Bench, until
from workerpool_worker.jobs.orders.stock import set_stock
from workerpool_worker.models import Order, OrderLine
from workerpool_worker.runtime.database import engine_for

pytestmark = pytest.mark.integration

JOB_CODE = """
import logging
import threading

from typing import ClassVar

from workerpool_worker.api import Job, JobSpec


class Pack(Job):
    task: ClassVar[str] = "shop.pack"
    queue: ClassVar[str] = "packing"
    prefix: ClassVar[str] = "pack"

    password: str


def pack(context, message):
    logging.getLogger("shop").info("packed by %s", message.password, extra={"carrier": "post"})
    thread = threading.Thread(target=lambda: logging.getLogger("shop.labels").info("printed"))
    thread.start()
    thread.join()
    return {"outcome": "packed"}


JOBS = (JobSpec(Pack, "shop_packing:pack"),)
"""
SECRET = "a-password-of-the-shop-1"


@pytest.fixture
def packing(tmp_path: Path) -> dict[str, object]:
    """Where a job of somebody's own is."""
    (tmp_path / "shop_packing.py").write_text(JOB_CODE)
    return {
        "PYTHONPATH": tmp_path,
        "WORKERPOOL_JOBS": "shop_packing:JOBS",
        "WORKERPOOL_QUEUES": "packing",
        "SMTP_PASSWORD": SECRET,
    }


def of_logger(bench: Bench, name: str) -> list[dict[str, Any]]:
    return [line for worker in bench.workers for line in worker.lines() if line["logger"] == name]


def test_a_job_of_ones_own_is_named_in_its_lines_and_no_secret_is(bench: Bench, packing: dict[str, object]) -> None:
    bench.start(**packing).ready()
    with Celery(broker=bench.url, set_as_current=False) as app:
        app.send_task("shop.pack", kwargs={"id": "7", "password": SECRET}, task_id="pack-7", queue="packing")
    until(lambda: of_logger(bench, "shop.labels"), what=bench.logs)
    [packed], [printed] = of_logger(bench, "shop"), of_logger(bench, "shop.labels")
    job = {"job_id": "pack-7", "correlation_id": "pack-7", "task": "shop.pack", "queue": "packing"}
    assert packed == packed | job | {"message": "packed by ***", "carrier": "post", "level": "info"}
    assert printed == printed | job
    assert SECRET not in bench.logs()


def test_what_an_order_leads_to_has_its_id(bench: Bench) -> None:
    set_stock(engine_for(f"sqlite:///{bench.folder / 'workerpool.db'}"), "tea", 10)
    bench.start(WORKERPOOL_CONCURRENCY=2).ready()
    bench.producer.order(
        Order(id="1001", customer="Ada", email="ada@example.org", lines=(OrderLine(sku="tea", quantity=1),))
    )
    until(lambda: len(bench.outcomes()) == 4 and bench.all_done(), what=bench.logs)
    lines = [line for worker in bench.workers for line in worker.lines() if "outcome" in line]
    assert {line["task"].partition(".")[0] for line in lines} == {"order", "payment", "email"}
    assert {line["correlation_id"] for line in lines} == {"order-1001"}
