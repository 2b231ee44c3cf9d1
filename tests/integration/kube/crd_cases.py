"""Which of the mistakes of ``tests/unit/resource/bad_documents`` the API server lets pass, and more that it refuses."""

from __future__ import annotations

from typing import Any

from tests.unit.resource.bad_documents import TEN, address, broker, limits, schedule, worker

LONG = "x" * 64
ENV = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}, "fieldRef": {"fieldPath": "x"}}}

OPERATOR_ONLY: tuple[dict[str, Any], ...] = (
    # what an address means
    address("redis://[::1"),
    address("redis:///0"),
    address("redis://r:port"),
    address("redis://r:65536"),
    address("redis://a,b:1/0"),
    address("redis://r/zero"),
    address("redis://r/0/1"),
    address("redis+sentinel://a:1,b:2"),
    # what a cron expression means, and which time zones there are
    schedule(start="61 * * * *"),
    schedule(start="0 8 * * FRY"),
    schedule(end="0 8 30 2 *"),
    schedule(start="0 9 * JAN FRI", end="00 9 * 1 5"),
    schedule(timeZone="Europe/Roma"),
    # of a part that is passed through, a null is kept
    worker(volumes=[{"name": "a", "emptyDir": None}]),
)
"""Accepted by the API server; the operator tells of them in one line. All others the API server refuses."""

REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"replicas": -1}, "spec.replicas"),
    ({"replicas": 1001}, "spec.replicas"),
    ({"replicas": 2**40}, "spec.replicas"),
    ({"scaling": {"backlogPerReplica": 0}}, "spec.scaling.backlogPerReplica"),
    ({"scaling": {"queueLatencySeconds": 86401}}, "spec.scaling.queueLatencySeconds"),
    ({"scaling": {"pollIntervalMilliseconds": 60001}}, "spec.scaling.pollIntervalMilliseconds"),
    ({"scaling": {"scaleUp": {"maxReplicasPerStep": 0}}}, "spec.scaling.scaleUp.maxReplicasPerStep"),
    ({"scaling": {"scaleDown": {"stabilizationSeconds": 3601}}}, "spec.scaling.scaleDown.stabilizationSeconds"),
    ({"scaling": {"fallback": {"replicas": 1, "afterSeconds": -1}}}, "spec.scaling.fallback.afterSeconds"),
    ({"scaling": {"fallback": {"replicas": 1, "size": 2}}}, "spec.scaling.fallback.size"),
    ({"scaling": {"budget": {"name": "db", "maxReplicas": 0}}}, "spec.scaling.budget.maxReplicas"),
    ({"scaling": {"budget": {"name": "db", "maxReplicas": 10001}}}, "spec.scaling.budget.maxReplicas"),
    ({"scaling": {"budget": {"name": "db", "maxReplicas": 3, "weight": 0}}}, "spec.scaling.budget.weight"),
    ({"scaling": {"budget": {"name": "D B", "maxReplicas": 3}}}, "spec.scaling.budget.name"),
    ({"scaling": {"budget": {"maxReplicas": 3}}}, "spec.scaling.budget.name"),
    (schedule(minReplicas=0), "spec.scaling.schedules[0].minReplicas"),
    (schedule(name=LONG), "spec.scaling.schedules[0].name"),
    (schedule(timeZone=LONG + "y"), "spec.scaling.schedules[0].timeZone"),
    (schedule(end=f"{TEN} 2026"), "spec.scaling.schedules[0].end"),
    (broker(keyPrefix="k" * 254), "spec.broker.keyPrefix"),
    (broker(priorities=[]), "spec.broker.priorities"),
    (broker(priorities=list(range(65))), "spec.broker.priorities"),
    (broker(priorities=[-1]), "spec.broker.priorities[0]"),
    (address("redis://" + "r" * 2048), "spec.broker.url"),
    (address("redis://r/0?sentinel_password=hunter2"), "spec.broker.url"),
    ({"broker": {"urlSecretRef": {"name": "Redis", "key": "url"}}}, "spec.broker.urlSecretRef.name"),
    ({"broker": {"urlSecretRef": {"name": "redis", "key": "a b"}}}, "spec.broker.urlSecretRef.key"),
    ({"worker": ..., "deploymentRef": {}}, "spec.deploymentRef.name"),
    ({"worker": ..., "deploymentRef": {"name": "Mailer"}}, "spec.deploymentRef.name"),
    (worker(image="a" * 513), "spec.worker.image"),
    (worker(imagePullPolicy="Sometimes"), "spec.worker.imagePullPolicy"),
    (worker(command=["a"] * 65), "spec.worker.command"),
    (worker(concurrency=0), "spec.worker.concurrency"),
    (worker(env=[{"name": "A"}, {"name": "A"}]), "spec.worker.env[1]"),
    (worker(env=[ENV]), "spec.worker.env[0].valueFrom"),
    (worker(env=[{"name": f"A{n}"} for n in range(257)]), "spec.worker.env"),
    (worker(envFrom=[{"secretRef": {"name": "a"}, "configMapRef": {"name": "a"}}]), "spec.worker.envFrom[0]"),
    (limits(cpu="500mm"), "spec.worker.resources.limits.cpu"),
    (limits(cpu=-1), "spec.worker.resources.limits.cpu"),
    (worker(resources={"limits": {"a b": 1}}), "spec.worker.resources.limits"),
    (worker(resources={"claims": []}), "spec.worker.resources.claims"),
    (worker(tolerations=[{"key": "a", "effect": "Never"}]), "spec.worker.tolerations[0].effect"),
    (worker(tolerations=[{"operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 1}]), "tolerations[0]"),
    (worker(volumes=[{"name": "a", "emptyDir": {}, "secret": {}}]), "spec.worker.volumes[0]"),
    (worker(volumes=[{"name": "a", "emptyDir": {}}] * 2), "spec.worker.volumes[1]"),
    (
        worker(
            volumes=[{"name": "a", "emptyDir": {}}],
            volumeMounts=[{"name": "a", "mountPath": "/a", "subPath": "b", "subPathExpr": "c"}],
        ),
        "spec.worker.volumeMounts[0]",
    ),
    (worker(podLabels={"team": "a b"}), "spec.worker.podLabels.team"),
    (worker(podLabels={"-": "a"}), "spec.worker.podLabels"),
    (worker(podLabels={f"k{n}": "" for n in range(65)}), "spec.worker.podLabels"),
    (worker(podAnnotations={"workerpool.dev/queues": "a"}), "spec.worker.podAnnotations"),
    (worker(nodeSelector={"a" * 318: "b"}), "spec.worker.nodeSelector"),
    (worker(topologySpreadConstraints=[{"maxSkew": 0}]), "spec.worker.topologySpreadConstraints[0].maxSkew"),
    (worker(affinity={"podAffinity": []}), "spec.worker.affinity.podAffinity"),
    (worker(terminationGracePeriodSeconds=86401), "spec.worker.terminationGracePeriodSeconds"),
    ({"queues": [{"name": "a", "weight": 2}]}, "spec.queues[0].weight"),
)
"""More that the API server refuses, with what its message has to name."""
