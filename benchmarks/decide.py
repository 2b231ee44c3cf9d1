"""What deciding costs: one ``decide`` call, and 1,000 pools read from a real Redis and decided.

    .venv/bin/python benchmarks/decide.py [--pools 1000] [--rounds 15]

Best of the rounds. The second table is the loop's own work for 1,000 pools in one cycle without the scaler: the round
trip, estimating what is in flight, deciding.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
import timeit
from collections.abc import Sequence
from pathlib import Path

import redis

from workerpool_operator.core.decision import History
from workerpool_operator.core.observation import InFlight, Observation, QueueDepth, Replicas
from workerpool_operator.core.policy import decide
from workerpool_operator.core.spec import PoolSpec
from workerpool_operator.local.redis_server import RedisServer
from workerpool_operator.loop import relax_collector
from workerpool_operator.ports import PoolKey, PoolReading, QueueSource, ReplicaState, WorkerBeat
from workerpool_operator.queues.celery import CeleryReader
from workerpool_operator.queues.inflight import InFlightMemory, estimate

SPEC = PoolSpec(max_replicas=50)
CALLS = 2_000
NONE = ReplicaState(current=0, ready=0, leaving=0, silent=0)
BUSY = ReplicaState(
    current=1,
    ready=1,
    leaving=0,
    silent=0,
    beats=(WorkerBeat(hostname="celery@pod", pid=1, active=1, processed=7, age_s=0.5),),
)
LATENCY = PoolSpec(max_replicas=50, queue_latency_s=30)


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description="What deciding costs.")
    parser.add_argument("--pools", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    relax_collector()
    print("| one decide() | µs |\n|---|--:|")
    for name, observation, spec in _situations():
        history = decide(observation, spec, History()).history
        seconds = min(_repeat(observation, spec, history))
        print(f"| {name} | {seconds / CALLS * 1e6:.1f} |")
    print(
        f"\n| {options.pools} pools | read, CPU ms | estimate + decide, CPU ms | all, CPU ms | all, wall ms |\n"
        "|---|--:|--:|--:|--:|"
    )
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder), append_fsync="no") as server:
        for load, waiting, state in (("idle at zero", 0, NONE), ("a job waits in each, a worker busy", 1, BUSY)):
            sources = [_source(number) for number in range(options.pools)]
            with redis.Redis.from_url(server.url) as client:
                client.flushall()
                for source in sources if waiting else ():
                    client.lpush(
                        source.queues[0], '{"headers": {"enqueued_at": 1.0}, "properties": {"delivery_tag": "a"}}'
                    )
            read, decided, wall = asyncio.run(_measure(server.url, sources, options.rounds, state))
            print(
                f"| {load} | {read * 1e3:.1f} | {decided * 1e3:.1f} | {(read + decided) * 1e3:.1f} | {wall * 1e3:.1f} |"
            )


def _repeat(observation: Observation, spec: PoolSpec, history: History) -> list[float]:
    return timeit.repeat(lambda: decide(observation, spec, history), timer=time.process_time, number=CALLS, repeat=9)


def _source(number: int) -> QueueSource:
    return QueueSource(key=PoolKey(namespace="shop", name=f"pool-{number}"), queues=(f"queue-{number}",))


def _situations() -> Sequence[tuple[str, Observation, PoolSpec]]:
    def seen(ready: int, running: int, current: int) -> Observation:
        return Observation(
            time_s=1_000.0,
            replicas=Replicas(current=current, ready=current, busy=min(running, current)),
            queues={"email": QueueDepth(ready=ready, oldest_job_s=3.0 if ready else None)},
            in_flight=InFlight(running=running),
        )

    return (
        ("idle at zero", seen(0, 0, 0), SPEC),
        ("working, size as wanted", seen(36, 4, 4), SPEC),
        ("growing", seen(300, 4, 4), SPEC),
        ("shrinking, held by the window", seen(0, 1, 5), SPEC),
        ("with a latency target", seen(300, 4, 4), LATENCY),
    )


async def _measure(
    url: str, sources: Sequence[QueueSource], rounds: int, state: ReplicaState
) -> tuple[float, float, float]:
    """CPU seconds of reading and of deciding, and wall seconds of both, in the best round."""
    reader = CeleryReader(url)
    histories = {source.key: History() for source in sources}
    memories = {source.key: InFlightMemory() for source in sources}
    results = []
    try:
        await reader.read(sources)
        for _ in range(rounds):
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            reading = await reader.read(sources)
            read_s = time.process_time() - cpu_s
            for source in sources:
                found = reading.pools[source.key]
                if not isinstance(found, PoolReading):
                    raise TypeError(f"{source.key} could not be read: {found}")
                in_flight, busy, memories[source.key] = estimate(found, state, memories[source.key], reading.time_s)
                observation = Observation(
                    time_s=reading.time_s,
                    replicas=Replicas(current=state.current, ready=state.ready, busy=busy),
                    queues=found.queues,
                    in_flight=in_flight,
                )
                histories[source.key] = decide(observation, SPEC, histories[source.key]).history
            results.append((read_s, time.process_time() - cpu_s - read_s, time.perf_counter() - wall_s))
    finally:
        await reader.close()
    return min(results, key=lambda times: times[0] + times[1])


if __name__ == "__main__":
    main()
