"""What spans several fields: an ordered tuple of small rules, each with its CEL twin for the generated CRD.

A rule reads the document as it was written, not the model, so that it also speaks when another field is wrong: all
problems of a document are reported at once. It passes over values of the wrong type, which the model reports. Rules
hold for a document with and without the defaults that the API server fills in.
"""

from __future__ import annotations

from typing import Final

from workerpool_operator.resource import spec_rules, worker_rules
from workerpool_operator.resource.rule import Rule, unique
from workerpool_operator.resource.world import World

_KUBERNETES: Final = frozenset({World.KUBERNETES})
_LOCAL: Final = frozenset({World.LOCAL})

RULES: Final[tuple[Rule, ...]] = (
    Rule(
        name="min-at-most-max",
        at="spec",
        find=spec_rules.min_at_most_max,
        cel="self.minReplicas <= self.maxReplicas",
        message="minReplicas must not be more than maxReplicas",
        field=".minReplicas",
    ),
    Rule(
        name="replicas-at-most-max",
        at="spec",
        find=spec_rules.pin_at_most_max,
        cel="!has(self.replicas) || self.replicas <= self.maxReplicas",
        message="replicas must not be more than maxReplicas",
        field=".replicas",
    ),
    Rule(
        name="fallback-at-most-max",
        at="spec",
        find=spec_rules.fallback_at_most_max,
        cel=("!has(self.scaling) || !has(self.scaling.fallback) || self.scaling.fallback.replicas <= self.maxReplicas"),
        message="scaling.fallback.replicas must not be more than maxReplicas",
        field=".scaling.fallback.replicas",
    ),
    Rule(
        name="schedules-at-most-max",
        at="spec",
        find=spec_rules.schedules_at_most_max,
        cel=(
            "!has(self.scaling) || !has(self.scaling.schedules) || "
            "self.scaling.schedules.all(s, s.minReplicas <= self.maxReplicas)"
        ),
        message="minReplicas of a schedule must not be more than maxReplicas",
        field=".scaling.schedules",
    ),
    Rule(
        name="worker-or-deployment",
        at="spec",
        find=spec_rules.worker_or_deployment,
        cel="has(self.worker) != has(self.deploymentRef)",
        message="set exactly one of worker and deploymentRef",
    ),
    Rule(name="no-local-deployment", at="spec.deploymentRef", find=spec_rules.no_local_deployment, worlds=_LOCAL),
    Rule(name="local-needs-command", at="spec.worker", find=spec_rules.local_needs_command, worlds=_LOCAL),
    Rule(name="broker-required", at="spec", find=spec_rules.broker_required, worlds=_KUBERNETES),
    Rule(
        name="broker-address",
        at="spec.broker",
        find=spec_rules.broker_address,
        cel="has(self.url) || has(self.urlSecretRef)",
        message="set exactly one of url and urlSecretRef",
        worlds=_KUBERNETES,
    ),
    Rule(
        name="one-broker-address",
        at="spec.broker",
        find=spec_rules.one_broker_address,
        cel="!(has(self.url) && has(self.urlSecretRef))",
        message="set exactly one of url and urlSecretRef",
    ),
    Rule(
        name="ca-needs-tls",
        at="spec.broker",
        find=spec_rules.ca_needs_tls,
        cel="!has(self.caSecretRef) || !has(self.url) || self.url.startsWith('rediss')",
        message="caSecretRef is of use only with a rediss:// or rediss+sentinel:// url",
        field=".caSecretRef",
    ),
    Rule(name="queues-unique", at="spec.queues", find=unique("name", "spec", "queues")),
    Rule(name="schedules-unique", at="spec.scaling.schedules", find=unique("name", "spec", "scaling", "schedules")),
    Rule(
        name="start-is-not-end",
        at="spec.scaling.schedules[]",
        find=spec_rules.start_is_not_end,
        cel="self.start != self.end",
        message="start and end must differ",
        field=".end",
    ),
    Rule(name="env-unique", at="spec.worker.env", find=unique("name", "spec", "worker", "env")),
    Rule(
        name="env-sources",
        at="spec.worker.env[]",
        find=worker_rules.env_sources,
        cel="!(has(self.value) && has(self.valueFrom))",
        message="set at most one of value and valueFrom",
    ),
    Rule(
        name="env-value-from",
        at="spec.worker.env[].valueFrom",
        find=worker_rules.env_value_from,
        cel=(
            "[has(self.secretKeyRef), has(self.configMapKeyRef), has(self.fieldRef), has(self.resourceFieldRef)]"
            ".filter(x, x).size() == 1"
        ),
        message="set exactly one of secretKeyRef, configMapKeyRef, fieldRef and resourceFieldRef",
    ),
    Rule(
        name="env-from-sources",
        at="spec.worker.envFrom[]",
        find=worker_rules.env_from_sources,
        cel="has(self.secretRef) != has(self.configMapRef)",
        message="set exactly one of secretRef and configMapRef",
    ),
    Rule(name="volumes-unique", at="spec.worker.volumes", find=unique("name", "spec", "worker", "volumes")),
    Rule(name="volume-kinds", at="spec.worker.volumes[]", find=worker_rules.volumes_have_a_source),
    Rule(
        name="mount-paths-unique",
        at="spec.worker.volumeMounts",
        find=unique("mountPath", "spec", "worker", "volumeMounts"),
    ),
    Rule(
        name="mounts-name-volumes",
        at="spec.worker",
        find=worker_rules.mounts_name_volumes,
        cel=(
            "!has(self.volumeMounts) || self.volumeMounts.all(m, has(self.volumes) && "
            "self.volumes.exists(v, v.name == m.name))"
        ),
        message="each of volumeMounts must name one of volumes",
        field=".volumeMounts",
    ),
    Rule(
        name="one-sub-path",
        at="spec.worker.volumeMounts[]",
        find=worker_rules.one_sub_path,
        cel="!(has(self.subPath) && has(self.subPathExpr))",
        message="set at most one of subPath and subPathExpr",
    ),
    Rule(
        name="requests-within-limits",
        at="spec.worker.resources",
        find=worker_rules.requests_within_limits,
        cel=(
            "!has(self.requests) || !has(self.limits) || self.requests.all(k, !(k in self.limits) || "
            "!isQuantity(string(self.requests[k])) || !isQuantity(string(self.limits[k])) || "
            "!quantity(string(self.requests[k])).isGreaterThan(quantity(string(self.limits[k]))))"
        ),
        message="requests must not be more than limits",
        field=".requests",
    ),
    Rule(
        name="tolerations",
        at="spec.worker.tolerations[]",
        find=worker_rules.tolerations_make_sense,
        cel=(
            "(self.operator == 'Exists' ? !has(self.value) || self.value == '' : has(self.key)) && "
            "(!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute'))"
        ),
        message="operator Exists takes no value, Equal needs a key, tolerationSeconds needs effect NoExecute",
    ),
    Rule(
        name="reserved-labels",
        at="spec.worker.podLabels",
        find=worker_rules.reserved_labels,
        cel="self.all(k, !k.startsWith('workerpool.dev/'))",
        message="labels under workerpool.dev/ are the operator's own",
    ),
    Rule(
        name="reserved-annotations",
        at="spec.worker.podAnnotations",
        find=worker_rules.reserved_annotations,
        cel="self.all(k, !k.startsWith('workerpool.dev/'))",
        message="annotations under workerpool.dev/ are the operator's own",
    ),
)
