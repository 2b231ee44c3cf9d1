"""Where the CRD's CEL rules come from and where they go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from workerpool_operator.resource.rules import RULES

Schema = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """One CEL rule: ``self`` is the value at the path ``at``; ``field``, under it, is what the message is about."""

    at: str
    rule: str
    message: str
    field: str = ""


# The same texts as `check_url` and `check_time_zone` have it; a test compares them.
PASSWORD_OF_USER: Final = "^[^:]*://[^/?#]*(:|%3[aA])[^/?#]+@"  # noqa: S105
PASSWORD_IN_QUERY: Final = "(?i)[?&][^=&#]*password=[^&#]"  # noqa: S105
ADDRESS: Final = r"^(rediss?([+]sentinel)?|unix)://\S+$"
TIME_ZONE: Final = "^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$"
FIVE_FIELDS: Final = r"^\s*\S+(\s+\S+){4}\s*$"
_CRON: Final = "must be a cron expression of five fields: minute hour day-of-month month day-of-week"
_PASSWORD: Final = "url holds a password: keep the whole URL in a Secret and name that in urlSecretRef"  # noqa: S105

# What a bound of the schema does not say, or would not say well. Those on the url are its parent's: of a text that a
# rule is on, the API server repeats the value, which may hold a password.
FIELD_VALIDATIONS: Final = (
    Validation(
        at="spec.broker",
        rule=f"!has(self.url) || !self.url.matches(r'{PASSWORD_OF_USER}')",
        message=_PASSWORD,
        field=".url",
    ),
    Validation(
        at="spec.broker",
        rule=f"!has(self.url) || !self.url.matches(r'{PASSWORD_IN_QUERY}')",
        message=_PASSWORD,
        field=".url",
    ),
    Validation(
        at="spec.broker",
        rule=f"!has(self.url) || self.url.matches(r'{ADDRESS}')",
        message=(
            "url must begin with redis://, rediss://, redis+sentinel://, rediss+sentinel:// or unix:// "
            "(such as redis://redis:6379/0)"
        ),
        field=".url",
    ),
    Validation(
        at="spec.broker.priorities",
        rule="self.isSorted() && self.all(x, self.exists_one(y, x == y))",
        message="priorities must be ascending, each once (such as [0, 3, 6, 9])",
    ),
    Validation(
        at="spec.scaling.schedules[].start",
        rule=f"self.matches(r'{FIVE_FIELDS}')",
        message=f"start {_CRON}",
    ),
    Validation(
        at="spec.scaling.schedules[].end",
        rule=f"self.matches(r'{FIVE_FIELDS}')",
        message=f"end {_CRON}",
    ),
    Validation(
        at="spec.scaling.schedules[].timeZone",
        rule=f"self.matches(r'{TIME_ZONE}')",
        message="timeZone must be an IANA name (such as Europe/Rome)",
    ),
)


def with_validations(schema: Schema) -> Schema:
    """Put every rule where it belongs in a schema of the whole resource, in place.

    Raises:
        KeyError: a rule is for a field that the schema does not have.
    """
    for validation in validations():
        node = _at(schema, validation.at)
        rule = {"rule": validation.rule, "message": validation.message}
        if validation.field:
            _at(schema, f"{validation.at}{validation.field}")
            rule["fieldPath"] = validation.field
        node.setdefault("x-kubernetes-validations", []).append(rule)
    return schema


def validations() -> Iterator[Validation]:
    """Every CEL rule: those that the resource's own rules have as their twins, then those on one field."""
    for rule in RULES:
        if rule.cel:
            yield Validation(at=rule.at, rule=rule.cel, message=rule.message, field=rule.field)
    yield from FIELD_VALIDATIONS


def _at(schema: Schema, path: str) -> Schema:
    """The schema of the field at a path such as ``spec.queues[].name``."""
    node = schema
    for part in path.split("."):
        name = part.removesuffix("[]")
        node = node["properties"][name]
        if part != name:
            node = node["items"]
    return node
