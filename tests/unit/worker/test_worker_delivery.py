from __future__ import annotations

from typing import Any

import pytest

from workerpool_worker.app import create_app
from workerpool_worker.parent.delivery import delivery_config, transport_options
from workerpool_worker.settings import load_settings

pytestmark = pytest.mark.unit


def test_each_pool_has_its_own_unacknowledged_keys() -> None:
    options = transport_options(load_settings({"WORKERPOOL_POOL": "mail", "WORKERPOOL_NAMESPACE": "shop"}))
    assert options["unacked_key"] == "workerpool:shop:mail:unacked"
    assert options["unacked_index_key"] == "workerpool:shop:mail:unacked_index"
    assert options["unacked_mutex_key"] == "workerpool:shop:mail:unacked_mutex"


def test_without_a_pool_celerys_keys_stay() -> None:
    assert not [name for name in transport_options(load_settings({})) if name.startswith("unacked") and "key" in name]


def test_the_visibility_timeout_is_the_same_wherever_celery_reads_it() -> None:
    config = delivery_config(load_settings({"WORKERPOOL_HARD_TIME_LIMIT_SECONDS": "500"}))
    places = (config, config["broker_transport_options"], config["result_backend_transport_options"])
    assert [place["visibility_timeout"] for place in places] == [1_000] * 3


def test_a_job_is_acknowledged_late_and_given_back_when_its_worker_is_lost() -> None:
    app = create_app(load_settings({}))
    task: Any = app.tasks["order.process"]
    assert (task.acks_late, task.reject_on_worker_lost, task.retry_on_worker_lost) == (True, True, True)
    assert app.conf.worker_prefetch_multiplier == 1
    assert app.conf.worker_disable_prefetch
    assert app.conf.worker_cancel_long_running_tasks_on_connection_loss
    assert app.conf.accept_content == ["json"]


def test_tasks_are_routed_by_their_first_word() -> None:
    app = create_app(load_settings({}))
    for name in ("email.welcome", "order.process", "payment.refund"):
        assert app.amqp.router.route({}, name)["queue"].name == name.partition(".")[0]
