"""What one reading of many pools costs: the reader, a redis-py pipeline, and one command at a time.

    uv run python benchmarks/read_pools.py [--pools 100 1000 10000] [--rounds 9]

Pools of one queue with four priority lists, on one Redis on this machine. "idle" is all queues empty; "busy" is a job
waiting in every queue and one held for every tenth pool; "delayed" is all of that, ten delayed jobs in every queue, and
100,000 in the first (the other ways ask for lengths only and are not measured with it). The figures are the best of the
rounds: wall time, and the CPU time of this process. One command at a time is measured on at most 500 pools and scaled.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import redis

from workerpool_operator.local.redis_server import RedisServer
from workerpool_operator.ports import PoolKey, QueueSource
from workerpool_operator.queues.celery import CeleryReader

ONE_BY_ONE_POOLS = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Seconds of one reading, and its commands."""

    wall_s: float
    cpu_s: float
    commands: int

    def times(self, factor: float) -> Cost:
        """The same for that many times as much."""
        return Cost(wall_s=self.wall_s * factor, cpu_s=self.cpu_s * factor, commands=round(self.commands * factor))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description="What one reading of many pools costs.")
    parser.add_argument("--pools", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    print("| pools | load | way | commands | wall ms | CPU ms | µs a pool | wall, times the reader |")
    print("|--:|---|---|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder), append_fsync="no") as server:
        for count in options.pools:
            sources = [_source(index) for index in range(count)]
            with redis.Redis.from_url(server.url) as client:
                client.flushall()
                _print_load("idle", server.url, client, sources, options.rounds)
                _fill(client, sources)
                _print_load("busy", server.url, client, sources, options.rounds)
                _delay(client, sources)
                cost = asyncio.run(_reader(server.url, sources, options.rounds))
                _print_row(len(sources), "delayed", "this reader", cost, 1.0)


def _print_load(load: str, url: str, client: redis.Redis, sources: Sequence[QueueSource], rounds: int) -> None:
    part = sources[:ONE_BY_ONE_POOLS]
    scaled = "" if len(part) == len(sources) else f" (scaled from {len(part)} pools)"
    rows = {
        "this reader": asyncio.run(_reader(url, sources, rounds)),
        "redis-py pipeline": _best(lambda: _pipeline(client, sources), rounds),
        f"one at a time{scaled}": _best(lambda: _one_by_one(client, part), 3).times(len(sources) / len(part)),
    }
    base_s = rows["this reader"].wall_s
    for way, cost in rows.items():
        _print_row(len(sources), load, way, cost, cost.wall_s / base_s)


def _print_row(pools: int, load: str, way: str, cost: Cost, times: float) -> None:
    print(
        f"| {pools} | {load} | {way} | {cost.commands} | {cost.wall_s * 1e3:.2f} | {cost.cpu_s * 1e3:.2f} "
        f"| {cost.wall_s / pools * 1e6:.1f} | {times:.1f} |",
        flush=True,
    )


async def _reader(url: str, sources: Sequence[QueueSource], rounds: int) -> Cost:
    reader = CeleryReader(url, read_timeout_s=30)
    costs = []
    # The first readings connect, pack the commands and look at every message once, and at so many new sets a reading.
    warm_up = 2 + len(sources) // 500
    for _ in range(rounds + warm_up):
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        reading = await reader.read(sources)
        cost = Cost(wall_s=time.perf_counter() - wall_s, cpu_s=time.process_time() - cpu_s, commands=reading.commands)
        costs.append(cost)
    await reader.close()
    return _least(costs[warm_up:])


def _best(read: Callable[[], int], rounds: int) -> Cost:
    costs = []
    for _ in range(rounds):
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        commands = read()
        costs.append(Cost(wall_s=time.perf_counter() - wall_s, cpu_s=time.process_time() - cpu_s, commands=commands))
    return _least(costs)


def _least(costs: Sequence[Cost]) -> Cost:
    return Cost(
        wall_s=min(cost.wall_s for cost in costs),
        cpu_s=min(cost.cpu_s for cost in costs),
        commands=costs[-1].commands,
    )


def _pipeline(client: redis.Redis, sources: Sequence[QueueSource]) -> int:
    pipeline = client.pipeline(transaction=False)
    for source in sources:
        _ask(pipeline, source)
    return len(pipeline.execute())


def _one_by_one(client: redis.Redis, sources: Sequence[QueueSource]) -> int:
    for source in sources:
        _ask(client, source)
    return 11 * len(sources)


def _ask(client: redis.Redis, source: QueueSource) -> None:
    for queue in source.queues:
        client.zcard(f"workerpool:delayed:{queue}")
        for key in (queue, *(f"{queue}\x06\x16{step}" for step in source.priorities if step)):
            client.llen(key)
            client.lindex(key, -1)
    own = f"workerpool:{source.key.namespace}:{source.key.name}:unacked"
    client.hlen(own)
    client.zrange(f"{own}_index", 0, 999)


def _source(index: int) -> QueueSource:
    return QueueSource(key=PoolKey(namespace="shop", name=f"pool-{index}"), queues=(f"queue-{index}",))


def _fill(client: redis.Redis, sources: Sequence[QueueSource]) -> None:
    pipeline = client.pipeline(transaction=False)
    for index, source in enumerate(sources):
        message = {
            "body": "W1tdLCB7fSwge31d" * 20,
            "content-type": "application/json",
            "headers": {"id": f"job-{index}", "task": "quick", "eta": None, "enqueued_at": time.time()},
            "properties": {"delivery_tag": f"tag-{index}"},
        }
        pipeline.lpush(source.queues[0], json.dumps(message))
        if index % 10 == 0:
            own = f"workerpool:{source.key.namespace}:{source.key.name}:unacked"
            pipeline.hset(own, f"tag-{index}", json.dumps([message, "", source.queues[0]]))
            pipeline.zadd(f"{own}_index", {f"tag-{index}": time.time()})
    pipeline.execute()


def _delay(client: redis.Redis, sources: Sequence[QueueSource]) -> None:
    pipeline, now_s = client.pipeline(transaction=False), time.time()
    for index, source in enumerate(sources):
        count = 10 if index else 100_000
        pipeline.zadd(f"workerpool:delayed:{source.queues[0]}", {f"tag-{at}": now_s + 3600 + at for at in range(count)})
    pipeline.execute()


if __name__ == "__main__":
    main()
