"""What the contract tests hold: a reader with the pools of one test, and a stock Celery worker process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workerpool_operator.core.observation import QueueDepth
from workerpool_operator.ports import BrokerReading, PoolKey, PoolReading, QueueSource
from workerpool_operator.queues.celery import CeleryReader

ROOT = Path(__file__).parents[3]
PATIENCE_S = 30.0


def source(*queues: str, name: str = "mail", **options: Any) -> QueueSource:
    return QueueSource(key=PoolKey(namespace="shop", name=name), queues=queues, **options)


class Watch:
    """A reader with the sources of one test."""

    def __init__(self, url: str, *sources: QueueSource, **options: Any) -> None:
        self.reader = CeleryReader(url, **options)
        self.sources = sources

    async def broker(self) -> BrokerReading:
        return await self.reader.read(self.sources)

    async def pool(self, index: int = 0) -> PoolReading:
        reading = (await self.broker()).pools[self.sources[index].key]
        assert isinstance(reading, PoolReading), reading
        return reading

    async def depth(self, queue: str) -> QueueDepth:
        for index, one in enumerate(self.sources):
            if queue in one.queues:
                depth = (await self.pool(index)).queues[queue]
                assert isinstance(depth, QueueDepth), depth
                return depth
        raise AssertionError(queue)

    async def until(self, condition: Callable[[PoolReading], bool], index: int = 0) -> PoolReading:
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition(reading := await self.pool(index)):
            assert time.monotonic() < deadline_s, reading
            await asyncio.sleep(0.02)
        return reading

    async def until_broker(self, condition: Callable[[BrokerReading], bool]) -> BrokerReading:
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition(reading := await self.broker()):
            assert time.monotonic() < deadline_s, reading
            await asyncio.sleep(0.02)
        return reading


class Gate:
    """A file whose appearance ends every ``hold`` job that was given its path."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.path = str(file)

    def open(self) -> None:
        """Let the jobs end."""
        self._file.touch()


class Worker:
    """A stock Celery worker, prefork, in a process group of its own."""

    def __init__(
        self, log: Path, broker: str, queues: str, arguments: tuple[str, ...], options: dict[str, Any]
    ) -> None:
        self.log = log
        environment = {**os.environ, "CONTRACT_APP": json.dumps({"broker": broker, **options})}
        command = [
            sys.executable, "-m", "celery", "-A", "tests.support.celery_apps.plain", "worker",
            "-Q", queues, "-c", "1", "-l", "INFO", *arguments,
        ]  # fmt: skip
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=file, stderr=file, start_new_session=True
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        """Kill it and its children, as losing the machine would."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Ask it to stop, as Kubernetes would, and wait."""
        self.process.terminate()
        self.process.wait(PATIENCE_S)
