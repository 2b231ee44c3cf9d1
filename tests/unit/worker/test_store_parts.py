"""The parts of the store that need no database: versions, retention's settings, who of database and Redis is right."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

import workerpool_worker.store.schema as schema_module
from workerpool_worker.commands.jobs import as_lines, as_object
from workerpool_worker.settings import SettingsError, load_settings
from workerpool_worker.store import migrations
from workerpool_worker.store.places import Place, Search, names
from workerpool_worker.store.records import JobRecord, State
from workerpool_worker.store.schema import HEAD, SchemaError, Standing, standing_of
from workerpool_worker.store.status import decide

pytestmark = pytest.mark.unit

SENT = 1_000.0


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def test_the_versions_are_one_line_that_ends_at_head() -> None:
    found = list(scripts().walk_revisions())
    assert scripts().get_heads() == [HEAD], "store/schema.py: HEAD must be the newest file of migrations/versions"
    numbers = [tuple(map(int, script.revision.split("."))) for script in found]
    assert numbers == sorted(numbers, reverse=True), "each version must be later than the one it follows"
    for script in found:
        assert Path(script.path).name.startswith(f"v{script.revision.replace('.', '_')}_"), script.path
        assert not script.module.__dict__.get("downgrade"), "there is no way down; the way back is a back-up"


@pytest.mark.parametrize(
    ("version", "standing"),
    [
        (None, Standing.NONE),
        ("2.5", Standing.CURRENT),
        ("2.4", Standing.OLDER),
        ("1.9", Standing.OLDER),
        ("2.6", Standing.NEWER_MINOR),
        ("2.10", Standing.NEWER_MINOR),
        ("3.0", Standing.NEWER_MAJOR),
        ("10.1", Standing.NEWER_MAJOR),
    ],
)
def test_how_a_version_stands_to_ours(monkeypatch: pytest.MonkeyPatch, version: str | None, standing: Standing) -> None:
    monkeypatch.setattr(schema_module, "HEAD", "2.5")
    assert standing_of(version) is standing


@pytest.mark.parametrize("version", ["", "2", "2.x", "a3f8", "2.5.1", "-1.0", "²."])
def test_what_is_no_version_is_said_to_be_none(version: str) -> None:
    with pytest.raises(SchemaError, match="is no version"):
        standing_of(version)


def test_retention_has_the_documented_defaults() -> None:
    settings = load_settings({})
    assert settings.job_status is True
    assert (settings.keep_completed_days, settings.keep_failed_days) == (7, 30)
    assert (settings.keep_completed_jobs, settings.keep_failed_jobs) == (100_000, 100_000)
    assert settings.keep_effects_days == 90
    assert (settings.keep_dead_letters_days, settings.keep_dead_letters) == (30, 10_000)


@pytest.mark.parametrize(("text", "value"), [("on", True), ("off", False), ("true", True), ("0", False)])
def test_the_status_is_turned_on_and_off(text: str, value: bool) -> None:
    assert load_settings({"WORKERPOOL_JOB_STATUS": text}).job_status is value


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WORKERPOOL_JOB_STATUS", "perhaps"),
        ("WORKERPOOL_KEEP_COMPLETED_DAYS", "-1"),
        ("WORKERPOOL_KEEP_COMPLETED_DAYS", "week"),
        ("WORKERPOOL_KEEP_FAILED_DAYS", "nan"),
        ("WORKERPOOL_KEEP_COMPLETED_JOBS", "1.5"),
        ("WORKERPOOL_KEEP_FAILED_JOBS", "-1"),
        ("WORKERPOOL_KEEP_EFFECTS_DAYS", "6"),
        ("WORKERPOOL_KEEP_EFFECTS_DAYS", "36.5"),
        ("WORKERPOOL_KEEP_DEAD_LETTERS_DAYS", "0"),
        ("WORKERPOOL_KEEP_DEAD_LETTERS", "0"),
    ],
)
def test_what_cannot_be_is_refused_by_the_name_of_its_variable(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{variable}: ") as caught:
        load_settings({variable: value})
    assert "\n" not in str(caught.value)


def test_effects_are_remembered_longer_than_letters_can_be_requeued() -> None:
    with pytest.raises(SettingsError, match=r"^WORKERPOOL_KEEP_EFFECTS_DAYS: must be at least 127"):
        load_settings({"WORKERPOOL_KEEP_DEAD_LETTERS_DAYS": "120"})
    both = {"WORKERPOOL_KEEP_DEAD_LETTERS_DAYS": "120", "WORKERPOOL_KEEP_EFFECTS_DAYS": "127"}
    assert load_settings(both).keep_effects_days == 127


def record(state: State, *, enqueued_at: float | None = SENT) -> JobRecord:
    return JobRecord(
        id="j", task="t", queue="q", state=state, attempts=1, enqueued_at=enqueued_at, updated_at=SENT + 5, percent=40.0
    )


def place(kind: str, *, enqueued_at: float | None = SENT, died_at: float | None = None) -> Place:
    return Place(kind=kind, key="k", queue="q", enqueued_at=enqueued_at, died_at=died_at, ahead=3)  # type: ignore[arg-type]


def search(live: Place | None = None, letter: Place | None = None, gave_up: tuple[str, ...] = ()) -> Search:
    return Search(live=live, letter=letter, looked_at=("q",), gave_up=gave_up)


@pytest.mark.parametrize(
    ("known", "kind", "state"),
    [
        (None, "queue", "waiting"),
        (None, "delayed", "delayed"),
        (None, "unacked", "active"),
        (record("waiting"), "unacked", "active"),
        (record("active"), "queue", "waiting"),  # its worker died, it was given back
        (record("active"), "delayed", "delayed"),
        (record("delayed"), "queue", "waiting"),
        (record("delayed"), "unacked", "active"),
        (record("completed"), "unacked", "completed"),  # not acknowledged yet
        (record("completed"), "queue", "completed"),  # a copy that will find everything done
        (record("failed"), "unacked", "failed"),  # on its way to the dead letters
        (record("failed"), "queue", "waiting"),  # requeued
        (record("failed"), "delayed", "delayed"),
    ],
)
def test_redis_is_right_about_what_is_not_over(known: JobRecord | None, kind: str, state: str) -> None:
    assert decide("j", known, search(place(kind)), None).state == state


def test_what_was_sent_after_the_end_is_a_new_job() -> None:
    for over in (record("completed"), record("failed")):
        assert decide("j", over, search(place("queue", enqueued_at=SENT + 9)), None).state == "waiting"
        assert decide("j", over, search(place("unacked", enqueued_at=SENT + 9)), None).state == "active"


def test_a_dead_letter_means_failed_unless_the_job_is_about_again() -> None:
    letter = place("dead letters", died_at=SENT + 6)
    for known in (None, record("active"), record("delayed"), record("waiting")):
        found = decide("j", known, search(letter=letter), None)
        assert (found.state, found.place) == ("failed", letter)
    assert decide("j", record("failed"), search(letter=letter), None).place == letter
    assert decide("j", record("completed"), search(letter=letter), None).state == "completed"
    assert decide("j", None, search(place("queue"), letter), None).state == "waiting"
    older = place("dead letters", died_at=SENT - 1)
    assert decide("j", record("active"), search(letter=older), None).state == "active"


def test_what_is_in_the_outbox_waits() -> None:
    found = decide("j", None, search(), place("outbox"))
    assert (found.state, found.known) == ("waiting", True)
    assert decide("j", record("completed"), search(), place("outbox")).state == "completed"


def test_what_nobody_knows_and_what_nobody_has() -> None:
    assert not decide("j", None, search(), None).known
    lost = decide("j", record("active"), search(), None)
    assert lost.state == "active"
    assert "at none of the places" in lost.note
    assert decide("j", record("completed"), search(), None).note == ""
    assert (
        "not read to the end, because there is too much: q priority 3"
        in decide("j", record("active"), search(gave_up=("q\x06\x163",)), None).note
    )
    assert decide("j", None, search(place("queue"), gave_up=("other",)), None).note == ""
    assert names(["a", "a\x06\x169"]) == "a, a priority 9"


def test_the_lines_for_people_and_the_object_say_the_same() -> None:
    letter = Place(
        kind="dead letters", key="workerpool:dead-letters:q:letters", queue="q", task="t", tries=7, died_at=SENT + 6,
        error_class="CardError", error="no\nmoney", enqueued_at=SENT,
    )  # fmt: skip
    found = decide("j", record("active"), search(letter=letter), None)
    lines = as_lines(found)
    assert "state      failed" in lines
    assert "tries      7" in lines
    assert "error      CardError: no money" in lines
    assert "sent       1970-01-01 00:16:40" in lines
    assert "progress   40 %" in lines
    assert any(line.startswith("message    in workerpool:dead-letters:q:letters") for line in lines)
    whole = as_object(found)
    assert (whole["state"], whole["attempts"], whole["error_class"]) == ("failed", 7, "CardError")
    assert whole["place"]["kind"] == "dead letters"
    waiting = as_lines(decide("j", None, search(place("queue")), None))
    assert "message    in the list k, 3 before it" in waiting
    assert not any("progress" in line or "due" in line for line in waiting)
