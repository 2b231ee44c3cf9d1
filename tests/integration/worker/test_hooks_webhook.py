"""Webhooks against a real HTTP server: what is sent, how it is signed, and what each answer means."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.providers.scripted_http import Reply, ScriptedServer, Seen, serving
from workerpool_worker.jobs.hooks.choose import Final, hooks_for
from workerpool_worker.jobs.hooks.webhook import send_webhook
from workerpool_worker.runtime.context import JobContext, Outcome
from workerpool_worker.runtime.database import create_tables, make_engine
from workerpool_worker.runtime.errors import (
    PermanentError,
    ProviderTimeoutError,
    RateLimitedError,
    TransientError,
)
from workerpool_worker.settings import load_settings

pytestmark = pytest.mark.integration

SECRET = "whsec_of_the_shop"
FINAL = Final(
    job_id="payment-p1",
    task="payment.process",
    queue="payment",
    state="completed",
    result={"outcome": "succeeded"},
    finished_at_s=1_767_225_600.1234,
)


@dataclass
class World:
    engine: sa.Engine
    server: ScriptedServer
    hooks: list[dict[str, Any]] = field(default_factory=list)

    def deliver(self, final: Final = FINAL, *, job_id: str = "hook", **environ: str) -> Outcome:
        settings = load_settings({"WORKERPOOL_HOOKS": json.dumps(self.hooks), **environ})
        ((job, _),) = hooks_for(load_settings({"WORKERPOOL_HOOKS": json.dumps([self.shop])}), final)
        context = JobContext(
            settings=settings, engine=self.engine, job_id=job_id, redelivered=False, publish=lambda _: None
        )
        return send_webhook(context, job)  # type: ignore[arg-type]

    @property
    def shop(self) -> dict[str, Any]:
        return {
            "name": "shop",
            "on": ["completed", "failed"],
            "webhook": f"{self.server.url}/hooks?key=1",
            "secretEnv": "SHOP_HOOK_SECRET",
        }


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("SHOP_HOOK_SECRET", SECRET)
    engine = make_engine(f"sqlite:///{tmp_path / 'hooks.db'}")
    create_tables(engine)
    with serving(ScriptedServer(usual=lambda _: Reply(status=204))) as server:
        made = World(engine, server)
        made.hooks = [made.shop]
        yield made
    engine.dispose()


def is_ours() -> Callable[..., bool]:
    """The receiver's check, as docs/hooks.md shows it."""
    page = (Path(__file__).parents[3] / "docs" / "hooks.md").read_text()
    code = page.split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - the page's own example
    found: Callable[..., bool] = names["is_ours"]
    return found


def test_what_is_sent(world: World) -> None:
    assert world.deliver() == {"outcome": "delivered", "status": 204}
    (seen,) = world.server.seen
    assert seen.path == "/hooks?key=1"
    assert json.loads(seen.body) == {
        "job_id": "payment-p1",
        "task": "payment.process",
        "queue": "payment",
        "state": "completed",
        "result": {"outcome": "succeeded"},
        "error": None,
        "attempts": 1,
        "finished_at": 1_767_225_600.123,
    }
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["x-workerpool-delivery"] == "payment-p1-completed-shop"
    assert seen.headers["x-workerpool-event"] == "job.completed"


def test_the_signature_is_checked_as_the_page_says(world: World) -> None:
    world.deliver()
    (seen,) = world.server.seen
    check, header = is_ours(), seen.headers["x-workerpool-signature"]
    assert check(seen.body, header, SECRET)
    assert not check(seen.body + b" ", header, SECRET)
    assert not check(seen.body, header, "another")
    assert not check(seen.body, header, SECRET, tolerance_s=-1)
    assert not check(seen.body, header.replace("t=", "t=1"), SECRET)
    assert not check(seen.body, "", SECRET)


def test_without_a_secret_nothing_is_signed(world: World) -> None:
    world.hooks = [{name: value for name, value in world.shop.items() if name != "secretEnv"}]
    world.deliver()
    assert "x-workerpool-signature" not in world.server.seen[0].headers


def test_a_job_that_ends_twice_is_told_of_once(world: World) -> None:
    world.deliver()
    later = Final(**{**vars(FINAL), "result": {"outcome": "succeeded", "repeated": True}, "finished_at_s": 2.0})
    assert world.deliver(later, job_id="another") == {"outcome": "delivered", "repeated": True}
    assert len(world.server.seen) == 1
    failed = Final(**{**vars(FINAL), "state": "failed", "result": None, "error": "DeclinedError: no"})
    world.deliver(failed)
    assert json.loads(world.server.seen[1].body)["error"] == "DeclinedError: no"


@pytest.mark.parametrize(
    ("reply", "error", "says"),
    [
        (Reply(status=410), PermanentError, "127.0.0.1 answered 410: the webhook is gone"),
        (Reply(status=404), PermanentError, "127.0.0.1 answered 404"),
        (Reply(status=302, headers={"Location": "http://169.254.169.254/"}), PermanentError, "is not followed"),
        (Reply(status=408), TransientError, "answered 408"),
        (Reply(status=500), TransientError, "answered 500"),
        (Reply(status=503, headers={"Retry-After": "7"}), TransientError, "answered 503"),
        (Reply(status=429, headers={"Retry-After": "9"}), RateLimitedError, "answered 429"),
        (Reply(drop=True), ProviderTimeoutError, "no answer from 127.0.0.1"),
        (Reply(delay_s=3.0), ProviderTimeoutError, "no answer from 127.0.0.1"),
    ],
)
def test_what_an_answer_means(world: World, reply: Reply, error: type[Exception], says: str) -> None:
    world.server.script.append(reply)
    with pytest.raises(error, match=says) as raised:
        world.deliver(WORKERPOOL_HOOK_TIMEOUT_SECONDS="0.5")
    wanted = reply.headers.get("Retry-After")
    assert getattr(raised.value, "retry_after_s", None) == (float(wanted) if wanted else None)
    # The URL may be a secret by itself.
    assert "key=1" not in str(raised.value)
    assert len(world.server.seen) == 1
    # The next try is the same delivery, signed anew.
    assert world.deliver()["outcome"] == "delivered"
    first, second = world.server.seen
    assert first.body == second.body
    assert first.headers["x-workerpool-delivery"] == second.headers["x-workerpool-delivery"]


def test_nobody_listens(world: World) -> None:
    world.hooks = [{**world.shop, "webhook": "http://127.0.0.1:9/x"}]
    with pytest.raises(TransientError, match=r"cannot connect to 127\.0\.0\.1:9"):
        world.deliver()


def test_through_a_proxy_the_proxy_looks_the_name_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.hooks = [{**world.shop, "webhook": "http://only-the-proxy-knows.invalid/x"}]
    with pytest.raises(TransientError, match=r"cannot look only-the-proxy-knows\.invalid up"):
        world.deliver()
    monkeypatch.setenv("http_proxy", world.server.url)
    assert world.deliver()["outcome"] == "delivered"
    assert world.server.seen[0].headers["host"] == "only-the-proxy-knows.invalid"
    # Hosts that are named as exceptions are gone to, and looked up, as ever.
    monkeypatch.setenv("no_proxy", "only-the-proxy-knows.invalid")
    with pytest.raises(TransientError, match="cannot look"):
        world.deliver(Final(**{**vars(FINAL), "job_id": "another"}))


def test_a_hook_that_is_gone_from_the_settings(world: World) -> None:
    world.hooks = []
    with pytest.raises(PermanentError, match="no webhook shop in the settings"):
        world.deliver()
    assert world.server.seen == []


def test_a_secret_that_is_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Seen] = world.server.seen
    settings_before = load_settings({"WORKERPOOL_HOOKS": json.dumps(world.hooks)})
    ((job, _),) = hooks_for(settings_before, FINAL)
    monkeypatch.delenv("SHOP_HOOK_SECRET")
    context = JobContext(
        settings=settings_before, engine=world.engine, job_id="h", redelivered=False, publish=lambda _: None
    )
    with pytest.raises(PermanentError, match="SHOP_HOOK_SECRET of the hook's secret is not set"):
        send_webhook(context, job)  # type: ignore[arg-type]
    assert taken == []
