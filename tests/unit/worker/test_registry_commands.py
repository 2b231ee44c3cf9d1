"""`workerpool-worker tasks`, `enqueue job` and the start, with jobs of others that can be used and that cannot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from workerpool_operator.resource import load_files
from workerpool_worker.cli import main
from workerpool_worker.registry import registered
from workerpool_worker.schedules.plan import read_file

pytestmark = pytest.mark.unit

EXAMPLE = Path(__file__).parents[3] / "examples" / "catalogue-sync"
OWN = {"WORKERPOOL_JOBS": "catalogue_sync.jobs:JOBS"}
# Nobody listens there: what is refused must be so before Redis is asked.
NOWHERE = OWN | {"WORKERPOOL_BROKER_URL": "redis://127.0.0.1:1/0"}


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    registered.cache_clear()
    yield
    registered.cache_clear()


def invoke(*arguments: str, stdin: str | None = None, **environ: str) -> Result:
    return CliRunner().invoke(main, arguments, env=NOWHERE | environ, input=stdin)


def test_every_task_is_listed_with_its_queue_its_fields_and_who_brought_it() -> None:
    result = invoke("tasks", "--check", WORKERPOOL_QUEUES="catalogue")
    assert result.exit_code == 0, result.output
    lines = [line.split("  ") for line in result.output.splitlines()]
    rows = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert rows[0] == ["TASK", "QUEUE", "CONSUMED", "FROM", "FIELDS"]
    assert ["payment.refund", "payment", "no", "bundled", "id payment_id [amount_minor]"] in rows
    assert rows[-1] == [
        "catalogue.sync",
        "catalogue",
        "yes",
        "WORKERPOOL_JOBS (catalogue_sync.jobs:JOBS)",
        "id feed_url [page_size] [report_to]",
    ]


@pytest.mark.parametrize("command", [["tasks"], ["run"], ["enqueue", "job", "catalogue.sync"]])
def test_jobs_that_cannot_be_used_end_a_command_with_one_line(command: list[str]) -> None:
    result = invoke(*command, WORKERPOOL_JOBS="catalogue_sync.jobs:NOTHING")
    assert result.exit_code == 2
    assert result.output == (
        "workerpool-worker: WORKERPOOL_JOBS (catalogue_sync.jobs:NOTHING): module catalogue_sync.jobs has no NOTHING\n"
    )


def test_code_that_cannot_be_imported_is_found_by_the_check_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_broken.py").write_text(
        "from catalogue_sync.jobs import CatalogueSync\nfrom workerpool_worker.api import JobSpec\n"
        "class A(CatalogueSync):\n    task = 'a.a'\n    prefix = 'a'\n"
        "class B(CatalogueSync):\n    task = 'b.b'\n    prefix = 'b'\n"
        "JOBS = (JobSpec(A, 'own_broken_code:run'), JobSpec(B, 'own_broken:JOBS'))\n"
    )
    (tmp_path / "own_broken_code.py").write_text("import nowhere_at_all")
    assert invoke("tasks", WORKERPOOL_JOBS="own_broken:JOBS").exit_code == 0
    result = invoke("tasks", "--check", WORKERPOOL_JOBS="own_broken:JOBS")
    assert result.exit_code == 1
    missing = "ModuleNotFoundError: No module named 'nowhere_at_all'"
    assert result.stderr.splitlines() == [
        f"workerpool-worker: a.a: cannot import own_broken_code:run: {missing}",
        "workerpool-worker: b.b: own_broken:JOBS is no function",
    ]


@pytest.mark.parametrize(
    ("arguments", "stdin", "says"),
    [
        (["catalogue.sink"], None, "there is no task 'catalogue.sink'; `workerpool-worker tasks` lists them all"),
        (["catalogue.sync", "--id", "1"], None, "feed_url: Field required"),
        (["catalogue.sync", "--id", "1", "feed_url"], None, "feed_url: write FIELD=VALUE, such as id=1"),
        (["catalogue.sync", "--id", "1", "=x"], None, "=x: write FIELD=VALUE, such as id=1"),
        (
            ["catalogue.sync", "--id", "1", "feed_url=https://s/", "size=1"],
            None,
            "size: Extra inputs are not permitted",
        ),
        (["catalogue.sync", "--id", "1", "feed_url=https://s/", "page_size=many"], None, "page_size: Input should be"),
        (["catalogue.sync", "--json", "-"], "{", "--json <stdin>: Expecting property name"),
        (["catalogue.sync", "--json", "-"], "[]", '--json <stdin>: must be an object such as {"id": "1"}'),
        (["catalogue.sync", "--json", "-"], '{"id": 1}', "id: Input should be a valid string"),
    ],
)
def test_a_job_that_is_none_is_refused_before_it_is_sent(arguments: list[str], stdin: str | None, says: str) -> None:
    result = invoke("enqueue", "job", *arguments, stdin=stdin)
    assert result.exit_code == 2, result.output
    assert len(result.stderr.splitlines()) == 1
    assert says in result.stderr


def test_a_good_job_gets_as_far_as_redis() -> None:
    result = invoke("enqueue", "job", "catalogue.sync", "--id", "1", "feed_url=https://s.example/", "page_size=50")
    assert result.exit_code == 1
    assert "127.0.0.1:1" in result.stderr


def test_the_examples_pool_is_a_valid_one() -> None:
    (pool,) = load_files([EXAMPLE / "workerpool.yaml"])
    assert pool.queue_names == ("catalogue",)
    worker = pool.spec.worker
    assert worker is not None
    env = {entry.name: entry.value for entry in worker.env}
    assert env == {"PYTHONPATH": "/jobs", "WORKERPOOL_JOBS": "catalogue_sync.jobs:JOBS"}
    assert worker.image is None


def test_the_examples_schedule_is_one_that_the_job_takes() -> None:
    (nightly,) = read_file(EXAMPLE / "schedules.yaml", "UTC", ("catalogue_sync.jobs:JOBS",))
    assert (nightly.task, nightly.queue) == ("catalogue.sync", "catalogue")


def test_the_examples_config_map_has_every_module() -> None:
    text = (EXAMPLE / "kustomization.yaml").read_text()
    modules = sorted(path.name for path in (EXAMPLE / "catalogue_sync").glob("*.py"))
    assert [line.rpartition("/")[2] for line in text.splitlines() if "catalogue_sync/" in line] == modules
