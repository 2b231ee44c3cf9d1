"""The WorkerPool resource: the one model behind the YAML, the generated CRD and the reference page.

Made by :func:`workerpool_operator.resource.parse.parse_pool` (an object of the API) and
:func:`workerpool_operator.resource.load.load_pools` (YAML), which also check what spans several fields.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

from workerpool_operator.resource.base import (
    INT64_MAX,
    QUEUE_NAME,
    DnsLabel,
    LabelKey,
    LabelValue,
    Model,
    ShortText,
)
from workerpool_operator.resource.broker import Broker, Layout
from workerpool_operator.resource.scaling import Scaling
from workerpool_operator.resource.worker import DeploymentRef, Worker

API_VERSION: Final = "workerpool.dev/v1alpha1"
KIND: Final = "WorkerPool"
DEFAULT_BACKLOG_PER_REPLICA: Final = 10
DEFAULT_MAX_REPLICAS: Final = 10

# As wide as the API server's own bounds: kubectl keeps a copy of the whole pool in an annotation.
ObjectLabels = Annotated[dict[LabelKey, LabelValue], Field(max_length=4096)]
ObjectAnnotations = Annotated[
    dict[ShortText, Annotated[str, StringConstraints(max_length=2**18)]], Field(max_length=4096)
]

QueueName = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=QUEUE_NAME)]


class Queue(Model):
    """A queue that the pool's workers consume."""

    name: QueueName = Field(description="Name of the queue, as producers use it; unique in the pool.")


class Metadata(Model):
    """What names the pool. Fields that only the API server sets are dropped before this is read."""

    name: DnsLabel = Field(
        description="Name of the pool: also of its Deployment, and the value of a label of its pods."
    )
    namespace: DnsLabel = Field(default="default", description="Namespace of the pool and of all it refers to.")
    labels: ObjectLabels = Field(default_factory=dict, description="Labels of the pool itself.")
    annotations: ObjectAnnotations = Field(default_factory=dict, description="Annotations of the pool itself.")
    uid: ShortText | None = Field(default=None, description="Identity of the object; set by the API server.")
    resource_version: ShortText | None = Field(
        default=None, description="Version of the object; set by the API server."
    )
    generation: int | None = Field(
        default=None, ge=0, le=INT64_MAX, description="Number of the spec's version; set by the API server."
    )
    deletion_timestamp: ShortText | None = Field(
        default=None, description="When the deletion of the object was asked for; set by the API server."
    )


class Spec(Model):
    """Which queues, between which bounds, how fast, and with which workers."""

    queues: tuple[Queue, ...] = Field(
        min_length=1,
        max_length=64,
        description="The queues that the pool's workers consume.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    broker: Broker | None = Field(
        default=None,
        description="Where the queues are kept, and how. Required on Kubernetes; local mode starts a Redis without it.",
    )
    min_replicas: int = Field(default=0, ge=0, le=1000, description="The least size; at most maxReplicas.")
    max_replicas: int = Field(default=DEFAULT_MAX_REPLICAS, ge=1, le=1000, description="The largest size.")
    replicas: int | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="Pins the size; at most maxReplicas. kubectl scale sets it; remove it to scale by load again.",
    )
    scaling: Scaling = Field(
        default=Scaling.model_construct(),
        description='What "fast enough" means, and how quickly the pool may change.',
    )
    worker: Worker | None = Field(
        default=None,
        description=(
            "The workers: the operator owns a Deployment of the pool's name. {} is the bundled Celery worker. "
            "Exactly one of worker and deploymentRef."
        ),
    )
    deployment_ref: DeploymentRef | None = Field(
        default=None,
        description="Scales a Deployment that exists instead. Exactly one of worker and deploymentRef.",
    )


class WorkerPool(Model):
    """A right-sized pool of queue workers."""

    api_version: Literal["workerpool.dev/v1alpha1"] = Field(description="Version of the resource.")
    kind: Literal["WorkerPool"] = Field(description="Kind of the resource.")
    metadata: Metadata = Field(description="What names the pool.")
    spec: Spec = Field(description="Which queues, between which bounds, how fast, and with which workers.")

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def name(self) -> str:
        """Name of the pool."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """Namespace of the pool."""
        return self.metadata.namespace

    @property
    def queue_names(self) -> tuple[str, ...]:
        """Names of the queues, in the order given."""
        return tuple(queue.name for queue in self.spec.queues)

    @property
    def broker(self) -> Broker:
        """The broker; where none is given (local, simulated) one with the defaults and no address."""
        return self.spec.broker or Broker()

    @property
    def priorities(self) -> tuple[int, ...]:
        """The priority lists of each queue: Celery's steps; other layouts keep one list."""
        return self.broker.priorities if self.broker.layout is Layout.CELERY else (0,)

    def to_dict(self) -> dict[str, Any]:
        """The resource as it is written: camelCase, only what was set; it parses to an equal pool."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)
