"""A worker and a producer whose Redis is named by Sentinels, through failovers."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.worker.bench import Bench, until
from tests.support.sentinel import SentinelSet
from tests.support.smtp import Mailbox
from tests.support.tls import TlsFront, TlsProxy
from workerpool_worker.broker.connect import client_for
from workerpool_worker.jobs.orders.stock import set_stock
from workerpool_worker.models import Email, Order, OrderLine, Payment
from workerpool_worker.producer import BrokerUnreachableError, Producer
from workerpool_worker.runtime.database import make_engine
from workerpool_worker.settings.broker import BrokerSettings

pytestmark = pytest.mark.integration


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[SentinelSet]:
    with SentinelSet(tmp_path / "redis") as made:
        yield made


@pytest.fixture
def shop(sentinels: SentinelSet, mailbox: Mailbox, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(sentinels.url(), tmp_path, mailbox.port)
    yield made
    made.close()


def mails(shop: Bench, first: int, count: int) -> None:
    """Send mails, each until Redis takes it: the business id makes a second copy harmless."""
    for number in range(first, first + count):

        def sent(number: int = number) -> bool:
            try:
                shop.producer.send(Email(id=f"m{number}", to="a@example.org", subject=str(number), text="."))
            except BrokerUnreachableError:
                return False
            return True

        until(sent, what=shop.logs)


def test_jobs_flow_and_a_killed_primary_is_followed_by_the_same_worker(
    shop: Bench, sentinels: SentinelSet, mailbox: Mailbox
) -> None:
    worker = shop.start().ready()
    mails(shop, 0, 5)
    until(lambda: len(mailbox.ids()) == 5, what=shop.logs)
    pid = worker.process.pid
    killed = sentinels.kill_primary()
    mails(shop, 5, 20)
    until(lambda: {f"email-m{n}" for n in range(25)} <= set(mailbox.ids()), timeout_s=30, what=shop.logs)
    assert worker.process.poll() is None
    assert worker.process.pid == pid
    assert worker.said("reached the broker again")
    assert sentinels.primary.port != killed.port
    # The old primary comes back, is made a replica, and nobody works with it.
    killed.start()
    with sentinels.client(killed) as old:
        until(lambda: old.info("replication")["role"] == "slave", timeout_s=30, what=lambda: old.info("replication"))
    mails(shop, 25, 5)
    until(lambda: {f"email-m{n}" for n in range(30)} <= set(mailbox.ids()), what=shop.logs)
    until(shop.all_done, what=shop.logs)


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "planned"])
def test_a_failover_in_the_middle_of_the_work(
    shop: Bench, sentinels: SentinelSet, mailbox: Mailbox, killed: bool
) -> None:
    engine = make_engine(f"sqlite:///{shop.folder / 'workerpool.db'}")
    set_stock(engine, "tea", 50)
    engine.dispose()
    shop.start(WORKERPOOL_CONCURRENCY=2, SANDBOX_LATENCY_MS=50).ready()
    tea = (OrderLine(sku="tea", quantity=1, unit_price_minor=100),)
    orders = [Order(id=f"o{n}", customer="Ada", email="ada@example.org", lines=tea) for n in range(20)]
    shop.producer.send_many([*orders, *(Payment(id=f"p{n}", amount_minor=100) for n in range(20))])
    # What was sent is safe once the replica has it, and not before.
    with sentinels.client(sentinels.primary) as primary:
        assert primary.wait(1, 5_000) == 1
    until(lambda: len(shop.charges()) >= 10, what=shop.logs)
    if killed:
        sentinels.kill_primary()
    else:
        sentinels.fail_over()
    until(lambda: len(shop.charges()) >= 40, timeout_s=60, what=shop.logs)
    # A job is acknowledged after it has sent what follows from it, and the replica has a beginning of all of that.
    until(lambda: shop.all_done() and len(set(mailbox.ids())) >= 40, timeout_s=60, what=shop.logs)
    wanted = [f"o{n}" for n in range(20)] + [f"p{n}" for n in range(20)]
    assert sorted(shop.charges()) == sorted(wanted), "each charged once"
    assert shop.effects.stock() == {"tea": 30}
    receipts, confirmations = (f"email-{kind}-o{{}}" for kind in ("receipt", "order-confirmation"))
    assert set(mailbox.ids()) == {text.format(n) for text in (receipts, confirmations) for n in range(20)}


def test_a_primary_that_falls_silent_is_left(shop: Bench, sentinels: SentinelSet, mailbox: Mailbox) -> None:
    worker = shop.start().ready()
    mails(shop, 0, 1)
    until(lambda: mailbox.ids() == ["email-m0"], what=shop.logs)
    frozen = sentinels.primary
    assert frozen.pid
    os.kill(frozen.pid, signal.SIGSTOP)
    try:
        until(lambda: sentinels.primary_port() != frozen.port, timeout_s=30)
        mails(shop, 1, 3)
        # Its sockets are open and nobody answers: the connection's own time limit of 10 s ends it.
        until(lambda: len(mailbox.ids()) == 4, timeout_s=40, what=shop.logs)
        assert worker.process.poll() is None
    finally:
        os.kill(frozen.pid, signal.SIGCONT)
    # Back as a primary of its own for a moment, it has nobody who works with it.
    mails(shop, 4, 3)
    until(lambda: sorted(mailbox.ids()) == [f"email-m{n}" for n in range(7)], what=shop.logs)


def test_a_sentinel_that_is_away_costs_nothing(shop: Bench, sentinels: SentinelSet, mailbox: Mailbox) -> None:
    sentinels.sentinels[0].kill()
    shop.start().ready()
    mails(shop, 0, 1)
    until(lambda: mailbox.ids() == ["email-m0"], what=shop.logs)


def test_errors_name_the_sentinels_and_what_to_do(shop: Bench, sentinels: SentinelSet) -> None:
    first = sentinels.sentinels[0].port
    worker = shop.start(WORKERPOOL_BROKER_URL=sentinels.url(service="other", ports=(first,)))
    text = f"no Sentinel names a primary of other: 127.0.0.1:{first}: it knows no service of this name"
    until(lambda: worker.said(text), what=shop.logs)
    worker = shop.start(WORKERPOOL_BROKER_URL=sentinels.url(password="wrong"))
    until(lambda: worker.said("wrong password for user default"), what=shop.logs)
    worker = shop.start(WORKERPOOL_BROKER_URL=sentinels.url(ports=(first,)).partition("?")[0])
    until(lambda: worker.said("a password is needed: set it in sentinel_password"), what=shop.logs)
    for sentinel in sentinels.sentinels:
        sentinel.kill()
    worker = shop.start()
    until(lambda: worker.said("it refused the connection"), what=shop.logs)
    with pytest.raises(BrokerUnreachableError) as away, Producer(sentinels.url()) as producer:
        producer.send(Email(id="m", to="a@example.org", subject="s", text="t"))
    for text in (shop.logs(), str(away.value)):
        assert sentinels.password not in text
        assert sentinels.sentinel_password not in text
        assert "watch" not in text, "the password, percent-encoded"


@pytest.fixture
def front() -> Iterator[Callable[[TlsProxy], TlsFront]]:
    made: list[TlsFront] = []

    def make(proxy: TlsProxy) -> TlsFront:
        made.append(TlsFront(proxy).__enter__())
        return made[-1]

    yield make
    for one in made:
        one.__exit__()


def test_tls_to_the_sentinels_and_to_redis(
    shop: Bench, sentinels: SentinelSet, mailbox: Mailbox, front: Callable[[TlsProxy], TlsFront], tmp_path: Path
) -> None:
    nodes = [front(TlsProxy(node.port, names=("127.0.0.1",))) for node in sentinels.nodes]
    signed = nodes[0].proxy.authority
    watching = [front(TlsProxy(one.port, authority=signed, names=("127.0.0.1",))) for one in sentinels.sentinels]
    for sentinel in watching:
        sentinel.proxy.rewrite(sentinels.nodes[0].port, nodes[0].port)
    url = sentinels.url(tls=True, ports=tuple(one.port for one in watching))
    trusted = nodes[0].ca_file(tmp_path)
    shop.start(WORKERPOOL_BROKER_URL=url, WORKERPOOL_BROKER_CA_FILE=trusted).ready()
    mails(shop, 0, 1)
    until(lambda: mailbox.ids() == ["email-m0"], what=shop.logs)
    stranger = shop.start(WORKERPOOL_BROKER_URL=url, WORKERPOOL_BROKER_CA_FILE=nodes[1].ca_file(tmp_path))
    until(lambda: stranger.said("its certificate is not trusted"), what=shop.logs)
    assert "no Sentinel names a primary" in stranger.log.read_text()
    with client_for(BrokerSettings(broker_url=url, broker_ca_file=trusted)) as client:
        assert client.ping()
