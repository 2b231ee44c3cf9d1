"""What a pool renders to; tests/integration/kube/test_render.py has a real API server judge it."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.unit.resource.documents import SMALL, VALID, varied
from workerpool_operator.kube.names import selector_text
from workerpool_operator.kube.render import (
    creation,
    deployment,
    initial_replicas,
    pod_disruption_budget,
    replicas_claim,
)
from workerpool_operator.kube.render_env import cautions
from workerpool_operator.resource.parse import parse_pool

pytestmark = pytest.mark.unit

BUNDLED = "ghcr.io/workerpool/worker"


def rendered(document: dict[str, Any] = SMALL, **more: Any) -> dict[str, Any]:
    return deployment(parse_pool(document), uid="u", **more)


def pod_of(document: dict[str, Any] = SMALL) -> dict[str, Any]:
    pod: dict[str, Any] = rendered(document)["spec"]["template"]["spec"]
    return pod


def container_of(**worker: Any) -> dict[str, Any]:
    container: dict[str, Any] = pod_of(varied(worker=worker))["containers"][0]
    return container


def env_of(document: dict[str, Any] = SMALL) -> dict[str, Any]:
    entries = pod_of(document)["containers"][0]["env"]
    assert len({entry["name"] for entry in entries}) == len(entries)
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in entries}


def test_the_size_is_nowhere_but_in_the_first_apply() -> None:
    assert "replicas" not in rendered()["spec"]
    first = creation(parse_pool(SMALL), uid="u")
    assert first["spec"].pop("replicas") == 0
    assert first == rendered()
    claim = replicas_claim(parse_pool(SMALL), 0)
    assert claim["spec"] == {"replicas": 0}
    assert claim["metadata"] == {"name": "email", "namespace": "default"}


@pytest.mark.parametrize(
    ("fields", "size"),
    [({}, 0), ({"minReplicas": 3}, 3), ({"minReplicas": 3, "replicas": 0}, 0), ({"replicas": 7}, 7)],
)
def test_a_deployment_begins_at_its_pin_or_its_minimum(fields: dict[str, Any], size: int) -> None:
    assert initial_replicas(parse_pool(varied(**fields))) == size


def test_pools_that_name_no_image_run_the_one_the_operator_was_told() -> None:
    mirror = "mirror.example/wp/worker@sha256:" + "0" * 64
    for make in (deployment, creation):
        for document, image in ((SMALL, mirror), (varied(worker={"image": f"{BUNDLED}:2"}), f"{BUNDLED}:2")):
            pod = make(parse_pool(document), uid="u", worker_image=mirror)["spec"]["template"]["spec"]
            assert pod["containers"][0]["image"] == image
            assert pod["securityContext"]["runAsUser"] == 65532


def test_somebody_elses_deployment_is_not_rendered() -> None:
    pool = parse_pool(varied(worker=..., deploymentRef={"name": "mailer"}))
    with pytest.raises(ValueError, match=r"no spec\.worker"):
        deployment(pool, uid="u")
    assert pod_disruption_budget(pool, uid="u") is None
    assert cautions(pool) == ()


def test_the_same_pool_gives_the_same_bytes_and_changes_nothing_it_was_given() -> None:
    pool = parse_pool(VALID)
    first = json.dumps(deployment(pool, uid="u"))
    assert first == json.dumps(deployment(pool, uid="u")) == json.dumps(deployment(parse_pool(VALID), uid="u"))
    assert pool == parse_pool(VALID)


def test_it_belongs_to_its_pool() -> None:
    for body in (rendered(), pod_disruption_budget(parse_pool(SMALL), uid="u") or {}):
        (owner,) = body["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("WorkerPool", "u", True)
        assert body["metadata"]["labels"]["workerpool.dev/pool"] == "email"


def test_labels_of_the_users_cannot_break_the_selector_and_those_of_the_pool_are_not_passed_on() -> None:
    body = rendered(varied(worker={"podLabels": {"team": "a", "app.kubernetes.io/name": "mine"}}))
    labels = body["spec"]["template"]["metadata"]["labels"]
    assert labels["team"] == "a"
    assert labels["app.kubernetes.io/name"] == "mine"
    assert body["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert (
        selector_text("email") == selector_text(body["spec"]["selector"]["matchLabels"]) == "workerpool.dev/pool=email"
    )
    assert "team" not in rendered(VALID)["metadata"]["labels"]


def test_what_a_worker_is_told() -> None:
    env = env_of(varied(queues=[{"name": "email"}, {"name": "two words"}], worker={"concurrency": 4}))
    assert env["BROKER_URL"] == env["CELERY_BROKER_URL"] == "redis://redis:6379/0"
    assert env["WORKERPOOL_POOL"] == "email"
    assert env["WORKERPOOL_NAMESPACE"] == "default"
    assert env["WORKERPOOL_QUEUES"] == "email,two words"
    assert env["WORKERPOOL_GRACE_SECONDS"] == "60"
    assert env["WORKERPOOL_CONCURRENCY"] == "4"
    assert env["WORKERPOOL_REPLICA"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert env["WORKERPOOL_WORKER_NAME"] == "celery@$(WORKERPOOL_REPLICA)"
    assert "WORKERPOOL_CONCURRENCY" not in env_of()


def test_a_secret_is_named_and_never_read() -> None:
    env = env_of(VALID)
    assert env["BROKER_URL"] == {"secretKeyRef": {"name": "redis", "key": "url"}}
    assert env["WORKERPOOL_BROKER_CA_FILE"] == "/etc/workerpool/broker-ca/ca.crt"
    pod = pod_of(VALID)
    (volume,) = (one for one in pod["volumes"] if "secret" in one)
    assert volume["secret"] == {"secretName": "redis-ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]}


def test_the_users_value_wins_once_and_may_refer_to_ours() -> None:
    own = [{"name": "BROKER_URL", "value": "redis://mine"}, {"name": "A", "value": "$(WORKERPOOL_POOL)"}]
    document = varied(worker={"env": own})
    assert env_of(document)["BROKER_URL"] == "redis://mine"
    names = [entry["name"] for entry in pod_of(document)["containers"][0]["env"]]
    assert names.index("WORKERPOOL_POOL") < names.index("A")


def test_a_grace_that_the_bundled_worker_would_refuse_is_not_told_to_it() -> None:
    document = varied(worker={"terminationGracePeriodSeconds": 1})
    assert env_of(document)["WORKERPOOL_GRACE_SECONDS"] == "2"
    assert pod_of(document)["terminationGracePeriodSeconds"] == 1


@pytest.mark.parametrize(
    ("worker", "probed"),
    [
        ({}, True),
        ({"image": f"{BUNDLED}:0.2"}, True),
        ({"args": ["run", "--concurrency", "2"]}, True),
        ({"args": ["console"]}, False),
        ({"command": ["celery"]}, False),
        ({"image": "ghcr.io/shop/mailer:1"}, False),
    ],
)
def test_only_the_bundled_worker_is_probed(worker: dict[str, Any], probed: bool) -> None:
    container = container_of(**worker)
    assert ("readinessProbe" in container) is ("livenessProbe" in container) is probed
    names = {entry["name"] for entry in container["env"]}
    assert not probed or {"WORKERPOOL_HEARTBEAT_FILE", "WORKERPOOL_HEALTH_PORT"} <= names
    assert ("ports" in container) is probed


def test_the_probes_ask_over_http_where_the_worker_listens() -> None:
    container = container_of()
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["ports"] == [{"name": "health", "containerPort": 8080, "protocol": "TCP"}]
    moved = container_of(env=[{"name": "WORKERPOOL_HEALTH_PORT", "value": "9000"}])
    assert moved["ports"][0]["containerPort"] == 9000
    assert container_of(terminationGracePeriodSeconds=5)["livenessProbe"]["terminationGracePeriodSeconds"] == 5


def test_a_command_of_the_users_own_is_left_as_it_is() -> None:
    container = container_of(image="ghcr.io/shop/mailer:1")
    assert "command" not in container
    assert "args" not in container
    assert container_of()["args"] == ["run"]


def test_no_token_but_for_a_named_account_and_a_user_only_for_our_own_image() -> None:
    pod = pod_of()
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == "default"
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 65532
    foreign = pod_of(VALID)
    assert "automountServiceAccountToken" not in foreign
    assert foreign["serviceAccountName"] == "mailer"
    assert "runAsUser" not in foreign["securityContext"]


def mounts_of(document: dict[str, Any]) -> dict[str, str]:
    return {mount["mountPath"]: mount["name"] for mount in pod_of(document)["containers"][0]["volumeMounts"]}


def test_a_temporary_folder_is_there_whatever_the_user_mounts() -> None:
    assert mounts_of(SMALL) == {"/tmp": "workerpool-tmp"}
    own = {"volumes": [{"name": "tmp", "emptyDir": {}}], "volumeMounts": [{"name": "tmp", "mountPath": "/tmp/"}]}
    assert mounts_of(varied(worker=own)) == {"/tmp/": "tmp"}
    taken = {"volumes": [{"name": "workerpool-tmp", "emptyDir": {}}, {"name": "workerpool-tmp-2", "emptyDir": {}}]}
    assert mounts_of(varied(worker=taken)) == {"/tmp": "workerpool-tmp-3"}


def test_constraints_count_the_pools_own_pods_unless_told_otherwise() -> None:
    rule = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    own = {**rule, "topologyKey": "host", "labelSelector": {"matchLabels": {"a": "b"}}}
    first, second = pod_of(varied(worker={"topologySpreadConstraints": [rule, own]}))["topologySpreadConstraints"]
    assert first["labelSelector"] == {"matchLabels": {"workerpool.dev/pool": "email"}}
    assert second["labelSelector"] == {"matchLabels": {"a": "b"}}


def test_amounts_are_text_and_secrets_are_named_once() -> None:
    twice = [{"name": "registry"}, {"name": "registry"}]
    pod = pod_of(varied(worker={"resources": {"requests": {"cpu": 1}}, "imagePullSecrets": twice}))
    assert pod["containers"][0]["resources"] == {"requests": {"cpu": "1"}}
    assert pod["imagePullSecrets"] == [{"name": "registry"}]


def test_every_field_of_the_worker_shows_in_the_pod() -> None:
    full = rendered(VALID)
    for field in VALID["spec"]["worker"]:
        without = copy.deepcopy(VALID)
        del without["spec"]["worker"][field]
        if field == "volumes":
            del without["spec"]["worker"]["volumeMounts"]
        assert rendered(without) != full, field


def test_a_broker_that_changes_renews_the_pods() -> None:
    annotations = rendered(broker_revision="7")["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {"workerpool.dev/queues": "email", "workerpool.dev/broker-revision": "7"}
    assert rendered(broker_revision="7") != rendered(broker_revision="8")


def test_one_pod_may_always_be_evicted() -> None:
    body = pod_disruption_budget(parse_pool(varied(maxReplicas=2)), uid="u") or {}
    assert body["spec"]["maxUnavailable"] == "25%"
    assert body["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert pod_disruption_budget(parse_pool(varied(maxReplicas=1)), uid="u") is None


def test_books_in_a_file_of_the_pod_are_told_of() -> None:
    def told(**worker: Any) -> bool:
        return bool(cautions(parse_pool(varied(worker=worker))))

    assert told()
    assert not told(env=[{"name": "DATABASE_URL", "value": "postgresql://db/shop"}])
    assert not told(envFrom=[{"secretRef": {"name": "database"}}])
    assert not told(command=["celery"])
