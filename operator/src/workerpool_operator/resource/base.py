"""What all parts of the model share: strictness, camelCase, and the kinds of text Kubernetes knows.

The model is fed through pydantic's JSON mode, where strict means what YAML authors expect: ``"3"`` is not a number,
``1`` is not a boolean, a list is a list.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

RESERVED_PREFIX: Final = "workerpool.dev/"
"""Labels and annotations under this prefix are the operator's own."""

INT32_MAX: Final = 2**31 - 1
INT64_MAX: Final = 2**63 - 1

ATOMIC: Final[JsonDict] = {"x-kubernetes-map-type": "atomic"}
"""For parts that server-side apply must not mix from two authors, such as a reference."""


class Model(BaseModel):
    """A part of the resource: frozen, strict, nothing unknown; ``maxReplicas`` in YAML, ``max_replicas`` here."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        defer_build=True,  # halves the import time; the schema is built when the first pool is parsed
    )


_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"

DNS_LABEL: Final = rf"^{_LABEL}$"
DNS_SUBDOMAIN: Final = rf"^{_LABEL}(\.{_LABEL})*$"
LABEL_KEY: Final = rf"^({_LABEL}(\.{_LABEL})*/)?{_QUALIFIED}$"
LABEL_VALUE: Final = rf"^({_QUALIFIED})?$"
CONFIG_KEY: Final = r"^[-._a-zA-Z0-9]+$"
ENV_NAME: Final = r"^[-._a-zA-Z][-._a-zA-Z0-9]*$"
ENV_PREFIX: Final = r"^([-._a-zA-Z][-._a-zA-Z0-9]*)?$"
IMAGE: Final = r"^[A-Za-z0-9][^\s]*$"
QUEUE_NAME: Final = r"^[^\s,\x00-\x1f\x7f]([^,\x00-\x1f\x7f]*[^\s,\x00-\x1f\x7f])?$"
MOUNT_PATH: Final = r"^[^:]+$"

MEANING_OF_PATTERN: Final = {
    DNS_LABEL: 'may hold lower-case letters, digits and "-", and begins and ends with a letter or digit',
    DNS_SUBDOMAIN: 'may hold lower-case letters, digits, "-" and ".", and begins and ends with a letter or digit',
    LABEL_KEY: "is not a label key (such as team or example.com/team)",
    LABEL_VALUE: 'may hold letters, digits, "-", "_" and ".", and begins and ends with a letter or digit',
    CONFIG_KEY: 'may hold letters, digits, "-", "_" and "."',
    ENV_NAME: 'may hold letters, digits, "_", "-" and ".", and does not begin with a digit',
    ENV_PREFIX: 'may hold letters, digits, "_", "-" and ".", and does not begin with a digit',
    IMAGE: "is not an image reference (such as ghcr.io/shop/mailer:1.2)",
    QUEUE_NAME: "must hold neither commas nor control characters, and neither begin nor end with a space",
    MOUNT_PATH: 'must not hold ":"',
}
"""What to tell a person whose text does not match."""

DnsLabel = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=DNS_LABEL)]
DnsSubdomain = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN)]
LabelKey = Annotated[str, StringConstraints(min_length=1, max_length=317, pattern=LABEL_KEY)]
LabelValue = Annotated[str, StringConstraints(max_length=63, pattern=LABEL_VALUE)]
ConfigKey = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=CONFIG_KEY)]
EnvName = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=ENV_NAME)]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
LongText = Annotated[str, StringConstraints(max_length=32768)]

Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=64)]
Annotations = Annotated[dict[LabelKey, LongText], Field(max_length=64)]
