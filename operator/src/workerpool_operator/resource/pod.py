"""The parts of a pod that ``spec.worker`` passes on, as Kubernetes defines them.

What the operator has no opinion on (the kinds of volumes, the terms of an affinity) is taken as it is: the API server
judges it when the Deployment is applied.
"""

from __future__ import annotations

import enum
from typing import Annotated, Final

from pydantic import ConfigDict, Field, JsonValue, PlainValidator, StringConstraints, WithJsonSchema
from pydantic.config import JsonDict

from workerpool_operator.resource.base import (
    ATOMIC,
    ENV_PREFIX,
    INT32_MAX,
    INT64_MAX,
    MOUNT_PATH,
    ConfigKey,
    DnsLabel,
    DnsSubdomain,
    EnvName,
    LabelKey,
    Labels,
    LabelValue,
    LongText,
    Model,
    ShortText,
)
from workerpool_operator.resource.quantity import MAX_LENGTH, NOT_NEGATIVE, check_quantity

PRESERVE: Final[JsonDict] = {"x-kubernetes-preserve-unknown-fields": True}


def _quantity(value: object) -> str | int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError('must be a whole number or a quantity in quotes (such as "500m", "1Gi")')  # noqa: TRY004
    return check_quantity(value)


Quantity = Annotated[
    str | int,
    PlainValidator(_quantity),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "minimum": 0,
            "pattern": NOT_NEGATIVE,
            "maxLength": MAX_LENGTH,
        }
    ),
]
Open = Annotated[dict[str, JsonValue], Field(max_length=64)]


class LocalRef(Model):
    """An object in the pool's own namespace, by name."""

    model_config = ConfigDict(json_schema_extra=ATOMIC)

    name: DnsSubdomain = Field(description="Name of the object; it lies in the pool's own namespace.")


class KeyRef(Model):
    """One key of a Secret or ConfigMap in the pool's own namespace."""

    model_config = ConfigDict(json_schema_extra=ATOMIC)

    name: DnsSubdomain = Field(description="Name of the Secret or ConfigMap; it lies in the pool's own namespace.")
    key: ConfigKey = Field(description="The key that holds the value.")
    optional: bool = Field(default=False, description="Whether the object or its key may be missing.")


class SourceRef(LocalRef):
    """A whole Secret or ConfigMap in the pool's own namespace."""

    optional: bool = Field(default=False, description="Whether the object may be missing.")


class FieldRef(Model):
    """A field of the pod."""

    model_config = ConfigDict(json_schema_extra=ATOMIC)

    field_path: ShortText = Field(description="Path of the field, such as metadata.name.")
    api_version: ShortText | None = Field(default=None, description="Version of the schema of the path; default v1.")


class ResourceFieldRef(Model):
    """A request or limit of a container."""

    model_config = ConfigDict(json_schema_extra=ATOMIC)

    resource: ShortText = Field(description="The resource, such as limits.memory.")
    container_name: DnsLabel | None = Field(default=None, description="The container; default: the worker's own.")
    divisor: Quantity | None = Field(default=None, description="The unit of the value, such as 1Mi; default 1.")


class EnvSource(Model):
    """Where the value of an environment variable comes from: exactly one of the four."""

    secret_key_ref: KeyRef | None = Field(default=None, description="A key of a Secret.")
    config_map_key_ref: KeyRef | None = Field(default=None, description="A key of a ConfigMap.")
    field_ref: FieldRef | None = Field(default=None, description="A field of the pod.")
    resource_field_ref: ResourceFieldRef | None = Field(default=None, description="A request or limit of a container.")


class EnvVar(Model):
    """An environment variable."""

    name: EnvName = Field(description="Name of the variable, unique in the list.")
    value: LongText | None = Field(
        default=None, description="Its value; default: empty. At most one of value and valueFrom."
    )
    value_from: EnvSource | None = Field(
        default=None, description="Where its value comes from. At most one of value and valueFrom."
    )


class EnvFrom(Model):
    """A Secret or ConfigMap all of whose keys become environment variables: exactly one of the two."""

    prefix: Annotated[str, StringConstraints(max_length=253, pattern=ENV_PREFIX)] = Field(
        default="", description="What stands before each name."
    )
    secret_ref: SourceRef | None = Field(default=None, description="The Secret.")
    config_map_ref: SourceRef | None = Field(default=None, description="The ConfigMap.")


Quantities = Annotated[dict[LabelKey, Quantity], Field(max_length=16)]


class Resources(Model):
    """What each replica asks for and may use."""

    requests: Quantities = Field(
        default_factory=dict, description="What is set aside for it, by resource, such as cpu: 100m, memory: 128Mi."
    )
    limits: Quantities = Field(default_factory=dict, description="The most it may use, by resource.")


class Toleration(Model):
    """A taint of a node that the pods tolerate."""

    class Operator(enum.StrEnum):
        """How the value of the taint is compared."""

        EXISTS = "Exists"
        EQUAL = "Equal"

    class Effect(enum.StrEnum):
        """What the taint does to pods that do not tolerate it."""

        NO_SCHEDULE = "NoSchedule"
        PREFER_NO_SCHEDULE = "PreferNoSchedule"
        NO_EXECUTE = "NoExecute"

    key: LabelKey | None = Field(default=None, description="Key of the taint; default: any, with operator Exists.")
    operator: Operator = Field(
        default=Operator.EQUAL, description="Equal: the value has to be the taint's. Exists: any value will do."
    )
    value: LabelValue | None = Field(default=None, description="Value of the taint; none with operator Exists.")
    effect: Effect | None = Field(default=None, description="Effect of the taint; default: any.")
    toleration_seconds: int | None = Field(
        default=None,
        ge=0,
        le=INT64_MAX,
        description="How long a pod stays on a node with such a taint (NoExecute only); default: for good.",
    )


class LabelRequirement(Model):
    """A condition on one label."""

    class Operator(enum.StrEnum):
        """How the label is compared."""

        IN = "In"
        NOT_IN = "NotIn"
        EXISTS = "Exists"
        DOES_NOT_EXIST = "DoesNotExist"

    key: LabelKey = Field(description="Key of the label.")
    operator: Operator = Field(description="How it is compared with values.")
    values: tuple[LabelValue, ...] = Field(default=(), max_length=64, description="Values, for In and NotIn.")


class LabelSelector(Model):
    """Pods, by their labels."""

    model_config = ConfigDict(json_schema_extra=ATOMIC)

    match_labels: Labels = Field(default_factory=dict, description="Labels they have.")
    match_expressions: tuple[LabelRequirement, ...] = Field(
        default=(), max_length=32, description="Further conditions, all of which have to hold."
    )


class TopologySpread(Model):
    """How evenly the pods are spread over zones, nodes or the like."""

    class Otherwise(enum.StrEnum):
        """What happens to a pod that would break the rule."""

        DO_NOT_SCHEDULE = "DoNotSchedule"
        SCHEDULE_ANYWAY = "ScheduleAnyway"

    class NodeRule(enum.StrEnum):
        """Whether a property of nodes is honoured when pods are counted."""

        HONOR = "Honor"
        IGNORE = "Ignore"

    max_skew: int = Field(ge=1, le=INT32_MAX, description="How many pods more one domain may have than another.")
    topology_key: LabelKey = Field(description="Label of the nodes that names their domain.")
    when_unsatisfiable: Otherwise = Field(description="What happens to a pod that would break the rule.")
    label_selector: LabelSelector | None = Field(
        default=None, description="The pods that are counted; default: the pool's."
    )
    min_domains: int | None = Field(
        default=None, ge=1, le=INT32_MAX, description="How many domains there should be at least."
    )
    node_affinity_policy: NodeRule | None = Field(
        default=None, description="Whether only nodes that the affinity allows are counted; default Honor."
    )
    node_taints_policy: NodeRule | None = Field(
        default=None, description="Whether only nodes whose taints are tolerated are counted; default Ignore."
    )
    match_label_keys: tuple[LabelKey, ...] = Field(
        default=(), max_length=16, description="Labels of the pod itself that select the pods that are counted."
    )


class Affinity(Model):
    """Which nodes and neighbours the pods want; the terms are as in a pod, and the API server judges them."""

    node_affinity: Open | None = Field(default=None, description="Nodes they want.", json_schema_extra=PRESERVE)
    pod_affinity: Open | None = Field(
        default=None, description="Pods they want to be near to.", json_schema_extra=PRESERVE
    )
    pod_anti_affinity: Open | None = Field(
        default=None, description="Pods they want to be away from.", json_schema_extra=PRESERVE
    )


class Volume(Model):
    """A volume of the pods: its name, and one kind of source as in a pod, which the API server judges."""

    model_config = ConfigDict(extra="allow", json_schema_extra={**PRESERVE, "minProperties": 2, "maxProperties": 2})
    __pydantic_extra__: dict[str, JsonValue]

    name: DnsLabel = Field(description="Name of the volume, unique in the list; volumeMounts refer to it.")


class VolumeMount(Model):
    """Where a volume appears in the worker's file system."""

    class Propagation(enum.StrEnum):
        """Whether mounts are passed on between the node and the container."""

        NONE = "None"
        HOST_TO_CONTAINER = "HostToContainer"
        BIDIRECTIONAL = "Bidirectional"

    name: DnsLabel = Field(description="Name of one of the volumes.")
    mount_path: Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=MOUNT_PATH)] = Field(
        description="Where it appears; unique in the list."
    )
    read_only: bool = Field(default=False, description="Whether the worker may only read it.")
    sub_path: LongText | None = Field(default=None, description="The part of the volume to mount; default: all of it.")
    sub_path_expr: LongText | None = Field(
        default=None, description="The same with variables, such as $(POD_NAME). At most one of the two."
    )
    mount_propagation: Propagation | None = Field(
        default=None, description="Whether mounts are passed on between the node and the container; default None."
    )
