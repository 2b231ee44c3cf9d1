"""When each alert fires and when it must not: series in promtool's notation, one sample a minute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

OPERATOR = "shop/workerpool-operator"  # what the chart's monitors put on every series of the default installation


@dataclass(frozen=True, kw_only=True)
class Case:
    """At ``fires_at`` minutes the alert fires with these labels; at ``quiet_at`` it does not."""

    alert: str
    what: str
    series: Mapping[str, str] = field(default_factory=dict)
    fires_at: int | None = None
    quiet_at: tuple[int, ...] = ()
    labels: Mapping[str, str] = field(default_factory=lambda: {"namespace": "shop", "pool": "email"})


def of(metric: str, operator: str = OPERATOR, **labels: str) -> str:
    """A series of the pool shop/email."""
    named = {"namespace": "shop", "pool": "email", "pod": "a", "operator": operator, **labels}
    return metric + "{" + ",".join(f'{key}="{value}"' for key, value in named.items()) + "}"


def one(metric: str, **labels: str) -> str:
    """A series of an operator."""
    named = {"namespace": "shop", "pod": "a", "operator": OPERATOR, **labels}
    return metric + "{" + ",".join(f'{key}="{value}"' for key, value in named.items()) + "}"


LEADER = one("workerpool_leader")
POLLS = one("workerpool_poll_duration_seconds_count")
BROKER_UP = of("workerpool_broker_up")
READY = of("workerpool_ready_replicas")
DESIRED = of("workerpool_desired_replicas")
REPLICAS = of("workerpool_replicas")
MAXIMUM = of("workerpool_max_replicas")
WAITING = of("workerpool_queue_ready_jobs", queue="email")
OTHER_QUEUE = of("workerpool_queue_ready_jobs", queue="sms")
OLDEST = of("workerpool_queue_oldest_job_seconds", queue="email")
LAG = of("workerpool_loop_lag_seconds")
SCALED = of("workerpool_scale_events_total", direction="up", reason="WorkWaiting")
PROBLEM = of("workerpool_problem", reason="SecretMissing")
DEAD = of("workerpool_jobs_total", queue="email", task="email.send", outcome="dead")
DONE = of("workerpool_jobs_total", queue="email", task="email.send", outcome="completed")
STALE = {"pod": "b"}  # a second operator pod that tells of the same pool

_OF_PROBLEM = {"namespace": "shop", "pool": "email", "reason": "SecretMissing"}
_NEVER = (1, 5, 12, 20, 30, 45, 60)

CASES = (
    Case(
        alert="WorkerPoolNoLeader",
        what="both stand by",
        series={LEADER: "0x20", one("workerpool_leader", pod="b"): "0x20"},
        fires_at=3,
        quiet_at=(0, 1),
        labels={},
    ),
    Case(
        alert="WorkerPoolNoLeader",
        what="nobody is scraped",
        series={one("workerpool_leader", operator="other/operator"): "1x20"},
        fires_at=3,
        quiet_at=(1,),
        labels={"operator": OPERATOR},
    ),
    Case(
        alert="WorkerPoolNoLeader",
        what="one leads",
        series={LEADER: "0x60", one("workerpool_leader", pod="b"): "1x60"},
        quiet_at=_NEVER,
    ),
    Case(
        alert="WorkerPoolNoLeader",
        what="leading moves within a minute",
        series={LEADER: "1x10 0x50", one("workerpool_leader", pod="b"): "0x11 1x49"},
        quiet_at=(*_NEVER, 11),
    ),
    Case(
        alert="WorkerPoolLoopStopped",
        what="nothing is polled any more",
        series={LEADER: "1x40", DESIRED: "3x40", POLLS: "100+60x5 400x35"},
        fires_at=17,
        quiet_at=(4, 8),
        labels={},
    ),
    Case(
        alert="WorkerPoolLoopStopped",
        what="polled all the time",
        series={LEADER: "1x60", DESIRED: "3x60", POLLS: "100+60x60"},
        quiet_at=_NEVER,
    ),
    Case(alert="WorkerPoolLoopStopped", what="no pools", series={LEADER: "1x60", POLLS: "7x60"}, quiet_at=_NEVER),
    Case(
        alert="WorkerPoolLoopStopped",
        what="the polling operator is another pod than the one that stands by",
        series={
            LEADER: "0x60",
            POLLS: "7x60",
            DESIRED: "3x60",
            one("workerpool_leader", **STALE): "1x60",
            one("workerpool_poll_duration_seconds_count", **STALE): "1+60x60",
        },
        quiet_at=_NEVER,
    ),
    Case(alert="WorkerPoolLoopLag", what="six seconds late", series={LAG: "6x20"}, fires_at=6, quiet_at=(1, 4)),
    Case(alert="WorkerPoolLoopLag", what="four seconds late", series={LAG: "4x60"}, quiet_at=_NEVER),
    Case(alert="WorkerPoolLoopLag", what="late once", series={LAG: "0x3 60 0x60"}, quiet_at=_NEVER),
    Case(alert="WorkerPoolBrokerDown", what="away", series={BROKER_UP: "1x3 0x20"}, fires_at=7, quiet_at=(3, 4, 5)),
    Case(alert="WorkerPoolBrokerDown", what="there", series={BROKER_UP: "1x60"}, quiet_at=_NEVER),
    Case(
        alert="WorkerPoolBrokerDown",
        what="a former leader still says so",
        series={BROKER_UP: "1x60", of("workerpool_broker_up", **STALE): "0x60"},
        quiet_at=_NEVER,
    ),
    Case(alert="WorkerPoolBrokerDown", what="on and off", series={BROKER_UP: "0 1 0 1 0 1 0 1x20"}, quiet_at=_NEVER),
    Case(
        alert="WorkerPoolPollErrors",
        what="every second minute",
        series={BROKER_UP: " ".join(["0 1"] * 30)},
        fires_at=30,
        quiet_at=(3, 8),
    ),
    Case(alert="WorkerPoolPollErrors", what="one bad minute", series={BROKER_UP: "1x20 0 1x40"}, quiet_at=_NEVER),
    Case(
        alert="WorkerPoolStuck",
        what="jobs and nobody",
        series={READY: "0x20", WAITING: "7x20"},
        fires_at=6,
        quiet_at=(1, 4),
    ),
    Case(
        alert="WorkerPoolStuck",
        what="jobs in one of two queues",
        series={READY: "0x20", WAITING: "0x20", OTHER_QUEUE: "1x20"},
        fires_at=6,
        quiet_at=(1,),
    ),
    Case(alert="WorkerPoolStuck", what="a worker is ready", series={READY: "1x60", WAITING: "7x60"}, quiet_at=_NEVER),
    Case(
        alert="WorkerPoolStuck", what="at zero without work", series={READY: "0x60", WAITING: "0x60"}, quiet_at=_NEVER
    ),
    Case(
        alert="WorkerPoolStuck",
        what="a cold start of two minutes",
        series={READY: "0x4 3x60", WAITING: "0 0 9x60"},
        quiet_at=_NEVER,
    ),
    Case(alert="WorkerPoolStuck", what="unknown is not waiting", series={READY: "0x60"}, quiet_at=_NEVER),
    Case(alert="WorkerPoolJobsTooOld", what="too old", series={OLDEST: "400+60x30"}, fires_at=6, quiet_at=(1, 4)),
    Case(alert="WorkerPoolJobsTooOld", what="young", series={OLDEST: "299x60"}, quiet_at=_NEVER),
    Case(
        alert="WorkerPoolAtMaximum",
        what="at the maximum, and ever more waits",
        series={DESIRED: "10x60", MAXIMUM: "10x60", WAITING: "100+10x60"},
        fires_at=20,
        quiet_at=(5, 12),
    ),
    Case(
        alert="WorkerPoolAtMaximum",
        what="at the maximum, and it works it off",
        series={DESIRED: "10x60", MAXIMUM: "10x60", WAITING: "1000-10x60"},
        quiet_at=_NEVER,
    ),
    Case(
        alert="WorkerPoolAtMaximum",
        what="ever more waits, and there is room",
        series={DESIRED: "9x60", MAXIMUM: "10x60", WAITING: "100+10x60"},
        quiet_at=_NEVER,
    ),
    Case(
        alert="WorkerPoolCannotScale",
        what="too few",
        series={DESIRED: "5x20", REPLICAS: "2x20"},
        fires_at=6,
        quiet_at=(1, 4),
    ),
    Case(alert="WorkerPoolCannotScale", what="too many", series={DESIRED: "2x20", REPLICAS: "5x20"}, fires_at=6),
    Case(alert="WorkerPoolCannotScale", what="as decided", series={DESIRED: "5x60", REPLICAS: "5x60"}, quiet_at=_NEVER),
    Case(
        alert="WorkerPoolCannotScale",
        what="one behind while it grows",
        series={DESIRED: "1 2 3 4 5x60", REPLICAS: "0 1 2 3 4 5x60"},
        quiet_at=_NEVER,
    ),
    Case(
        alert="WorkerPoolProblem",
        what="a Secret is gone",
        series={PROBLEM: "1x20"},
        fires_at=6,
        quiet_at=(1, 4),
        labels=_OF_PROBLEM,
    ),
    Case(alert="WorkerPoolProblem", what="solved in time", series={PROBLEM: "1 1 1 stale"}, quiet_at=_NEVER),
    Case(
        alert="WorkerPoolNotReady",
        what="two of three",
        series={REPLICAS: "3x40", READY: "1x40"},
        fires_at=16,
        quiet_at=(1, 14),
    ),
    Case(alert="WorkerPoolNotReady", what="all", series={REPLICAS: "3x60", READY: "3x60"}, quiet_at=_NEVER),
    Case(alert="WorkerPoolFlapping", what="three a minute", series={SCALED: "0+3x60"}, fires_at=20, quiet_at=(5,)),
    Case(alert="WorkerPoolFlapping", what="one a minute", series={SCALED: "0+1x60"}, quiet_at=_NEVER),
    Case(
        alert="WorkerPoolDeadLetters",
        what="one more, in a worker that runs for long",
        series={DEAD: "3x20 4x40"},
        fires_at=22,
        quiet_at=(18, 20, 40, 55),
    ),
    Case(
        alert="WorkerPoolDeadLetters",
        what="the first of a worker that has just come",
        series={DEAD: "_x10 1x40", DONE: "0+1x60"},
        fires_at=12,
        quiet_at=(5, 9, 30, 45),
    ),
    Case(
        alert="WorkerPoolDeadLetters",
        what="of a worker that is gone at once",
        series={DEAD: "_x10 2 stale"},
        fires_at=14,
        quiet_at=(5, 30),
    ),
    Case(
        alert="WorkerPoolDeadLetters",
        what="those of yesterday, and jobs that end otherwise",
        series={DEAD: "7x60", DONE: "0+9x60"},
        quiet_at=(20, 30, 45, 60),
    ),
)
