"""The demo Redis, and that its password is in Secrets only."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import yaml

from tests.chart.helm import HelmError, Object, named, notes, of_kind, rendered, rendered_text

pytestmark = pytest.mark.unit

REDIS = "workerpool-redis"
CANARY = "canary-p@ss:w/rd#+1"
QUOTED = "canary-p%40ss%3Aw%2Frd%23%2B1"


def content(secret: Object) -> dict[str, str]:
    assert "stringData" not in secret
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}


def test_the_secret_has_a_password_and_the_address_with_it() -> None:
    made = content(named(rendered(), "Secret", REDIS))
    assert len(made["password"]) >= 24
    assert made["url"] == f"redis://:{made['password']}@workerpool-redis.shop.svc:6379/0"
    assert named(rendered(), "Secret", REDIS)["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_a_new_password_every_time_where_no_cluster_can_be_asked() -> None:
    first = content(named(rendered(), "Secret", REDIS))["password"]
    other = content(named(rendered({"logLevel": "INFO"}), "Secret", REDIS))["password"]
    assert first != other


def test_a_password_of_one_s_own_is_quoted_in_the_address() -> None:
    made = content(named(rendered({"redis": {"auth": {"password": CANARY}}}), "Secret", REDIS))
    assert made == {"password": CANARY, "url": f"redis://:{QUOTED}@workerpool-redis.shop.svc:6379/0"}


@pytest.mark.parametrize("password", ["short", "with a space in it", "x" * 257])
def test_a_password_that_cannot_be_used_is_refused_without_being_shown(password: str) -> None:
    with pytest.raises(HelmError, match=r"redis\.auth\.password: has to be 8 to 256 characters without spaces") as said:
        rendered({"redis": {"auth": {"password": password}}})
    assert password not in str(said.value)


def test_the_password_is_in_secrets_only() -> None:
    values: dict[str, Any] = {
        "redis": {"auth": {"password": CANARY}, "shareWithNamespaces": ["billing"]},
        "metrics": {"dashboards": {"enabled": True}, "serviceMonitor": {"enabled": True}},
        "pools": {"email": {"queues": [{"name": "email"}], "maxReplicas": 3, "worker": {}}},
    }
    text = rendered_text(values)
    shapes = {CANARY, QUOTED, base64.b64encode(CANARY.encode()).decode()}
    things = [one for one in yaml.safe_load_all(text) if one["kind"] != "Secret"]
    assert len(things) > 10
    for one in things:
        found = json.dumps(one, ensure_ascii=False)
        assert not [shape for shape in shapes if shape in found], one["metadata"]["name"]
    said = notes(values | {"metrics": {}})
    assert not [shape for shape in shapes if shape in said]
    other = rendered_text(json.loads(json.dumps(values).replace(CANARY, "another-one")))
    rest = [one for one in yaml.safe_load_all(other) if one["kind"] != "Secret"]
    assert things == rest, "nothing outside Secrets is made from the password, no checksum either"


def test_a_password_that_is_there_is_named_only() -> None:
    there = rendered({"redis": {"auth": {"existingSecret": "mine"}}})
    assert not of_kind(there, "Secret")
    assert used_secrets(there) == {"mine"}


def used_secrets(things: list[Object]) -> set[str]:
    [only] = named(things, "StatefulSet", REDIS)["spec"]["template"]["spec"]["containers"]
    return {one["valueFrom"]["secretKeyRef"]["name"] for one in only["env"] if "valueFrom" in one}


def test_without_redis_nothing_of_it_is_left() -> None:
    there = rendered({"redis": {"enabled": False}})
    assert not of_kind(there, "StatefulSet")
    assert not of_kind(there, "Secret")
    assert "redis" not in json.dumps([one["metadata"]["name"] for one in there])


def test_jobs_are_kept_on_a_volume_unless_told_otherwise() -> None:
    [claim] = named(rendered(), "StatefulSet", REDIS)["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "2Gi"
    assert "storageClassName" not in claim["spec"], "empty: the cluster's default"
    values = {"redis": {"persistence": {"size": "9Gi", "storageClass": "fast"}}}
    [claim] = named(rendered(values), "StatefulSet", REDIS)["spec"]["volumeClaimTemplates"]
    assert (claim["spec"]["resources"]["requests"]["storage"], claim["spec"]["storageClassName"]) == ("9Gi", "fast")
    without = named(rendered({"redis": {"persistence": {"enabled": False}}}), "StatefulSet", REDIS)["spec"]
    assert "volumeClaimTemplates" not in without
    assert {"name": "data", "emptyDir": {}} in without["template"]["spec"]["volumes"]


def test_it_drops_no_job() -> None:
    lines = named(rendered(), "ConfigMap", REDIS)["data"]["redis.conf"].splitlines()
    assert {"appendonly yes", "maxmemory-policy noeviction", "maxmemory 256mb"} <= set(lines)
    changed = rendered({"redis": {"extraConfig": "hz 20", "maxmemory": "64mb"}})
    assert {"hz 20", "maxmemory 64mb"} <= set(named(changed, "ConfigMap", REDIS)["data"]["redis.conf"].splitlines())


def test_a_change_of_its_settings_restarts_it() -> None:
    def stamp(values: dict[str, Any]) -> str:
        template = named(rendered(values), "StatefulSet", REDIS)["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/config"])

    assert stamp({}) != stamp({"redis": {"maxmemory": "64mb"}})


def test_only_its_namespace_and_those_it_is_shared_with_may_connect() -> None:
    there = rendered({"redis": {"shareWithNamespaces": ["billing"]}})
    policy = named(there, "NetworkPolicy", REDIS)["spec"]
    assert (policy["egress"], sorted(policy["policyTypes"])) == ([], ["Egress", "Ingress"])
    [rule] = policy["ingress"]
    assert rule["ports"] == [{"port": "redis", "protocol": "TCP"}]
    assert rule["from"] == [
        {"podSelector": {}},
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "billing"}}},
    ]
    copies = {one["metadata"]["namespace"]: content(one) for one in of_kind(there, "Secret")}
    assert set(copies) == {"shop", "billing"}
    assert copies["shop"] == copies["billing"]
