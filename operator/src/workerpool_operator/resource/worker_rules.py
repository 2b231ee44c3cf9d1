"""Rules over what ``spec.worker`` passes on to the pods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from workerpool_operator.resource.base import RESERVED_PREFIX
from workerpool_operator.resource.errors import Problem
from workerpool_operator.resource.quantity import parse_quantity
from workerpool_operator.resource.rule import Document, entries_at, value_at


def env_sources(document: Document) -> Iterator[Problem]:
    """A variable has one value."""
    for path, variable in entries_at(document, "spec", "worker", "env"):
        if "value" in variable and "valueFrom" in variable:
            yield Problem(path=path, message="set at most one of value and valueFrom")


def env_value_from(document: Document) -> Iterator[Problem]:
    """The value of a variable has one origin."""
    for path, variable in entries_at(document, "spec", "worker", "env"):
        source = variable.get("valueFrom")
        names = ("secretKeyRef", "configMapKeyRef", "fieldRef", "resourceFieldRef")
        if isinstance(source, Mapping) and sum(name in source for name in names) != 1:
            message = "set exactly one of secretKeyRef, configMapKeyRef, fieldRef and resourceFieldRef"
            yield Problem(path=(*path, "valueFrom"), message=message)


def env_from_sources(document: Document) -> Iterator[Problem]:
    """A set of variables has one origin."""
    for path, source in entries_at(document, "spec", "worker", "envFrom"):
        if ("secretRef" in source) == ("configMapRef" in source):
            yield Problem(path=path, message="set exactly one of secretRef and configMapRef")


def mounts_name_volumes(document: Document) -> Iterator[Problem]:
    """What is mounted exists."""
    volumes = [entry.get("name") for _, entry in entries_at(document, "spec", "worker", "volumes")]
    for path, mount in entries_at(document, "spec", "worker", "volumeMounts"):
        name = mount.get("name")
        if isinstance(name, str) and name not in volumes:
            yield Problem(path=(*path, "name"), message="is not the name of one of spec.worker.volumes")


def one_sub_path(document: Document) -> Iterator[Problem]:
    """What is mounted of a volume is said once."""
    for path, mount in entries_at(document, "spec", "worker", "volumeMounts"):
        if "subPath" in mount and "subPathExpr" in mount:
            yield Problem(path=path, message="set at most one of subPath and subPathExpr")


def volumes_have_a_source(document: Document) -> Iterator[Problem]:
    """A volume is of one kind."""
    for path, volume in entries_at(document, "spec", "worker", "volumes"):
        count = sum(key != "name" for key in volume)
        if count != 1:
            yield Problem(path=path, message="set exactly one kind of volume beside its name (such as emptyDir: {})")


def requests_within_limits(document: Document) -> Iterator[Problem]:
    """What is asked for is allowed."""
    resources = value_at(document, "spec", "worker", "resources")
    requests, limits = value_at(resources, "requests"), value_at(resources, "limits")
    if not isinstance(requests, Mapping) or not isinstance(limits, Mapping):
        return
    for name in requests.keys() & limits.keys():
        asked, allowed = requests[name], limits[name]
        try:
            exceeds = parse_quantity(asked) > parse_quantity(allowed)
        except ValueError:
            continue
        if exceeds:
            path = ("spec", "worker", "resources", "requests", name)
            yield Problem(path=path, message=f"{asked} is more than the limit {allowed}")


def tolerations_make_sense(document: Document) -> Iterator[Problem]:
    """Tolerations are such as the API server takes."""
    for path, toleration in entries_at(document, "spec", "worker", "tolerations"):
        exists = toleration.get("operator") == "Exists"
        if exists and toleration.get("value"):
            yield Problem(path=(*path, "value"), message="must not be set with operator Exists; remove it")
        if not exists and not toleration.get("key"):
            yield Problem(path=path, message="set key, or operator: Exists to tolerate every taint")
        if "tolerationSeconds" in toleration and toleration.get("effect") != "NoExecute":
            yield Problem(
                path=(*path, "tolerationSeconds"), message="is only for effect NoExecute; set that or remove it"
            )


def reserved_labels(document: Document) -> Iterator[Problem]:
    """The operator's own labels are left to it."""
    return _reserved(document, "podLabels")


def reserved_annotations(document: Document) -> Iterator[Problem]:
    """The operator's own annotations are left to it."""
    return _reserved(document, "podAnnotations")


def _reserved(document: Document, field: str) -> Iterator[Problem]:
    value = value_at(document, "spec", "worker", field)
    for key in value if isinstance(value, Mapping) else ():
        if isinstance(key, str) and key.startswith(RESERVED_PREFIX):
            message = f"keys under {RESERVED_PREFIX} are the operator's own; remove it"
            yield Problem(path=("spec", "worker", field, key), message=message)
