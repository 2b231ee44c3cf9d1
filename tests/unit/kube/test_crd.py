"""The CRD is the model's: the committed copy, its bounds, its rules, its columns."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from pydantic import Field

from tests.support.structural import OPEN
from workerpool_operator.cli import main
from workerpool_operator.kube.crd import crd, crd_yaml, schema
from workerpool_operator.kube.crd_rules import validations
from workerpool_operator.kube.crd_schema import structural
from workerpool_operator.resource.base import Model
from workerpool_operator.resource.rules import RULES

pytestmark = pytest.mark.unit

COPY = Path(__file__).resolve().parents[3] / "manifests" / "crd.yaml"


def nodes(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of the resource, with its path."""
    yield path, node
    for name, field in node.get("properties", {}).items():
        yield from nodes(field, f"{path}.{name}" if path else name)
    for inner in ("items", "additionalProperties"):
        if inner in node:
            yield from nodes(node[inner], f"{path}[]")


NODES = [(path, node) for path, node in nodes(schema()) if path.startswith(("spec", "status"))]


def test_the_committed_copy_is_byte_for_byte_what_the_command_prints() -> None:
    printed = CliRunner().invoke(main, ["crd"], catch_exceptions=False)

    assert printed.exit_code == 0
    assert printed.stdout_bytes == COPY.read_bytes(), "run make generate"


def test_it_is_the_same_text_each_time_and_reads_back_as_the_same_object() -> None:
    assert crd_yaml() == crd_yaml()
    assert yaml.safe_load(crd_yaml()) == crd()
    assert "&id00" not in crd_yaml()


def test_every_part_has_a_size_so_that_rules_have_a_bounded_cost() -> None:
    unbounded = [
        path
        for path, node in NODES
        if (node.get("type") == "string" and "maxLength" not in node and "enum" not in node)
        or (node.get("type") == "array" and "maxItems" not in node)
        or ("additionalProperties" in node and "maxProperties" not in node)
        or (node.get("type") == "integer" and "minimum" not in node)
        or (node.get("format") == "int32" and "maximum" not in node)
    ]

    assert unbounded == []


def test_every_field_has_a_description() -> None:
    assert [path for path, node in NODES if not path.endswith("[]") and not node.get("description")] == []


def test_only_what_a_pod_defines_is_passed_through() -> None:
    assert [path for path, node in NODES if OPEN in node] == [
        "spec.worker.affinity.nodeAffinity",
        "spec.worker.affinity.podAffinity",
        "spec.worker.affinity.podAntiAffinity",
        "spec.worker.volumes[]",
    ]


def test_lists_say_how_they_are_merged() -> None:
    kinds = {path: node["x-kubernetes-list-type"] for path, node in NODES if node.get("type") == "array"}

    assert {path for path, kind in kinds.items() if kind == "map"} == {
        "spec.queues",
        "spec.scaling.schedules",
        "spec.worker.env",
        "spec.worker.volumes",
        "spec.worker.volumeMounts",
        "status.conditions",
    }
    assert set(kinds.values()) == {"map", "atomic"}


def test_the_size_has_no_default_so_that_a_pool_can_be_freed_again() -> None:
    spec = schema()["properties"]["spec"]

    assert "default" not in spec["properties"]["replicas"]
    assert spec["required"] == ["queues", "broker"]


def test_each_rule_of_the_resource_has_a_twin_or_a_reason_to_have_none() -> None:
    without = {rule.name for rule in RULES if not rule.cel}

    assert without == {
        "no-local-deployment", "local-needs-command",  # not for Kubernetes
        "broker-required",  # required
        "queues-unique", "schedules-unique", "env-unique", "volumes-unique", "mount-paths-unique",  # list type map
        "volume-kinds",  # minProperties and maxProperties
    }  # fmt: skip


@pytest.mark.parametrize("validation", list(validations()), ids=lambda validation: validation.message[:40])
def test_each_message_names_a_field(validation: Any) -> None:
    names = {name for path, _ in NODES for name in re.split(r"[.\[\]]+", path) if name}
    words = set(re.findall(r"[A-Za-z]+", f"{validation.message} {validation.at}{validation.field}"))

    assert validation.message
    assert words & (names - {"spec"})


def test_columns() -> None:
    columns = crd()["spec"]["versions"][0]["additionalPrinterColumns"]

    assert [column["name"].upper() for column in columns if not column.get("priority")] == (
        ["READY", "DESIRED", "MIN", "MAX", "BACKLOG", "REASON", "AGE"]
    )


class Choice(Model):
    """A part with what no structural schema can say."""

    choice: int | str = 0


class Step(Model):
    """A part with a bound that is not translated."""

    step: int = Field(default=0, multiple_of=5)


@pytest.mark.parametrize(("part", "lost"), [(Choice, "choice of types"), (Step, "multipleOf")])
def test_what_cannot_be_translated_is_an_error_not_a_lost_bound(part: type[Model], lost: str) -> None:
    with pytest.raises(ValueError, match=lost):
        structural(part)


def test_the_schema_is_made_anew_each_time() -> None:
    first = crd()
    before = copy.deepcopy(first)
    first["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"].clear()

    assert crd() == before
