"""Mistakes in the spec of a pool, each with the line that tells of it."""

from __future__ import annotations

from typing import Any

TEN = "0 10 * * *"
NINE = "0 9 * * *"
QUANTITY = "is not a quantity (such as 500m, 1Gi)"
LABEL = 'may hold lower-case letters, digits and "-", and begins and ends with a letter or digit'
CHOOSE = "set exactly one of worker and deploymentRef"
ADDRESS = "set exactly one of url and urlSecretRef"
PASSWORD = "holds a password: keep the whole URL in a Secret and name that in urlSecretRef"
NO_URL = "is not a URL (such as redis://redis:6379/0)"


def broker(**fields: Any) -> dict[str, Any]:
    return {"broker": {"url": "redis://r:6379/0", **fields}}


def address(url: object) -> dict[str, Any]:
    return {"broker": {"url": url}}


def schedule(**fields: Any) -> dict[str, Any]:
    return {"scaling": {"schedules": [{"name": "a", "start": NINE, "end": TEN, "minReplicas": 2, **fields}]}}


def worker(**fields: Any) -> dict[str, Any]:
    return {"worker": fields}


def limits(**fields: Any) -> dict[str, Any]:
    return worker(resources={"limits": fields})


CASES: list[tuple[dict[str, Any], str]] = [
    # sizes
    ({"minReplicas": 5, "maxReplicas": 3}, "spec.maxReplicas: 3 is less than minReplicas 5"),
    ({"minReplicas": 12}, "spec.minReplicas: 12 is more than maxReplicas 10 (its default); set maxReplicas"),
    ({"replicas": 11}, "spec.replicas: 11 is more than maxReplicas 10 (its default)"),
    ({"replicas": 4, "maxReplicas": 3}, "spec.replicas: 4 is more than maxReplicas 3"),
    ({"minReplicas": -1}, "spec.minReplicas: must be at least 0, not -1"),
    ({"maxReplicas": 0}, "spec.maxReplicas: must be at least 1, not 0"),
    ({"maxReplicas": 1001}, "spec.maxReplicas: must be at most 1000, not 1001"),
    (
        {"maxReplicas": 10**40},
        'spec.maxReplicas: must be a whole number, not the text "1' + "0" * 40 + '" (remove the quotes)',
    ),
    ({"maxReplicas": "3"}, 'spec.maxReplicas: must be a whole number, not the text "3" (remove the quotes)'),
    ({"maxReplicas": 3.0}, "spec.maxReplicas: must be a whole number, not the number 3.0"),
    ({"maxReplicas": True}, "spec.maxReplicas: must be a whole number, not true"),
    ({"maxReplicas": []}, "spec.maxReplicas: must be a whole number, not a list"),
    ({"maxReplica": 3}, "spec.maxReplica: unknown field; did you mean maxReplicas?"),
    ({"max_replicas": 3}, "spec.max_replicas: unknown field; did you mean maxReplicas?"),
    ({"MAXREPLICAS": None}, "spec.MAXREPLICAS: unknown field; did you mean maxReplicas?"),
    ({"backlogPerReplica": 3}, "spec.backlogPerReplica: unknown field; did you mean spec.scaling.backlogPerReplica?"),
    ({"wat": 3}, "spec.wat: unknown field; remove it"),
    ({"a b": 3}, 'spec["a b"]: unknown field; remove it'),
    # queues
    ({"queues": ...}, "spec.queues: is required"),
    ({"queues": None}, "spec.queues: is required"),
    ({"queues": []}, "spec.queues: must not be empty"),
    ({"queues": {}}, "spec.queues: must be a list, not a mapping"),
    ({"queues": ["email"]}, "spec.queues[0]: must be a mapping (field: value), not text"),
    ({"queues": [{"name": "a"}, {"name": ""}]}, "spec.queues[1].name: must not be empty"),
    ({"queues": [{"name": 5}]}, "spec.queues[0].name: must be text, not the number 5 (put it in quotes)"),
    ({"queues": [{"name": "a"}] * 2}, "spec.queues[1].name: is the same as spec.queues[0].name; each must be unique"),
    ({"queues": [{"name": "q" * 254}]}, "spec.queues[0].name: has 254 characters; at most 253 are allowed"),
    (
        {"queues": [{"name": "a,b"}]},
        (
            'spec.queues[0].name: "a,b" must hold neither commas nor control characters, '
            "and neither begin nor end with a space"
        ),
    ),
    ({"queues": [{"name": f"q{n}"} for n in range(65)]}, "spec.queues: has 65 entries; at most 64 are allowed"),
    # broker
    ({"broker": ...}, "spec.broker: is required: set its url or urlSecretRef"),
    ({"broker": {}}, f"spec.broker: {ADDRESS}"),
    ({"broker": "redis://:secret@r"}, "spec.broker: must be a mapping (field: value), not text"),
    (broker(urlSecretRef={"name": "a", "key": "b"}), f"spec.broker: {ADDRESS}"),
    ({"broker": {"urlSecretRef": {"name": "a"}}}, "spec.broker.urlSecretRef.key: is required"),
    (
        broker(layout="celery"),
        'spec.broker.layout: "celery" is not one of Celery, BullMQ, RQ, List; did you mean Celery?',
    ),
    (broker(layout=7), "spec.broker.layout: 7 is not one of Celery, BullMQ, RQ, List"),
    (broker(priorities=[3, 0]), "spec.broker.priorities: must be ascending, each once (such as [0, 3, 6, 9])"),
    (broker(priorities=[0, 0]), "spec.broker.priorities: must be ascending, each once (such as [0, 3, 6, 9])"),
    (broker(priorities=[0, 256]), "spec.broker.priorities[1]: must be at most 255, not 256"),
    (broker(password="secret"), "spec.broker.password: unknown field; remove it"),
    (
        broker(caSecretRef={"name": "a", "key": "b"}),
        "spec.broker.caSecretRef: the url is redis://, which does not use TLS; use rediss://",
    ),
    (address("redis://:secret@r:6379/0"), f"spec.broker.url: {PASSWORD}"),
    (address("redis://user:secret@r"), f"spec.broker.url: {PASSWORD}"),
    (address("redis://u%3Asecret@r"), f"spec.broker.url: {PASSWORD}"),
    (address("redis://r/0?password=secret"), f"spec.broker.url: {PASSWORD}"),
    (address("amqp://user:secret@r"), f"spec.broker.url: {PASSWORD}"),
    (
        address("amqp://r"),
        "spec.broker.url: its scheme is not one of redis://, rediss://, redis+sentinel://, rediss+sentinel://, unix://",
    ),
    (address("redis:6379"), f"spec.broker.url: {NO_URL}"),
    (address("redis://r 1"), f"spec.broker.url: {NO_URL}"),
    (address("redis://[::1"), f"spec.broker.url: {NO_URL}"),
    (address(""), "spec.broker.url: must not be empty"),
    (address(6379), "spec.broker.url: must be text, not a number (put it in quotes)"),
    (address("redis:///0"), "spec.broker.url: names no host (such as redis://redis:6379/0)"),
    (address("redis://r:port"), "spec.broker.url: its port is not a number from 1 to 65535"),
    (address("redis://r:65536"), "spec.broker.url: its port is not a number from 1 to 65535"),
    (
        address("redis://a,b:1/0"),
        "spec.broker.url: its host is not a name or an address (such as redis://redis:6379/0)",
    ),
    (address("redis://r/zero"), "spec.broker.url: its database is not a number (such as redis://redis:6379/0)"),
    (address("redis://r/0/1"), "spec.broker.url: has more after the database number (such as redis://redis:6379/0)"),
    (
        address("redis+sentinel://a:1,b:2"),
        "spec.broker.url: names no service (such as redis+sentinel://sentinel:26379/mymaster/0)",
    ),
    (address("unix://"), "spec.broker.url: names no socket (such as unix:///run/redis.sock?db=0)"),
    # scaling
    ({"scaling": 5}, "spec.scaling: must be a mapping (field: value), not a number"),
    (
        {"scaling": {"paused": "true"}},
        'spec.scaling.paused: must be true or false, not the text "true" (remove the quotes)',
    ),
    ({"scaling": {"paused": 1}}, "spec.scaling.paused: must be true or false, not the number 1"),
    (
        {"scaling": {"pollIntervalMilliseconds": 99}},
        "spec.scaling.pollIntervalMilliseconds: must be at least 100, not 99",
    ),
    (
        {"scaling": {"scaleDown": {"whenBusy": "wait"}}},
        'spec.scaling.scaleDown.whenBusy: "wait" is not one of Wait, Allow; did you mean Wait?',
    ),
    ({"scaling": {"fallback": {}}}, "spec.scaling.fallback.replicas: is required"),
    (
        {"scaling": {"fallback": {"replicas": 11}}},
        "spec.scaling.fallback.replicas: 11 is more than maxReplicas 10 (its default)",
    ),
    ({"scaling": {"budget": {"maxReplicas": 3}}}, "spec.scaling.budget.name: is required"),
    ({"scaling": {"budget": {"name": "db"}}}, "spec.scaling.budget.maxReplicas: is required"),
    (
        {"scaling": {"budget": {"name": "db", "maxReplicas": 0}}},
        "spec.scaling.budget.maxReplicas: must be at least 1, not 0",
    ),
    (
        {"scaling": {"budget": {"name": "db", "maxReplicas": 3, "weight": 1001}}},
        "spec.scaling.budget.weight: must be at most 1000, not 1001",
    ),
    (
        {"scaling": {"budget": {"name": "db", "maxReplicas": 3, "wieght": 2}}},
        "spec.scaling.budget.wieght: unknown field; did you mean weight?",
    ),
    (schedule(minReplicas=11), "spec.scaling.schedules[0].minReplicas: 11 is more than maxReplicas 10 (its default)"),
    (
        schedule(start="61 * * * *"),
        'spec.scaling.schedules[0].start: "61 * * * *" is not a cron expression: minute 61 must be 0 to 59',
    ),
    (
        schedule(start="0 8 * * FRY"),
        (
            'spec.scaling.schedules[0].start: "0 8 * * FRY" is not a cron expression: '
            "day-of-week FRY must be 0 to 7 or SUN to SAT"
        ),
    ),
    (
        schedule(end="0 8 30 2 *"),
        'spec.scaling.schedules[0].end: "0 8 30 2 *" is not a cron expression: no such day ever comes',
    ),
    (
        schedule(end="@daily"),
        (
            'spec.scaling.schedules[0].end: "@daily" is not a cron expression: '
            "it has 1 fields, not five (minute hour day-of-month month day-of-week)"
        ),
    ),
    (
        schedule(end="0 9 * * *"),
        "spec.scaling.schedules[0].end: is the same time as start; the schedule would never be in force",
    ),
    (
        schedule(start="0 9 * JAN FRI", end="00 9 * 1 5"),
        "spec.scaling.schedules[0].end: is the same time as start; the schedule would never be in force",
    ),
    (
        schedule(timeZone="Europe/Roma"),
        'spec.scaling.schedules[0].timeZone: "Europe/Roma" is not a time zone; did you mean Europe/Rome?',
    ),
    (
        schedule(timeZone="../../passwd"),
        'spec.scaling.schedules[0].timeZone: "../../passwd" is not a time zone (use an IANA name such as Europe/Rome)',
    ),
    (schedule(name="Lunch Time"), f'spec.scaling.schedules[0].name: "Lunch Time" {LABEL}'),
    # what is scaled
    ({"worker": ...}, f"spec: {CHOOSE} (worker: {{}} is the bundled worker)"),
    ({"worker": None}, f"spec: {CHOOSE} (worker: {{}} is the bundled worker)"),
    ({"deploymentRef": {"name": "a"}}, f"spec: {CHOOSE}"),
    ({"deploymentref": {"name": "a"}}, "spec.deploymentref: unknown field; did you mean deploymentRef?"),
    # worker
    (worker(image=""), "spec.worker.image: must not be empty"),
    (worker(image="a b"), 'spec.worker.image: "a b" is not an image reference (such as ghcr.io/shop/mailer:1.2)'),
    (worker(command="celery"), "spec.worker.command: must be a list, not text"),
    (worker(command=["a", 5]), "spec.worker.command[1]: must be text, not a number (put it in quotes)"),
    (worker(concurrency=257), "spec.worker.concurrency: must be at most 256, not 257"),
    (worker(concurency=2), "spec.worker.concurency: unknown field; did you mean concurrency?"),
    (worker(terminationGracePeriodSeconds=0), "spec.worker.terminationGracePeriodSeconds: must be at least 1, not 0"),
    (worker(env={"A": "1"}), "spec.worker.env: must be a list, not a mapping"),
    (
        worker(env=[{"name": "A", "value": 1}]),
        "spec.worker.env[0].value: must be text, not a number (put it in quotes)",
    ),
    (
        worker(env=[{"name": "A", "value": True}]),
        "spec.worker.env[0].value: must be text, not true or false (put it in quotes)",
    ),
    (
        worker(env=[{"name": "1A"}]),
        'spec.worker.env[0].name: "1A" may hold letters, digits, "_", "-" and ".", and does not begin with a digit',
    ),
    (
        worker(env=[{"name": "A", "value": "", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
        "spec.worker.env[0]: set at most one of value and valueFrom",
    ),
    (
        worker(env=[{"name": "A", "valueFrom": {}}]),
        "spec.worker.env[0].valueFrom: set exactly one of secretKeyRef, configMapKeyRef, fieldRef and resourceFieldRef",
    ),
    (worker(envFrom=[{}]), "spec.worker.envFrom[0]: set exactly one of secretRef and configMapRef"),
    (limits(memory="1Gb"), f'spec.worker.resources.limits.memory: "1Gb" {QUANTITY}'),
    (limits(memory="-1"), "spec.worker.resources.limits.memory: must not be negative"),
    (
        limits(cpu=0.5),
        'spec.worker.resources.limits.cpu: must be a whole number or a quantity in quotes (such as "500m", "1Gi")',
    ),
    (
        worker(resources={"requests": {"cpu": 1}, "limits": {"cpu": "500m"}}),
        "spec.worker.resources.requests.cpu: 1 is more than the limit 500m",
    ),
    (
        worker(nodeSelector={"a b": "c"}),
        'spec.worker.nodeSelector["a b"]: "a b" is not a label key (such as team or example.com/team)',
    ),
    (worker(tolerations=[{}]), "spec.worker.tolerations[0]: set key, or operator: Exists to tolerate every taint"),
    (
        worker(tolerations=[{"operator": "Exists", "value": "a"}]),
        "spec.worker.tolerations[0].value: must not be set with operator Exists; remove it",
    ),
    (
        worker(tolerations=[{"key": "a", "tolerationSeconds": 5}]),
        "spec.worker.tolerations[0].tolerationSeconds: is only for effect NoExecute; set that or remove it",
    ),
    (
        worker(volumes=[{"name": "a", "emptyDir": None}]),
        "spec.worker.volumes[0]: set exactly one kind of volume beside its name (such as emptyDir: {})",
    ),
    (
        worker(volumes=[{"name": "a"}]),
        "spec.worker.volumes[0]: set exactly one kind of volume beside its name (such as emptyDir: {})",
    ),
    (
        worker(volumeMounts=[{"name": "a", "mountPath": "/a"}]),
        "spec.worker.volumeMounts[0].name: is not the name of one of spec.worker.volumes",
    ),
    (
        worker(podLabels={"workerpool.dev/pool": "a"}),
        'spec.worker.podLabels["workerpool.dev/pool"]: keys under workerpool.dev/ are the operator\'s own; remove it',
    ),
    (
        worker(affinity={"nodeAfinity": {}}),
        "spec.worker.affinity.nodeAfinity: unknown field; did you mean nodeAffinity?",
    ),
]
