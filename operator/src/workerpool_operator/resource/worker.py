"""``spec.worker`` and ``spec.deploymentRef``: what is scaled."""

from __future__ import annotations

import enum
import re
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from workerpool_operator.resource.base import (
    IMAGE,
    Annotations,
    DnsSubdomain,
    LabelKey,
    Labels,
    LabelValue,
    LongText,
    Model,
)
from workerpool_operator.resource.pod import (
    Affinity,
    EnvFrom,
    EnvVar,
    LocalRef,
    Resources,
    Toleration,
    TopologySpread,
    Volume,
    VolumeMount,
)

BUNDLED_REPOSITORY: Final = "ghcr.io/workerpool/worker"
BUNDLED_IMAGE: Final = f"{BUNDLED_REPOSITORY}:0.1.0"
"""The worker that comes with this version of the operator; a test holds the tag to the package's version."""

LONGEST_IMAGE: Final = 512

Image = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_IMAGE, pattern=IMAGE)]


class PullPolicy(enum.StrEnum):
    """When a node fetches the image."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class DeploymentRef(Model):
    """A Deployment that exists and is somebody else's: only its size is changed."""

    name: DnsSubdomain = Field(description="Name of the Deployment; it lies in the pool's own namespace.")


def is_image(text: str) -> bool:
    """Whether this may stand for ``spec.worker.image``."""
    return re.fullmatch(IMAGE, text) is not None and len(text) <= LONGEST_IMAGE


def is_bundled_image(image: object) -> bool:
    """Whether this is the bundled worker's image: none named, or its repository with any tag or digest."""
    return image is None or (isinstance(image, str) and image.partition("@")[0].split(":")[0] == BUNDLED_REPOSITORY)


class Worker(Model):
    """The workers: the operator owns a Deployment of the pool's name. ``{}`` is the bundled Celery worker."""

    image: Image | None = Field(
        default=None, description="The image of the worker; default: the bundled worker of the operator's own version."
    )
    image_pull_policy: PullPolicy | None = Field(
        default=None,
        description="When a node fetches the image; default: Always for the tag latest, else IfNotPresent.",
    )
    image_pull_secrets: tuple[LocalRef, ...] = Field(
        default=(), max_length=16, description="Secrets with which the image is fetched."
    )
    command: tuple[LongText, ...] = Field(
        default=(),
        max_length=64,
        description="The command to run, as given and without a shell; default: the image's own.",
    )
    args: tuple[LongText, ...] = Field(
        default=(), max_length=64, description="Arguments of the command; default: the image's own."
    )
    concurrency: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description=(
            "Jobs that one replica runs at a time. The bundled worker obeys it (default 1); "
            "a command of your own has to be told itself, and unset means unknown."
        ),
    )
    env: tuple[EnvVar, ...] = Field(
        default=(),
        max_length=256,
        description="Environment variables.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    env_from: tuple[EnvFrom, ...] = Field(
        default=(), max_length=32, description="Secrets and ConfigMaps whose keys become environment variables."
    )
    resources: Resources = Field(
        default=Resources.model_construct(requests={}, limits={}),
        description="What each replica asks for and may use.",
    )
    service_account_name: DnsSubdomain | None = Field(
        default=None, description="The service account of the pods; default: the namespace's default."
    )
    node_selector: dict[LabelKey, LabelValue] = Field(
        default_factory=dict, max_length=32, description="Labels of the nodes that the pods may run on."
    )
    tolerations: tuple[Toleration, ...] = Field(
        default=(), max_length=32, description="Taints of nodes that the pods tolerate."
    )
    affinity: Affinity | None = Field(default=None, description="Which nodes and neighbours the pods want.")
    topology_spread_constraints: tuple[TopologySpread, ...] = Field(
        default=(), max_length=16, description="How evenly the pods are spread over zones, nodes or the like."
    )
    priority_class_name: DnsSubdomain | None = Field(default=None, description="The priority class of the pods.")
    volumes: tuple[Volume, ...] = Field(
        default=(),
        max_length=32,
        description="Volumes of the pods.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    volume_mounts: tuple[VolumeMount, ...] = Field(
        default=(),
        max_length=32,
        description="Where the volumes appear in the worker's file system.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["mountPath"]},
    )
    pod_labels: Labels = Field(
        default_factory=dict, description="Further labels of the pods; none under workerpool.dev/."
    )
    pod_annotations: Annotations = Field(
        default_factory=dict, description="Further annotations of the pods; none under workerpool.dev/."
    )
    termination_grace_period_seconds: int = Field(
        default=60,
        ge=1,
        le=86400,
        description="How long a worker may take to finish its job when it is stopped, before it is killed.",
    )

    @property
    def is_bundled(self) -> bool:
        """Whether the bundled worker runs: no command of the user's own, in no image of the user's own."""
        return not self.command and is_bundled_image(self.image)
