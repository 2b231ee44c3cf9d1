"""Real worker processes on a real Redis with a real mail server: what the worker's integration tests stand on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from celery import Celery

from workerpool_worker.broker.connect import client_for
from workerpool_worker.effects import EffectsReader
from workerpool_worker.producer import Producer
from workerpool_worker.settings.broker import BrokerSettings

COMMAND = str(Path(sys.executable).with_name("workerpool-worker"))


def until(condition: Callable[[], Any], *, timeout_s: float = 20.0, what: Callable[[], object] = lambda: "") -> float:
    """Wait until something is so; how long it took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > timeout_s:
            raise AssertionError(f"not so after {timeout_s} s: {what()}")
        time.sleep(0.02)
    return time.monotonic() - began


@dataclass
class Worker:
    process: subprocess.Popen[bytes]
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def said(self, text: str) -> bool:
        return any(text in line["message"] for line in self.lines())

    def outcomes(self) -> list[tuple[str, str]]:
        return [(line["job_id"], line["outcome"]) for line in self.lines() if "outcome" in line]

    def ready(self) -> Worker:
        until(lambda: self.said("consuming"), what=self.log.read_text)
        return self

    def kill_group(self) -> None:
        """SIGKILL to the main process and all its children: a machine that went away."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def freeze(self) -> None:
        """SIGSTOP to the main process and all its children."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.killpg(self.process.pid, signal.SIGCONT)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def exit_status(self, timeout_s: float = 20.0) -> int:
        return self.process.wait(timeout_s)


@dataclass
class Bench:
    url: str
    folder: Path
    smtp_port: int
    workers: list[Worker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.producer = Producer(self.url)
        # For messages that the producer would refuse to make.
        self.celery = Celery("bench", broker=self.url, set_as_current=False)
        self.redis = client_for(BrokerSettings(broker_url=self.url), decode_responses=True)
        self.effects = EffectsReader(f"sqlite:///{self.folder / 'workerpool.db'}")

    def environment(self, **more: object) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONPATH") if name in os.environ}
        ours = {
            "WORKERPOOL_BROKER_URL": self.url,
            "WORKERPOOL_STATE_DIR": self.folder,
            "WORKERPOOL_POOL": "shop",
            "WORKERPOOL_RETRY_BASE_MS": 200,
            "WORKERPOOL_RETRY_CAP_MS": 500,
            "SMTP_PORT": self.smtp_port,
            # Due every five minutes: it would come into the middle of one test in fifty.
            "WORKERPOOL_RECOVER_CRON": "off",
        }
        return kept | {name: str(value) for name, value in (ours | more).items()}

    def start(self, **more: object) -> Worker:
        log = self.folder / f"worker-{len(self.workers)}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [COMMAND, "run"],
                env=self.environment(**more),
                stderr=file,
                stdout=file,
                cwd=self.folder,
                start_new_session=True,
            )
        worker = Worker(process, log)
        self.workers.append(worker)
        return worker

    def outcomes(self) -> list[tuple[str, str]]:
        return [outcome for worker in self.workers for outcome in worker.outcomes()]

    def logs(self) -> str:
        return "\n".join(worker.log.read_text() for worker in self.workers)

    def charges(self) -> list[str]:
        return [entry.payment for entry in self.effects.ledger_entries() if entry.kind == "charge"]

    def unacked(self) -> int:
        return int(self.redis.hlen("workerpool:default:shop:unacked"))

    def holders(self) -> dict[str, dict[str, Any]]:
        raw: Any = self.redis.hgetall("workerpool:default:shop:holders")
        return {name: json.loads(value) for name, value in raw.items()}

    def waiting(self) -> int:
        return sum(int(self.redis.llen(queue)) for queue in ("email", "order", "payment"))

    def headers(self, queue: str) -> list[dict[str, Any]]:
        raw: Any = self.redis.lrange(queue, 0, -1)
        return [json.loads(message)["headers"] for message in raw]

    def all_done(self) -> bool:
        return self.waiting() == 0 and self.unacked() == 0

    def close(self) -> None:
        for worker in self.workers:
            worker.kill_group()
        self.producer.close()
        self.celery.close()
        self.redis.close()
        self.effects.close()
