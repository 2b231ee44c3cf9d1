"""The page over real sockets: what is served, to whom, and that no client holds up another."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.unit.report.records import AWAY, EMAIL, make_notice, make_record
from workerpool_operator.core.decision import Reason
from workerpool_operator.ports import PoolKey
from workerpool_operator.report import web
from workerpool_operator.report.board import Board
from workerpool_operator.report.errors import ReportError
from workerpool_operator.report.last import ExplainPages, LastDecisions
from workerpool_operator.report.web import HostPolicy, WebPage

pytestmark = pytest.mark.integration


@pytest.fixture
def board() -> Board:
    board = Board()
    board.record(make_record(ready=38, running=2, oldest_job_s=3.2, target=4, reason=Reason.WORK_WAITING))
    return board


@pytest.fixture
async def page(board: Board) -> AsyncIterator[WebPage]:
    page = WebPage(board, 0)
    await page.start()
    yield page
    await page.close()


@pytest.fixture
async def client(page: WebPage) -> AsyncIterator[aiohttp.ClientSession]:
    limit = aiohttp.ClientTimeout(total=20)
    # room for one whole event, which is one line
    async with aiohttp.ClientSession(base_url=page.url, timeout=limit, read_bufsize=2**22) as session:
        yield session


class Events:
    """The states that an event stream delivers, one by one."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._content = response.content

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            event = (await self._content.readuntil(b"\n\n")).decode()
        name, data = event.rstrip("\n").split("\n")
        assert name == "event: state"
        told: dict[str, Any] = json.loads(data.removeprefix("data: "))
        return told

    async def until_ready(self, ready: int | None) -> dict[str, Any]:
        while (told := await self.next())["pools"][0]["ready"] != ready:
            pass
        return told


async def test_the_page_is_served_and_may_run_nothing_but_its_own_script(client: aiohttp.ClientSession) -> None:
    async with client.get("/") as answer:
        text = await answer.text()
        assert answer.status == 200
        assert answer.content_type == "text/html"
        policy = answer.headers["Content-Security-Policy"]
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert policy.count("'sha256-") == 2
    # self-contained: the only addresses in it are names of XML namespaces
    assert set(re.findall(r"https?://[^\s'\"]+", text)) == {"http://www.w3.org/2000/svg"}


async def test_the_page_never_makes_markup_of_what_it_is_told(client: aiohttp.ClientSession) -> None:
    async with client.get("/") as answer:
        text = await answer.text()
    ways = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "srcdoc", " style=", " onclick=")
    for way in ways:
        assert way not in text


async def test_the_state_has_the_numbers_of_the_log(client: aiohttp.ClientSession) -> None:
    async with client.get("/api/state") as answer:
        assert answer.content_type == "application/json"
        told = await answer.json()
    pool = told["pools"][0]
    assert (pool["pool"], pool["ready"], pool["running"], pool["target"]) == ("email", 38, 2, 4)
    assert (pool["min"], pool["max"], pool["reason"]) == (0, 20, "WorkWaiting")
    assert len(pool["history"]) == 1


async def test_metrics_and_health(client: aiohttp.ClientSession) -> None:
    async with client.get("/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert 'workerpool_queue_ready_jobs{namespace="default",pool="email",queue="email"} 38' in await answer.text()
    async with client.get("/healthz") as answer:
        assert await answer.text() == "ok\n"
    async with client.get("/nothing") as answer:
        assert answer.status == 404
        assert "Content-Security-Policy" in answer.headers
    async with client.post("/api/state") as answer:
        assert answer.status == 405


async def test_events_deliver_a_change_with_only_what_is_new(client: aiohttp.ClientSession, board: Board) -> None:
    async with client.get("/api/events") as answer:
        assert answer.content_type == "text/event-stream"
        events = Events(answer)
        first = await events.next()
        assert first["partial"] is False
        assert len(first["pools"][0]["history"]) == 1
        board.record(make_record(at_s=1, ready=7))
        board.record(make_record(at_s=2, ready=AWAY, running=AWAY))
        board.notice(make_notice(message="<b>gone</b>"))
        then = await events.until_ready(None)
        assert then["partial"] is True
        assert [point["ready"] for point in then["pools"][0]["history"]] == [7, None]
        assert then["pools"][0]["notices"][0]["message"] == "<b>gone</b>"
        board.forget(EMAIL)
        while (await events.next())["pools"]:
            pass


async def test_a_client_that_reads_nothing_holds_up_nobody_and_is_dropped(
    page: WebPage,
    client: aiohttp.ClientSession,
    board: Board,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.setattr(web, "SLOW_CLIENT_S", 0.5)
    monkeypatch.setattr(web, "PUSH_GAP_S", 0.01)
    sleeper = socket.create_connection(("127.0.0.1", page.port))
    request.addfinalizer(sleeper.close)
    sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    sleeper.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    for index in range(100):  # so much to tell that no buffer holds it for long
        key = PoolKey(namespace="many", name=f"pool-{index}")
        board.record(make_record(key=key, message="m" * 2_000))
    async with client.get("/api/events") as answer:
        events = Events(answer)
        await events.next()
        assert len(page._clients) == 2
        for number in range(20):
            board.record(make_record(at_s=number, ready=1_000 + number))
            await events.until_ready(1_000 + number)
        async with asyncio.timeout(15):
            while len(page._clients) > 1:
                board.record(make_record(ready=1))
                await events.next()


async def test_there_is_a_limit_to_event_streams(
    client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "MAX_CLIENTS", 1)
    async with client.get("/api/events") as first:
        await Events(first).next()
        async with client.get("/api/events") as second:
            assert second.status == 503


async def test_many_clients_and_clients_that_leave(page: WebPage, client: aiohttp.ClientSession, board: Board) -> None:
    answers = [await client.get("/api/events") for _ in range(20)]
    board.record(make_record(at_s=1, ready=5))
    for answer in answers:
        await Events(answer).until_ready(5)
        answer.close()
    async with asyncio.timeout(10):
        while page._clients:
            # a stream that nobody reads any more is noticed when it is written to
            board.say("anyone?")
            await (await client.get("/healthz")).read()


async def test_closing_ends_the_streams_at_once(page: WebPage, client: aiohttp.ClientSession) -> None:
    async with client.get("/api/events") as answer:
        await Events(answer).next()
        began_s = time.monotonic()
        await page.close()
        assert time.monotonic() - began_s < 3
        assert not page._clients


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("127.0.0.1", 200), ("[::1]", 200), ("evil.example", 403), ("127.0.0.1.evil.example", 403)],
)
async def test_only_known_hosts_are_answered(
    page: WebPage, client: aiohttp.ClientSession, host: str, status: int
) -> None:
    for path in ("/", "/api/state", "/api/events", "/metrics"):
        async with client.get(path, headers={"Host": f"{host}:{page.port}"}) as answer:
            assert answer.status == status


async def test_a_request_without_a_host_or_from_another_site_is_refused(
    page: WebPage, client: aiohttp.ClientSession
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", page.port)
    writer.write(b"GET /api/state HTTP/1.0\r\n\r\n")
    assert b" 403 " in await reader.readline()
    writer.close()
    async with client.get("/api/state", headers={"Sec-Fetch-Site": "cross-site"}) as answer:
        assert answer.status == 403
    async with client.get("/", headers={"Sec-Fetch-Site": "cross-site"}) as answer:
        assert answer.status == 200


async def test_decisions_are_explained_to_this_machine_only(board: Board) -> None:
    decisions = LastDecisions()
    decisions.record(make_record(ready=38, target=4, reason=Reason.WORK_WAITING))
    page = WebPage(board, 0, explain=ExplainPages(decisions))
    await page.start()
    try:
        async with aiohttp.ClientSession(base_url=page.url) as client:
            async with client.get("/explain/default/email") as answer:
                assert (await answer.json())["decision"]["target"] == 4
                assert "Content-Security-Policy" in answer.headers
            for headers in ({"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
                async with client.get("/explain/default/email", headers=headers) as answer:
                    assert answer.status == 403
    finally:
        await page.close()


@pytest.mark.parametrize(
    ("listen", "header", "allowed"),
    [
        ("127.0.0.1", "LOCALHOST:8080", True),
        ("127.0.0.1", "192.168.1.5", False),
        ("192.168.1.5", "192.168.1.5:80", True),
        ("0.0.0.0", "192.168.1.5:80", True),  # noqa: S104
        ("::", "[fe80::1]:80", True),
        ("0.0.0.0", "my-laptop:80", False),  # noqa: S104
        ("127.0.0.1", "proxy.example", True),
        ("127.0.0.1", "", False),
        ("127.0.0.1", "localhost:80:80", False),
        ("127.0.0.1", "evil.example@localhost", False),
        ("127.0.0.1", "[::1", False),
    ],
)
def test_which_hosts_are_known(listen: str, header: str, allowed: bool) -> None:
    assert HostPolicy(listen, ("proxy.example",)).allows(header) is allowed


async def test_a_port_in_use_is_one_line_that_names_it(page: WebPage, board: Board) -> None:
    with pytest.raises(ReportError) as caught:
        await WebPage(board, page.port).start()
    assert str(caught.value) == (
        f"cannot serve the page on 127.0.0.1 port {page.port}: the port is in use; choose another port,"
        " or 0 for any that is free"
    )


async def test_other_ways_in_which_it_cannot_listen(board: Board) -> None:
    for port, host, hint in (
        (70_000, "127.0.0.1", "ports go from 0 to 65535"),
        (0, "no-such-host.invalid", "no such host"),
        (0, "192.0.2.1", "this machine has no such address"),
    ):
        with pytest.raises(ReportError, match=hint):
            await WebPage(board, port, host).start()


async def test_urls_that_can_be_opened(board: Board) -> None:
    assert WebPage(board, 80).url == "http://127.0.0.1:80/"
    assert WebPage(board, 80, "0.0.0.0").url == "http://127.0.0.1:80/"  # noqa: S104
    assert WebPage(board, 80, "::1").url == "http://[::1]:80/"
