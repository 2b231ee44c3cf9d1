"""A primary, a replica and three Sentinels on loopback ports, all of them real processes."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import redis

from tests.support.waiting import eventually
from workerpool_operator.local.redis_binary import find_redis
from workerpool_operator.local.redis_server import RedisServer, _free_port

SERVICE = "mymaster"
_DOWN_AFTER_MS = 1_000


@dataclass
class Sentinel:
    """One Sentinel process."""

    folder: Path
    config: tuple[str, ...]
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it on a free port."""
        self.folder.mkdir(exist_ok=True)
        self.port = _free_port()
        path = self.folder / "sentinel.conf"
        path.write_text("\n".join([f"port {self.port}", "bind 127.0.0.1", f"dir {self.folder}", *self.config, ""]))
        with (self.folder / "sentinel.log").open("ab") as log:
            self.process = subprocess.Popen([str(find_redis()), str(path), "--sentinel"], stdout=log, stderr=log)

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None


class SentinelSet:
    """All of it: the data nodes have one password, the Sentinels another, both with what is special in a URL."""

    def __init__(self, folder: Path) -> None:
        self.password, self.sentinel_password = password, sentinel_password = "data/@#?pw", "watch:@&pw"
        node = [f'primaryauth "{password}"', "repl-diskless-sync-delay 0", "repl-ping-replica-period 1"]
        self.nodes = [RedisServer(folder / "node-0", password=password, config=node)]
        self.nodes[0].start()
        config = [*node, f"replicaof 127.0.0.1 {self.nodes[0].port}"]
        self.nodes.append(RedisServer(folder / "node-1", password=password, config=config).start())
        watched = (
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.nodes[0].port} 2",
            f'sentinel auth-pass {SERVICE} "{password}"',
            f"sentinel down-after-milliseconds {SERVICE} {_DOWN_AFTER_MS}",
            f"sentinel failover-timeout {SERVICE} 5000",
            f'requirepass "{sentinel_password}"',
        )
        self.sentinels = [Sentinel(folder / f"sentinel-{n}", watched) for n in range(3)]

    def __enter__(self) -> Self:
        try:
            with self.client(self.nodes[0]) as primary:
                # A Sentinel looks for replicas every ten seconds: they had better be there at its first look.
                eventually(lambda: primary.info("replication")["connected_slaves"] == 1, 30, "the replica")
            for sentinel in self.sentinels:
                sentinel.start()
            eventually(self._all_know_all, 30, "the Sentinels see each other")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for sentinel in self.sentinels:
            sentinel.kill()
        for node in self.nodes:
            node.kill()

    def url(
        self, *, tls: bool = False, ports: tuple[int, ...] = (), password: str | None = None, service: str = ""
    ) -> str:
        """The broker URL; without ports, those of the Sentinels."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports or [one.port for one in self.sentinels])
        secret = quote(self.password if password is None else password, safe="")
        query = f"sentinel_password={quote(self.sentinel_password, safe='')}"
        scheme = "rediss+sentinel" if tls else "redis+sentinel"
        return f"{scheme}://:{secret}@{hosts}/{service or SERVICE}/0?{query}"

    @property
    def primary(self) -> RedisServer:
        """The node that the Sentinels call the primary now."""
        port = self.primary_port()
        return next(node for node in self.nodes if node.port == port)

    def primary_port(self) -> int:
        """Its port, as one Sentinel that is up has it."""
        for sentinel in self.sentinels:
            if sentinel.process is not None:
                with self._ask(sentinel.port) as client:
                    return int(client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])
        raise AssertionError("no Sentinel is up")

    def client(self, node: RedisServer) -> redis.Redis:
        """A client of one node."""
        return redis.Redis(port=node.port, password=self.password, decode_responses=True)

    def kill_primary(self) -> RedisServer:
        """SIGKILL to the primary; it, once the Sentinels have made the other one primary."""
        killed = self.primary
        killed.kill()
        eventually(lambda: self.primary_port() != killed.port, 30, "a failover")
        return killed

    def fail_over(self) -> None:
        """A planned failover: both nodes live and change places."""
        before = self.primary_port()
        with self._ask(self.sentinels[0].port) as client:
            client.execute_command("SENTINEL", "FAILOVER", SERVICE)
        eventually(lambda: self.primary_port() != before, 30, "a failover")

    def _ask(self, port: int) -> redis.Redis:
        return redis.Redis(port=port, password=self.sentinel_password, socket_timeout=2, decode_responses=True)

    def _all_know_all(self) -> bool:
        for sentinel in self.sentinels:
            if sentinel.process is not None and sentinel.process.poll() is not None:
                sentinel.start()  # another process was quicker to take the port
        return all(self._knows_all(one.port) for one in self.sentinels)

    def _knows_all(self, port: int) -> bool:
        try:
            with self._ask(port) as client:
                raw: list[Any] = client.execute_command("SENTINEL", "MASTER", SERVICE)
        except redis.ConnectionError:
            return False
        told = raw if isinstance(raw, dict) else dict(zip(raw[::2], raw[1::2], strict=True))
        return int(told["num-slaves"]) >= 1 and int(told["num-other-sentinels"]) >= len(self.sentinels) - 1
