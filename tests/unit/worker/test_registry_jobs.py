"""Jobs of others: found where they are named, and refused with one line that says whose and why."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workerpool_worker import registry
from workerpool_worker.registry import BUNDLED, JOBS, JobSpec, all_jobs, registered
from workerpool_worker.registry_checks import RegistryError
from workerpool_worker.settings import SettingsError, load_settings

pytestmark = pytest.mark.unit

GOOD = """
from workerpool_worker.api import Job, JobSpec

class Greeting(Job):
    task = "shop.greet"
    queue = "shop"
    prefix = "greeting"
    name: str

JOBS = (JobSpec(Greeting, "PACKAGE.code:greet"),)
"""
Write = Callable[..., str]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a package with a module `jobs`; it is gone from this process after the test."""
    names: list[str] = []
    monkeypatch.syspath_prepend(tmp_path)

    def write(jobs: str = GOOD, *, name: str = "greetings", code: str = "def greet(context, job): ...") -> str:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").touch()
        (folder / "jobs.py").write_text(jobs.replace("PACKAGE", name))
        (folder / "code.py").write_text(code)
        names.append(name)
        return f"{name}.jobs:JOBS"

    yield write
    for module in [module for module in sys.modules if module.partition(".")[0] in names]:
        del sys.modules[module]


def install(folder: Path, entry: str, *, name: str = "greetings") -> None:
    """What pip leaves behind of an installed package for others to find."""
    info = folder / f"{name}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[workerpool.jobs]\n{entry}\n")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    registered.cache_clear()
    yield
    registered.cache_clear()


def own(named: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    return [(entry.spec.message.task, entry.source) for entry in registered(named) if entry.source != BUNDLED]


def test_without_jobs_of_others_there_are_the_bundled_ones() -> None:
    assert all_jobs(load_settings({})) == JOBS
    assert own() == []


def test_a_variable_brings_jobs(package: Write) -> None:
    place = package()
    specs = all_jobs(load_settings({"WORKERPOOL_JOBS": f" {place} , {place}"}))
    assert specs[:-1] == JOBS
    assert specs[-1].message.task == "shop.greet"
    assert "greetings.code" not in sys.modules
    assert own((place,)) == [("shop.greet", "WORKERPOOL_JOBS (greetings.jobs:JOBS)")]


def test_an_entry_point_brings_jobs(package: Write, tmp_path: Path) -> None:
    package()
    install(tmp_path, "hello = greetings.jobs:JOBS")
    assert own() == [("shop.greet", "entry point hello of greetings 1.2 (greetings.jobs:JOBS)")]


def test_installed_and_named_they_come_once(package: Write, tmp_path: Path) -> None:
    place = package()
    install(tmp_path, "hello = greetings.jobs:JOBS")
    assert [task for task, _ in own((place,))] == ["shop.greet"]


def test_a_function_may_give_the_jobs(package: Write) -> None:
    package(GOOD + "\ndef jobs():\n    return list(JOBS)\n")
    assert [task for task, _ in own(("greetings.jobs:jobs",))] == ["shop.greet"]


def test_a_job_may_name_its_provider(package: Write) -> None:
    place = package(GOOD.replace('greet")', 'greet", provider=lambda settings: settings.payment_provider)'))
    provider = registered((place,))[-1].spec.provider
    assert provider is not None
    assert provider(load_settings({})) == "sandbox"


HEAD = GOOD.partition("JOBS =")[0]


@pytest.mark.parametrize(
    ("jobs", "says"),
    [
        (
            "import nowhere_at_all",
            "cannot import greetings.jobs: ModuleNotFoundError: No module named 'nowhere_at_all'",
        ),
        ("JOBS = (", "cannot import greetings.jobs: SyntaxError: "),
        ("raise SystemError('a\\nb')", "cannot import greetings.jobs: SystemError: a b"),
        ("", "module greetings.jobs has no JOBS"),
        ("JOBS = None", "must be a tuple of JobSpec, is a NoneType"),
        ("JOBS = int", "must be a tuple of JobSpec, is a type"),
        (HEAD + 'JOBS = JobSpec(Greeting, "x:y")', "is a JobSpec; write (JobSpec(...),)"),
        ("def JOBS():\n    return 1 / 0", "the function failed: ZeroDivisionError"),
        (HEAD + "JOBS = (Greeting,)", "its item 0 is no JobSpec but a ModelMetaclass"),
        (HEAD + 'JOBS = (JobSpec(Job, "x:y"),)', "the message Job is no subclass of workerpool_worker.api.Job"),
        (HEAD + 'JOBS = (JobSpec(dict, "x:y"),)', "the message dict is no subclass"),
        (HEAD + 'JOBS = (JobSpec(1, "x:y"),)', "the message 1 is no subclass"),
        (
            GOOD.replace('    task = "shop.greet"\n', ""),
            'Greeting has no task; add a line such as task = "catalogue.sync"',
        ),
        (GOOD.replace('    queue = "shop"\n', ""), "Greeting has no queue; add"),
        (GOOD.replace('    prefix = "greeting"\n', ""), "Greeting has no prefix; add"),
        (GOOD.replace('"shop"', '"a,b"'), "queue 'a,b' of Greeting is not possible; write one such as catalogue"),
        (GOOD.replace('"shop"', '" shop"'), "queue ' shop' of Greeting is not possible"),
        (GOOD.replace('"shop"', f'"{"q" * 254}"'), "is not possible; write one such as catalogue"),
        (GOOD.replace('"shop"', "7"), "queue 7 of Greeting is not possible"),
        (GOOD.replace('"shop.greet"', '"shop greet"'), "task 'shop greet' of Greeting is not possible"),
        (GOOD.replace('"greeting"', '"a/b"'), "prefix 'a/b' of Greeting is not possible"),
        (
            GOOD.replace("PACKAGE.code:greet", "PACKAGE.code"),
            "the code of Greeting must be module:function, is 'greetings.",
        ),
        (GOOD.replace("PACKAGE.code:", "PACKAGE.cold:"), "is in greetings.cold, and there is no such module"),
        (GOOD.replace("PACKAGE.code:", "nowhere_at_all.x:"), "is in nowhere_at_all.x, and there is no such module"),
        (GOOD.replace("PACKAGE.code:", "PACKAGE.jobs.x:"), "is in greetings.jobs.x, and there is no such module"),
        (GOOD.replace('greet")', 'greet", provider="stripe")'), "the provider of Greeting must be a function"),
        (
            GOOD.replace("shop.greet", "order.process"),
            "task 'order.process' of Greeting is there already, from the bundled",
        ),
        (GOOD.replace('"greeting"', '"order"'), "prefix 'order' of Greeting is that of task 'order.process' already"),
    ],
)
def test_jobs_that_cannot_be_used_are_one_line_that_says_whose_and_why(package: Write, jobs: str, says: str) -> None:
    place = package(jobs)
    with pytest.raises(RegistryError) as refused:
        registered((place,))
    text = str(refused.value)
    assert text.startswith("WORKERPOOL_JOBS (greetings.jobs:JOBS): ")
    assert says in text
    assert "\n" not in text


def test_a_package_that_is_not_there_is_told_how_to_be_found() -> None:
    with pytest.raises(RegistryError) as refused:
        registered(("nowhere_at_all.jobs:JOBS",))
    assert str(refused.value) == (
        "WORKERPOOL_JOBS (nowhere_at_all.jobs:JOBS): cannot import nowhere_at_all.jobs: ModuleNotFoundError: "
        "No module named 'nowhere_at_all'; put the folder that holds it on PYTHONPATH, or install it"
    )


def test_two_packages_with_one_task_are_both_named(package: Write, tmp_path: Path) -> None:
    package()
    install(tmp_path, "hello = greetings.jobs:JOBS")
    place = package(name="farewells")
    with pytest.raises(RegistryError) as refused:
        registered((place,))
    assert str(refused.value) == (
        "WORKERPOOL_JOBS (farewells.jobs:JOBS): task 'shop.greet' of Greeting is there already, "
        "from entry point hello of greetings 1.2 (greetings.jobs:JOBS); give it a name of its own"
    )


@pytest.mark.parametrize("entry", ["greetings.jobs", "greetings.jobs:A.b", "greetings.jobs:JOBS [extra]"])
def test_an_entry_point_of_another_shape_is_refused(package: Write, tmp_path: Path, entry: str) -> None:
    package()
    install(tmp_path, f"hello = {entry}")
    with pytest.raises(RegistryError, match=r"^entry point hello of greetings 1\.2 .*: must be package\.module:NAME$"):
        registered()


def test_code_elsewhere_is_not_imported_to_be_found(package: Write) -> None:
    package(name="heavy", code="raise SystemExit")
    place = package(GOOD.replace("PACKAGE.code", "heavy.not_looked_for"), name="light")
    registered((place,))
    assert "heavy" not in sys.modules


@pytest.mark.parametrize(
    "value", ["greetings", "greetings.jobs:", ":JOBS", "a.b:C,", "a-b.c:D", "a b:C", "./jobs.py:JOBS"]
)
def test_a_value_of_another_shape_names_its_variable(value: str) -> None:
    with pytest.raises(SettingsError, match=r"^WORKERPOOL_JOBS: must be package\.module:NAME, with commas between"):
        load_settings({"WORKERPOOL_JOBS": value})


def test_the_setting_is_documented() -> None:
    assert "`WORKERPOOL_JOBS`" in (Path(__file__).parents[3] / "docs" / "own-jobs.md").read_text()


def test_a_spec_says_no_more_than_it_must() -> None:
    assert JobSpec(JOBS[0].message, "x:y") == JobSpec(message=JOBS[0].message, code="x:y", provider=None)
    assert registry.GROUP == "workerpool.jobs"
