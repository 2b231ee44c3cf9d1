"""Valid documents: round trips, defaults, what the policy gets of them, samples and the reference page."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.resource.documents import SMALL, VALID, text_of, varied
from workerpool_operator.core.spec import Budget, Fallback, PoolSpec, ScaleDown, ScaleUp, WhenBusy
from workerpool_operator.resource import ResourceError, World, load_files, load_pools, parse_pool, pool_spec
from workerpool_operator.resource.broker import check_url
from workerpool_operator.resource.fields import walk
from workerpool_operator.resource.reference import reference, with_reference
from workerpool_operator.resource.rules import RULES
from workerpool_operator.resource.worker import BUNDLED_IMAGE, BUNDLED_REPOSITORY

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
SAMPLES = sorted((ROOT / "manifests/samples").glob("*.yaml"))


@pytest.mark.parametrize("document", [SMALL, VALID], ids=["small", "valid"])
def test_round_trip(document: dict[str, Any]) -> None:
    pool = parse_pool(document)

    assert load_pools(yaml.safe_dump(pool.to_dict())) == [pool]
    assert parse_pool(pool.to_dict()) == pool


def test_the_small_document_gets_every_default() -> None:
    pool = parse_pool(SMALL)

    assert str(pool) == "default/email"
    assert pool.priorities == (0, 3, 6, 9)
    assert pool.spec.worker is not None
    assert pool.spec.worker.is_bundled
    assert pool.spec.worker.image is None
    assert pool_spec(pool) == PoolSpec(slots_per_replica=1)


def test_the_policy_gets_every_number() -> None:
    assert pool_spec(parse_pool(VALID), lead_s=2) == PoolSpec(
        min_replicas=0,
        max_replicas=20,
        pinned_replicas=3,
        backlog_per_replica=10,
        queue_latency_s=30,
        slots_per_replica=4,
        lead_s=2,
        poll_interval_s=0.5,
        scale_up=ScaleUp(stabilization_s=5, max_replicas_per_step=4),
        scale_down=ScaleDown(stabilization_s=90, when_busy=WhenBusy.ALLOW),
        fallback=Fallback(replicas=4, after_s=30),
        budget=Budget(name="mail-provider", max_replicas=30, weight=2),
    )


def test_a_latency_target_alone_sets_no_backlog_target() -> None:
    assert pool_spec(parse_pool(varied(scaling={"queueLatencySeconds": 5}))).backlog_per_replica is None


@pytest.mark.parametrize(
    ("fields", "slots"),
    [
        ({"worker": {}}, 1),
        ({"worker": {"concurrency": 3}}, 3),
        ({"worker": {"image": f"{BUNDLED_REPOSITORY}:2@sha256:0"}}, 1),
        ({"worker": {"image": "mailer"}}, None),
        ({"worker": {"command": ["mailer"]}}, None),
        ({"worker": {"command": ["mailer"], "concurrency": 2}}, 2),
        ({"worker": ..., "deploymentRef": {"name": "a"}}, None),
    ],
)
def test_slots_of_a_replica(fields: dict[str, Any], slots: int | None) -> None:
    assert pool_spec(parse_pool(varied(**fields))).slots_per_replica == slots


def test_only_celery_has_priority_lists() -> None:
    broker = {"layout": "RQ", "url": "redis://r", "priorities": [0, 3, 6, 9]}

    assert parse_pool(varied(broker=broker)).priorities == (0,)


def test_a_field_that_is_null_is_not_set() -> None:
    scaling = {"scaleUp": {"maxReplicasPerStep": None}, "fallback": None}

    assert pool_spec(parse_pool(varied(scaling=scaling, replicas=None))) == PoolSpec(slots_per_replica=1)


@pytest.mark.parametrize("body", [{}, {"kind": float("nan")}, {1: 2}, {"a": {"b": {3}}}, {"a": "\ud800"}])
def test_an_object_that_is_no_json_is_refused(body: dict[Any, Any]) -> None:
    with pytest.raises(ResourceError):
        parse_pool(body)


@pytest.mark.parametrize(
    "url",
    [
        "redis://redis",
        "redis://user@redis:6379/15",
        "rediss://[::1]:6380/0?ssl_cert_reqs=required",
        "redis+sentinel://a:1,b:2/mymaster",
        "rediss+sentinel://a/mymaster/3",
        "unix:///run/redis.sock?db=2",
        "redis://:@redis",
    ],
)
def test_addresses_of_every_form(url: str) -> None:
    assert check_url(url) == url


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_samples_are_valid_on_kubernetes(sample: Path) -> None:
    assert len(load_files([sample])) == 1


def test_the_samples_do_not_get_in_each_others_way() -> None:
    assert len(load_files(SAMPLES)) == len(SAMPLES) >= 7


def test_the_samples_of_the_bundled_worker_run_anywhere() -> None:
    bundled = [ROOT / f"manifests/samples/{name}.yaml" for name in ("email", "order", "payment")]
    for world in World:
        assert [pool.spec.worker.is_bundled for pool in load_files(bundled, world=world) if pool.spec.worker] == [
            True
        ] * 3


def test_the_bundled_image_is_of_this_version() -> None:
    project = tomllib.loads((ROOT / "operator/pyproject.toml").read_text())["project"]

    assert f"{BUNDLED_REPOSITORY}:{project['version']}" == BUNDLED_IMAGE


def test_the_reference_page_is_the_models() -> None:
    page = (ROOT / "docs/workerpool.md").read_text()

    assert with_reference(page) == page
    example = page.split("```yaml\n")[1].split("```")[0]
    assert load_pools(example)[0].name == "email"


def test_every_field_is_described_and_in_the_reference() -> None:
    text = reference().replace("[]", "")
    for path, owner, field in walk():
        assert field.description, (owner, path)
        assert f"| `{'.'.join(path)}` |" in text


def test_everything_of_unknown_size_has_a_largest_size() -> None:
    for row in reference().splitlines():
        cells = [cell.strip() for cell in row.split(" | ")]
        if cells[0].startswith("| `") and cells[1].startswith(("text", "list", "whole", "mapping to")):
            assert cells[3], row


def test_every_rule_has_a_name_of_its_own() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(bool(rule.cel) == bool(rule.message) for rule in RULES)


def test_cron_is_not_imported_by_those_without_schedules() -> None:
    code = (
        "import sys; from workerpool_operator.resource import load_files; load_files([sys.argv[1]]);"
        "sys.exit('cronsim' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(ROOT / "manifests/samples/email.yaml")], check=True)


def test_the_documented_form_of_a_broken_page() -> None:
    with pytest.raises(ValueError, match="lacks the markers"):
        with_reference("# no markers")
    assert text_of(SMALL).count("\n") == 4
