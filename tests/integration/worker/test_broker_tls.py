"""A worker and a producer over TLS: what is trusted, what is refused, and the one line that says why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
import trustme

from tests.integration.worker.bench import Bench, until
from tests.support.smtp import Mailbox
from tests.support.tls import TlsFront, TlsProxy
from workerpool_operator.local.redis_server import RedisServer
from workerpool_worker.broker.connect import client_for
from workerpool_worker.broker.errors import reason
from workerpool_worker.models import Email
from workerpool_worker.producer import BrokerUnreachableError, Producer
from workerpool_worker.settings.broker import BrokerSettings

pytestmark = pytest.mark.integration
Front = Callable[..., TlsFront]


@pytest.fixture
def front() -> Iterator[Front]:
    """``front(port, names=("localhost",), expired=False, …)``: a TLS port before a plain one."""
    made: list[TlsFront] = []

    def make(port: int, **options: object) -> TlsFront:
        made.append(TlsFront(TlsProxy(port, **options)).__enter__())  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.__exit__()


def refused(url: str, ca_file: Path | None = None) -> str:
    """Why a client and a producer cannot use the broker: the same line for both."""
    settings = BrokerSettings(broker_url=url, broker_ca_file=ca_file)
    with client_for(settings, socket_timeout=1) as client, pytest.raises(redis.RedisError) as error:
        client.ping()
    why = reason(error.value, settings.broker)
    assert "hunter2" not in why
    assert "\n" not in why
    return why


def test_a_worker_over_tls_does_its_jobs(
    make_redis: Callable[..., RedisServer], mailbox: Mailbox, front: Front, tmp_path: Path
) -> None:
    server = make_redis(password="hunter2/@:")
    tls = front(server.port)
    bench = Bench(server.url, tmp_path, mailbox.port)
    try:
        url = f"rediss://:hunter2%2F%40%3A@localhost:{tls.port}/0"
        worker = bench.start(WORKERPOOL_BROKER_URL=url, WORKERPOOL_BROKER_CA_FILE=tls.ca_file(tmp_path)).ready()
        bench.producer.send(Email(id="m", to="a@example.org", subject="s", text="t"))
        until(lambda: mailbox.ids() == ["email-m"] and bench.all_done(), what=bench.logs)
        # The same by the URL alone, as a producer of another program has it.
        with Producer(f"{url}?ssl_ca_certs={tls.ca_file(tmp_path)}") as producer:
            producer.send(Email(id="n", to="a@example.org", subject="s", text="t"))
        until(lambda: mailbox.ids() == ["email-m", "email-n"], what=bench.logs)
        assert "hunter2" not in worker.log.read_text()
    finally:
        bench.close()


def test_a_certificate_that_is_not_trusted_for_another_name_or_expired(
    bench: Bench, redis_server: RedisServer, front: Front, tmp_path: Path
) -> None:
    tls, other = front(redis_server.port), front(redis_server.port, expired=True)
    url = f"rediss://localhost:{tls.port}/0"
    for ca_file in (None, other.ca_file(tmp_path)):
        assert "name its authority's certificate in WORKERPOOL_BROKER_CA_FILE" in refused(url, ca_file)
    assert "its certificate is for another name" in refused(f"rediss://127.0.0.1:{tls.port}/0", tls.ca_file(tmp_path))
    assert refused(f"rediss://localhost:{other.port}/0", other.ca_file(tmp_path)) == "its certificate has expired"
    # A worker says it and waits; a producer says it to its caller.
    worker = bench.start(WORKERPOOL_BROKER_URL=url)
    until(lambda: worker.said(f"cannot reach the broker localhost:{tls.port}: its certificate is not trusted"))
    assert worker.process.poll() is None
    with pytest.raises(BrokerUnreachableError, match="certificate is not trusted"), Producer(url) as producer:
        producer.send(Email(id="m", to="a@example.org", subject="s", text="t"))


def test_checks_that_the_url_turns_off(redis_server: RedisServer, front: Front, tmp_path: Path) -> None:
    tls = front(redis_server.port)
    for url, ca_file in (
        (f"rediss://127.0.0.1:{tls.port}/0?ssl_cert_reqs=none", None),
        (f"rediss://127.0.0.1:{tls.port}/0?ssl_check_hostname=false", tls.ca_file(tmp_path)),
    ):
        with client_for(BrokerSettings(broker_url=url, broker_ca_file=ca_file)) as client:
            assert client.ping()


def test_one_side_speaks_tls_and_the_other_does_not(redis_server: RedisServer, front: Front) -> None:
    tls = front(redis_server.port)
    assert "begin the URL with rediss" in refused(f"redis://:hunter2@localhost:{tls.port}/0")
    assert "does this port speak TLS?" in refused(f"rediss://:hunter2@localhost:{redis_server.port}/0")


def test_a_server_that_asks_for_a_certificate(redis_server: RedisServer, front: Front, tmp_path: Path) -> None:
    authority = trustme.CA()
    tls = front(redis_server.port, authority=authority, asks_client=True)
    url, ca_file = f"rediss://localhost:{tls.port}/0", tls.ca_file(tmp_path)
    assert "WORKERPOOL_BROKER_CERT_FILE and WORKERPOOL_BROKER_KEY_FILE" in refused(url, ca_file)
    certificate, key = tmp_path / "worker.pem", tmp_path / "worker.key"
    issued = authority.issue_cert("worker@example.org")
    certificate.write_bytes(issued.cert_chain_pems[0].bytes())
    key.write_bytes(issued.private_key_pem.bytes())
    settings = BrokerSettings(broker_url=url, broker_ca_file=ca_file, broker_cert_file=certificate, broker_key_file=key)
    with client_for(settings) as client:
        assert client.ping()


def test_a_renewed_authority_is_used_without_a_restart(redis_server: RedisServer, front: Front, tmp_path: Path) -> None:
    before, after = front(redis_server.port), front(redis_server.port)
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text(before.proxy.ca_pem)
    settings = BrokerSettings(broker_url=f"rediss://localhost:{after.port}/0", broker_ca_file=ca_file)
    with client_for(settings) as client:
        with pytest.raises(redis.ConnectionError):
            client.ping()
        ca_file.write_text(after.proxy.ca_pem)
        assert client.ping()


def test_the_system_s_authorities_are_trusted_unless_others_are_named(
    redis_server: RedisServer, front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls, other = front(redis_server.port), front(redis_server.port)
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.ca_file(tmp_path)))
    url = f"rediss://localhost:{tls.port}/0"
    with client_for(BrokerSettings(broker_url=url)) as client:
        assert client.ping()
    assert "is not trusted" in refused(url, other.ca_file(tmp_path))


def test_a_unix_socket(
    make_redis: Callable[..., RedisServer], mailbox: Mailbox, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("s") / "r"
    server = make_redis(password="hunter2/@:", config=[f"unixsocket {path}"])
    bench = Bench(server.url, tmp_path, mailbox.port)
    try:
        url = f"unix://:hunter2%2F%40%3A@{path}?db=0"
        bench.start(WORKERPOOL_BROKER_URL=url).ready()
        with Producer(url) as producer:
            producer.send(Email(id="m", to="a@example.org", subject="s", text="t"))
        until(lambda: mailbox.ids() == ["email-m"] and bench.all_done(), what=bench.logs)
        assert "hunter2" not in bench.logs()
    finally:
        bench.close()
    assert refused(f"unix://{path}.gone").endswith("No such file or directory.")
