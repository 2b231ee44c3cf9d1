"""The operator's rights: those of manifests/rbac.yaml, with which the operator's own tests run, and no others."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.chart.helm import Object, named, of_kind, rendered
from tests.chart.programs import ROOT

pytestmark = pytest.mark.unit

TESTED = {
    (one["kind"], one["metadata"]["name"]): one.get("rules")
    for one in yaml.safe_load_all((ROOT / "manifests" / "rbac.yaml").read_text(encoding="utf-8"))
}
OPERATOR = "workerpool-operator"
LEADER = "workerpool-operator-leader"


def rules(things: list[Object], kind: str, name: str) -> list[str]:
    """Rules in an order of their own, since theirs does not matter."""
    return in_order(named(things, kind, name)["rules"])


def in_order(found: list[Object]) -> list[str]:
    return sorted(json.dumps({key: sorted(value) for key, value in rule.items()}, sort_keys=True) for rule in found)


def bound(things: list[Object], kind: str) -> dict[str, tuple[str, str, tuple[str, str]]]:
    """For each binding: the role's kind and name, and the only account it is for."""
    result = {}
    for one in of_kind(things, kind):
        [subject] = one["subjects"]
        assert subject["kind"] == "ServiceAccount"
        where = f"{one['metadata'].get('namespace', '')}/{one['metadata']['name']}"
        result[where] = (one["roleRef"]["kind"], one["roleRef"]["name"], (subject["namespace"], subject["name"]))
    return result


def test_cluster_wide_they_are_those_that_are_tested() -> None:
    there = rendered()
    assert rules(there, "ClusterRole", OPERATOR) == in_order(TESTED["ClusterRole", OPERATOR])
    assert rules(there, "Role", LEADER) == in_order(TESTED["Role", LEADER])
    me = ("shop", OPERATOR)
    assert bound(there, "ClusterRoleBinding") == {f"/{OPERATOR}": ("ClusterRole", OPERATOR, me)}
    assert bound(there, "RoleBinding") == {f"shop/{LEADER}": ("Role", LEADER, me)}


def test_of_namespaces_they_are_the_same_in_each_and_none_outside() -> None:
    there = rendered({"watchNamespaces": ["shop", "billing"], "rbac": {"aggregateRoles": False}})
    assert not of_kind(there, "ClusterRole")
    assert not of_kind(there, "ClusterRoleBinding")
    roles = {(one["metadata"]["namespace"], one["metadata"]["name"]): one["rules"] for one in of_kind(there, "Role")}
    assert set(roles) == {("shop", OPERATOR), ("billing", OPERATOR), ("shop", LEADER)}
    for namespace in ("shop", "billing"):
        assert in_order(roles[namespace, OPERATOR]) == in_order(TESTED["ClusterRole", OPERATOR])
    me = ("shop", OPERATOR)
    assert bound(there, "RoleBinding") == {
        f"shop/{OPERATOR}": ("Role", OPERATOR, me),
        f"billing/{OPERATOR}": ("Role", OPERATOR, me),
        f"shop/{LEADER}": ("Role", LEADER, me),
    }
    arguments = named(there, "Deployment", OPERATOR)["spec"]["template"]["spec"]["containers"][0]["args"]
    assert [one for one in arguments if "namespace" in one] == ["--namespace=shop", "--namespace=billing"]


def test_the_lease_has_the_release_s_name_in_right_and_argument() -> None:
    there = rendered(release="mine")
    leases = [
        rule for rule in named(there, "Role", "mine-workerpool-operator-leader")["rules"] if "resourceNames" in rule
    ]
    assert [rule["resourceNames"] for rule in leases] == [["mine-workerpool-operator"]]
    arguments = named(there, "Deployment", "mine-workerpool-operator")["spec"]["template"]["spec"]["containers"][0][
        "args"
    ]
    assert "--lease-name=mine-workerpool-operator" in arguments


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": ["shop"]}], ids=["cluster", "namespace"])
def test_no_right_is_a_wildcard(values: dict[str, object]) -> None:
    for one in [*of_kind(rendered(values), "ClusterRole"), *of_kind(rendered(values), "Role")]:
        assert "*" not in json.dumps(one["rules"]), one["metadata"]["name"]


def test_rights_can_be_left_to_somebody_else() -> None:
    there = rendered(
        {"rbac": {"create": False, "aggregateRoles": False}, "serviceAccount": {"create": False, "name": "bot"}}
    )
    kinds = {one["kind"] for one in there}
    assert not kinds & {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount"}
    assert named(there, "Deployment", OPERATOR)["spec"]["template"]["spec"]["serviceAccountName"] == "bot"


def test_people_get_rights_on_pools_by_the_cluster_s_own_roles() -> None:
    roles = {one["metadata"]["name"]: one for one in of_kind(rendered(), "ClusterRole")}
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    to = {
        name: {label.removeprefix(prefix) for label in one["metadata"]["labels"] if label.startswith(prefix)}
        for name, one in roles.items()
    }
    verbs = {name: {verb for rule in one["rules"] for verb in rule["verbs"]} for name, one in roles.items()}
    assert to.pop(OPERATOR) == set(), "the operator's rights are nobody else's"
    assert all(rule["apiGroups"] == ["workerpool.dev"] for name in to for rule in roles[name]["rules"])
    assert to["workerpool-view"] == {"view", "edit", "admin"}
    assert verbs["workerpool-view"] == {"get", "list", "watch"}
    assert to["workerpool-edit"] == {"edit", "admin"}
    assert {"create", "delete", "patch", "update"} <= verbs["workerpool-edit"]
    assert set(of_kind_names(rendered({"rbac": {"aggregateRoles": False}}))) == {OPERATOR}


def of_kind_names(things: list[Object]) -> list[str]:
    return [one["metadata"]["name"] for one in of_kind(things, "ClusterRole")]


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": ["shop"]}], ids=["cluster", "namespace"])
def test_only_the_operator_has_a_token(values: dict[str, object]) -> None:
    there = rendered(values)
    for kind in ("Deployment", "StatefulSet"):
        for one in of_kind(there, kind):
            spec = one["spec"]["template"]["spec"]
            assert spec["automountServiceAccountToken"] is (one["metadata"]["name"] == OPERATOR)
    for pod in of_kind(there, "Pod"):
        assert pod["spec"]["automountServiceAccountToken"] is False
    assert named(there, "ServiceAccount", OPERATOR)["automountServiceAccountToken"] is False
