"""The embedded Redis: comes up, comes back with its data, and fails in words."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from workerpool_operator.local import redis_binary as module
from workerpool_operator.local.folder_lock import in_use
from workerpool_operator.local.redis_binary import RedisMissingError, install_hint
from workerpool_operator.local.redis_server import RedisServer, RedisStartError

pytestmark = pytest.mark.integration


def test_comes_back_on_the_same_port_with_its_data(tmp_path: Path) -> None:
    with RedisServer(tmp_path, append_fsync="always") as server:
        client = redis.Redis.from_url(server.url)
        client.set("a", "1")
        port, first = server.port, server.pid
        server.kill()
        assert not server.running
        server.start()
        assert (server.port, client.get("a")) == (port, b"1")
        assert server.pid != first
        assert server.restart().port == port
        assert client.get("a") == b"1"
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        client.close()


def test_a_port_in_use_is_one_clear_line(redis_server: RedisServer, tmp_path: Path) -> None:
    with pytest.raises(RedisStartError, match=r"(?i)in use") as caught:
        RedisServer(tmp_path, port=redis_server.port).start()
    assert "\n" not in str(caught.value)


def test_what_cannot_run_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(RedisStartError, match="did not start"):
        RedisServer(tmp_path, binary=tmp_path / "missing").start()


def test_bad_configuration_shows_the_log(tmp_path: Path) -> None:
    with pytest.raises(RedisStartError, match="nonsense"):
        RedisServer(tmp_path, config=["nonsense yes"]).start()


def test_one_folder_is_one_servers(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as first:
        assert in_use(tmp_path)
        with pytest.raises(RedisStartError, match=re.escape(f"{tmp_path} is in use")) as caught:
            RedisServer(tmp_path).start()
        assert "\n" not in str(caught.value)
        assert f"port {first.port}\n" in (tmp_path / "redis.conf").read_text(), "the other's configuration was changed"
    assert not in_use(tmp_path)
    assert not in_use(tmp_path / "nowhere")


def test_who_watches_over_it_knows_it_before_it_is_up(tmp_path: Path) -> None:
    """Local mode may be ended while its Redis still loads; somebody must know of the process by then."""
    never_up = tmp_path / "never-up"
    never_up.write_text("#!/bin/sh\nexec sleep 1000\n")
    never_up.chmod(0o755)
    launched: list[int] = []
    with pytest.raises(RedisStartError, match="was not up"):
        RedisServer(tmp_path / "data", binary=never_up, on_launch=launched.append).start(timeout_s=0.2)
    assert len(launched) == 1
    with RedisServer(tmp_path / "data", on_launch=launched.append) as server:
        server.restart()
        assert launched[2] == server.pid
    assert len(launched) == 3


def test_a_folder_with_odd_characters(tmp_path: Path) -> None:
    with RedisServer(tmp_path / 'my "quoted" \\ föld er') as server, redis.Redis.from_url(server.url) as client:
        assert client.ping()
        assert (server.folder / "appendonlydir").is_dir()


def test_a_full_disk_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(RedisStartError, match=f"cannot write to .*: {os.strerror(errno.ENOSPC)}"):
        RedisServer(tmp_path).start()


def test_a_password_is_wanted_and_is_not_in_the_process_list(make_redis: Callable[..., RedisServer]) -> None:
    server = make_redis(password='p w"\\/@')
    with redis.Redis.from_url(server.url) as client:
        assert client.ping()
    with redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0)) as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    if sys.platform == "linux":
        assert b"p w" not in Path(f"/proc/{server.pid}/cmdline").read_bytes()


def test_nothing_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(module, "_packaged", lambda: None)
    with pytest.raises(RedisMissingError, match="install"):
        module.find_redis()
    assert install_hint()


if sys.platform == "linux":  # elsewhere a server outlives a parent that was killed; stop() is what ends it

    def test_dies_with_its_parent(tmp_path: Path) -> None:
        code = (
            "import os, signal, pathlib; from workerpool_operator.local.redis_server import RedisServer;"
            f"s = RedisServer(pathlib.Path({str(tmp_path)!r})).start(); print(s.pid, flush=True);"
            "os.kill(os.getpid(), signal.SIGKILL)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        pid = int(done.stdout)
        deadline_s = time.monotonic() + 10
        while _alive(pid):
            assert time.monotonic() < deadline_s, "the server outlived its parent"
            time.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
