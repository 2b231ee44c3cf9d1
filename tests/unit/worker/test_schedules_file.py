from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from pydantic import BaseModel

from workerpool_worker.commands.schedules import table
from workerpool_worker.schedules.occurrences import Record
from workerpool_worker.schedules.plan import Schedule
from workerpool_worker.settings import Settings, SettingsError, load_settings
from workerpool_worker.settings.hooks import HookSettings
from workerpool_worker.settings.schedules import ScheduleSettings

pytestmark = pytest.mark.unit

NIGHTLY = """
- name: nightly
  cron: "30 2 * * MON-FRI"
  timeZone: Europe/Rome
  task: email.send
  arguments: {to: ops@example.org, subject: Nightly, text: Hello}
- name: import
  cron: "0 * * * *"
  task: catalogue.import
  queue: catalogue
"""


def load(tmp_path: Path, content: str, **environ: str) -> Settings:
    file = tmp_path / "schedules.yaml"
    file.write_text(content)
    return load_settings({"WORKERPOOL_SCHEDULES_FILE": str(file), **environ})


def of_file(settings: Settings) -> tuple[Schedule, ...]:
    return settings.schedules[2:]


def test_the_built_in_ones_are_there_unless_turned_off() -> None:
    found = load_settings({}).schedules
    assert [(it.name, it.cron, it.task, it.queue) for it in found] == [
        ("recover", "*/5 * * * *", "maintenance.recover", "maintenance"),
        ("cleanup", "17 3 * * *", "maintenance.cleanup", "maintenance"),
    ]
    off = load_settings({"WORKERPOOL_RECOVER_CRON": "off", "WORKERPOOL_CLEANUP_CRON": "0 4 * * *"})
    assert [(it.name, it.cron) for it in off.schedules] == [("cleanup", "0 4 * * *")]


def test_the_report_comes_with_its_address() -> None:
    found = load_settings({"REPORT_EMAIL": "a@example.org", "WORKERPOOL_CRON_TIME_ZONE": "Asia/Tokyo"}).schedules
    assert [(it.name, it.cron, it.zone) for it in found[2:]] == [("report", "0 7 * * *", "Asia/Tokyo")]
    assert len(load_settings({"REPORT_EMAIL": "a@example.org", "WORKERPOOL_REPORT_CRON": "off"}).schedules) == 2


def test_schedules_of_a_file(tmp_path: Path) -> None:
    nightly, others = of_file(load(tmp_path, NIGHTLY, WORKERPOOL_CRON_TIME_ZONE="Asia/Tokyo"))
    assert (nightly.zone, others.zone) == ("Europe/Rome", "Asia/Tokyo")
    assert (nightly.queue, others.queue) == ("email", "catalogue")
    assert nightly.job_id(60) == "cron-nightly-60"
    # Each occurrence is a job of its own, or the second would be taken for the first.
    assert nightly.arguments_at(60)["id"] == "nightly-60"
    assert others.arguments_at(60) == {}


def test_the_example_of_the_page(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "schedules.md").read_text()
    found = of_file(load(tmp_path, page.split("```yaml\n")[1].split("```")[0]))
    assert [(it.name, it.queue, it.zone) for it in found] == [
        ("monday-mail", "email", "Europe/Rome"), ("import", "catalogue", "UTC"),
    ]  # fmt: skip


@pytest.mark.parametrize("family", [ScheduleSettings, HookSettings])
def test_every_setting_is_on_its_page(family: type[BaseModel]) -> None:
    page = Path(__file__).parents[3] / "docs" / ("schedules.md" if family is ScheduleSettings else "hooks.md")
    rows = page.read_text().splitlines()
    for name, field in family.model_fields.items():
        extra = field.json_schema_extra
        assert isinstance(extra, dict)
        variables = extra["env"]
        assert isinstance(variables, list)
        for variable in variables:
            assert [row for row in rows if row.startswith(f"| `{variable}` |")], name


def test_an_id_that_is_given_stays(tmp_path: Path) -> None:
    entry = '[{name: v, cron: "* * * * *", task: payment.verify, arguments: {id: p1}}]'
    (schedule,) = of_file(load(tmp_path, entry))
    assert schedule.arguments_at(60) == {"id": "p1"}


def test_whatever_differs_is_another_definition() -> None:
    base = Schedule(name="a", cron="* * * * *", zone="UTC", task="t", queue="q", arguments={"x": 1, "y": 2})
    assert dataclasses.replace(base, arguments={"y": 2, "x": 1}).definition == base.definition
    assert dataclasses.replace(base, cron="*  * * * *").definition == base.definition
    changes: list[dict[str, object]] = [
        {"cron": "*/2 * * * *"}, {"zone": "Europe/Rome"}, {"task": "u"}, {"queue": "r"}, {"arguments": {}},
    ]  # fmt: skip
    others = {dataclasses.replace(base, **change).definition for change in changes}  # type: ignore[arg-type]
    assert len(others | {base.definition}) == len(changes) + 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("name: a", "must be a list of schedules"),
        ("- just text", "entry 1: must be a mapping"),
        ("[{name: a, cron: * * * * *}]", "line 1: is not YAML:"),
        ('[{name: a, cron: "* * * *", task: t, queue: q}]', 'entry 1 (a): cron: "* * * *" is not a cron expression'),
        ('[{name: a, cron: "* * * * *", timeZone: Rome, task: t}]', 'entry 1 (a): timeZone: "Rome" is not a time zone'),
        ('[{name: a, cron: "* * * * *"}]', "entry 1 (a): task: is missing"),
        ('[{name: a, cron: "* * * * *", task: t}]', "entry 1 (a): queue: must be named, because t is not a task"),
        ('[{name: a, cron: "* * * * *", task: email.send}]', "entry 1 (a): arguments: to: Field required"),
        ('[{name: a, cron: "* * * * *", task: t, que: q}]', "entry 1 (a): que: there is no such field"),
        ('[{name: A b, cron: "* * * * *", task: t, queue: q}]', "must be small letters, digits and dashes"),
        ('[{name: recover, cron: "* * * * *", task: t, queue: q}]', "set WORKERPOOL_RECOVER_CRON instead"),
        ('[{name: a, cron: "* * * * *", task: t, queue: q, arguments: [1]}]', "arguments: must be a mapping"),
        (
            '[{name: a, cron: "* * * * *", task: t, queue: q, arguments: {day: 2026-01-01}}]',
            "put dates and times into quotes",
        ),
        (
            '[{name: a, cron: "* * * * *", task: t, queue: q}, {name: a, cron: "* * * * *", task: t, queue: q}]',
            "entry 2 (a): name: a is there twice",
        ),
    ],
)
def test_a_wrong_file_stops_the_start_with_one_line(tmp_path: Path, content: str, says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, content)
    text = str(refused.value)
    assert text.startswith(f"WORKERPOOL_SCHEDULES_FILE: {tmp_path / 'schedules.yaml'}:")
    assert says in text
    assert "\n" not in text


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        load_settings({"WORKERPOOL_SCHEDULES_FILE": str(tmp_path / "none.yaml")})


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"WORKERPOOL_RECOVER_CRON": "often"}, "WORKERPOOL_RECOVER_CRON: "),
        ({"WORKERPOOL_CRON_TIME_ZONE": "Rome"}, "WORKERPOOL_CRON_TIME_ZONE: "),
        ({"WORKERPOOL_REPORT_CRON": "0 7 * * *"}, "REPORT_EMAIL: is needed"),
        ({"REPORT_EMAIL": "two@a.example, three@a.example"}, "REPORT_EMAIL: "),
        ({"WORKERPOOL_RECOVER_AFTER_SECONDS": "1"}, "WORKERPOOL_RECOVER_AFTER_SECONDS: "),
        ({"WORKERPOOL_CLEANUP_SECONDS": "0"}, "WORKERPOOL_CLEANUP_SECONDS: "),
    ],
)
def test_a_wrong_setting_is_named(environ: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(environ)
    assert str(refused.value).startswith(says)


def test_the_table_says_what_lies_in_redis() -> None:
    wanted = tuple(
        Schedule(name=name, cron="0 3 * * *", zone="Europe/Rome", task="t", queue="q") for name in ("a", "b", "c", "d")
    )
    now_s = 1_767_225_600  # 2026-01-01 00:00 UTC
    known = {
        "a": Record(due_s=now_s + 7200, put_at_s=now_s, source="shop/x", waits=True),
        "b": Record(due_s=now_s - 7200, put_at_s=now_s, source="", waits=True),
        "c": Record(due_s=now_s - 7200, put_at_s=now_s, source="", waits=False),
        "old": Record(due_s=now_s - 7200, put_at_s=now_s, source="", waits=False),
    }
    rows = {row.name: row for row in table(wanted, known, now_s)}
    assert rows["a"].next_due == "2026-01-01 03:00 (in 2 h)"
    assert rows["a"].last_put_in == "2026-01-01 03:00 (waits) by shop/x"
    assert "overdue: no worker consumes its queue" in rows["b"].last_put_in
    assert rows["c"].last_put_in == "2025-12-31 23:00 (went to its queue)"
    assert rows["d"].last_put_in == "never"
    assert rows["old"].next_due == "not in these settings"
    assert {row.last_put_in for row in table(wanted, None, now_s)[1:]} == {"unknown"}
