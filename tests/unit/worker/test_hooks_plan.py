from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from workerpool_worker.jobs.hooks.choose import Final, hooks_for
from workerpool_worker.jobs.hooks.messages import HookEmail, HookWebhook
from workerpool_worker.jobs.hooks.places import check_place, is_off_limits
from workerpool_worker.runtime.errors import PermanentError, TransientError
from workerpool_worker.settings import Settings, SettingsError, load_settings, settings_table

pytestmark = pytest.mark.unit

URL = "https://shop.example.org/hooks/T0PS3CRET"


def settings_of(*entries: dict[str, Any]) -> Settings:
    return load_settings({"WORKERPOOL_HOOKS": json.dumps(entries)})


def final(**more: Any) -> Final:
    values: dict[str, Any] = {"job_id": "payment-p1", "task": "payment.process", "queue": "payment"}
    return Final(**{**values, "state": "completed", "finished_at_s": 1.5, **more})


def test_nothing_without_hooks() -> None:
    assert hooks_for(load_settings({}), final()) == ()


def test_which_jobs_a_hook_is_for() -> None:
    settings = settings_of(
        {"name": "all", "on": ["completed", "failed"], "email": "a@example.org"},
        {"name": "failed", "on": "failed", "email": "b@example.org"},
        {"name": "mail", "on": ["completed"], "tasks": "email.*", "email": "c@example.org"},
        {"name": "queue", "on": ["completed"], "queues": ["payment", "x"], "webhook": URL},
    )

    def names(**more: Any) -> list[str]:
        return [hook.job.id.partition("-completed-")[2] or hook.job.id.partition("-failed-")[2]
                for hook in hooks_for(settings, final(**more))]  # fmt: skip

    assert names() == ["all", "queue"]
    assert names(state="failed", error="E: no") == ["all", "failed"]
    assert names(task="email.send", queue="email") == ["all", "mail"]
    assert names(task="hook.webhook") == names(task="hook.email") == []


def test_the_job_of_a_hook() -> None:
    settings = settings_of(
        {"name": "w", "on": ["completed"], "webhook": URL}, {"on": ["completed"], "email": "a@b.example"}
    )
    web, mail = hooks_for(settings, final(result={"outcome": "succeeded"}, attempts=2))
    assert (web.queue, mail.queue) == ("payment", "payment")
    assert isinstance(web.job, HookWebhook)
    assert web.job.job_id == "hook-payment-p1-completed-w"
    assert isinstance(mail.job, HookEmail)
    assert mail.job.job_id.startswith("hook-email-payment-p1-completed-email-")
    # What lies in Redis names the hook; its URL may be all it takes to use it.
    assert "T0PS3CRET" not in json.dumps(web.job.arguments())
    # What is sent is what comes out again.
    assert HookWebhook.model_validate(web.job.arguments()) == web.job
    assert HookEmail.model_validate(mail.job.arguments()) == mail.job


@pytest.mark.parametrize("job_id", ["a job: ü/?", "x" * 300, "", "-dash"])
def test_any_job_id_makes_an_id(job_id: str) -> None:
    settings = settings_of({"name": "n" * 40, "on": ["failed"], "webhook": URL})
    ids = {hooks_for(settings, final(job_id=it, state="failed"))[0].job.id for it in (job_id, job_id, "other")}
    assert len(ids) == 2


def test_a_result_that_is_too_large_or_no_json_is_left_out() -> None:
    settings = settings_of({"name": "w", "on": ["completed"], "webhook": URL})

    def result(value: Any) -> Any:
        return hooks_for(settings, final(result=value))[0].job.arguments()["payload"]["result"]

    assert result({"a": [1, None]}) == {"a": [1, None]}
    assert result({"a": "x" * 40_000}) == {"left_out": "it has 40009 characters"}
    assert result({"a": object()}) == {"left_out": "it is no JSON"}
    assert result(float("nan")) == {"left_out": "it is no JSON"}


def test_a_yaml_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_HOOK_SECRET", "s")
    file = tmp_path / "hooks.yaml"
    # The example of docs/hooks.md. `on` without quotes is a boolean in YAML 1.1.
    page = (Path(__file__).parents[3] / "docs" / "hooks.md").read_text()
    file.write_text(page.split("```yaml\n")[1].split("```")[0])
    web, mail = load_settings({"WORKERPOOL_HOOKS_FILE": str(file)}).hooks
    assert (web.states, web.tasks, web.queues, web.secret_env) == (
        ("completed", "failed"), "payment.*", ("payment",), "SHOP_HOOK_SECRET",
    )  # fmt: skip
    assert (mail.states, mail.email, mail.tasks) == (("failed",), "ops@example.org", "*")


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"on": ["completed"]}, "email, webhook: name one of them"),
        ({"on": ["completed"], "email": "a@b", "webhook": URL}, "email, webhook: name one of them"),
        ({"on": ["done"], "webhook": URL}, "on: must be a list of completed and failed"),
        ({"webhook": URL}, "on: must be a list"),
        ({"on": ["failed"], "webhook": "ftp://T0PS3CRET"}, "webhook: must be a URL such as https://"),
        ({"on": ["failed"], "webhook": "https://h:99999/T0PS3CRET"}, "webhook: must be a URL"),
        ({"on": ["failed"], "webhook": "https://u:T0PS3CRET@h/x"}, "webhook: must hold no user and password"),
        ({"on": ["failed"], "webhook": "http://169.254.169.254/latest"}, "webhook: must not be a link-local address"),
        ({"on": ["failed"], "webhook": URL, "secret": "T0PS3CRET"}, "secret: name the environment variable"),
        ({"on": ["failed"], "webhook": URL, "secretEnv": "T0PS3CRET!"}, "secretEnv: must be the name of an env"),
        ({"on": ["failed"], "webhook": URL, "secretEnv": "NOT_SET_HERE"}, "variable NOT_SET_HERE is not set"),
        ({"on": ["failed"], "email": "a@b.c", "secretEnv": "HOME"}, "secretEnv: is for webhooks only"),
        ({"on": ["failed"], "email": "a, b@c"}, "email: must be one bare address"),
        ({"on": ["failed"], "email": "a@b.c", "queues": "email"}, "queues: must be a list of names"),
        ({"on": ["failed"], "email": "a@b.c", "task": "x"}, "task: there is no such field"),
        ({"on": ["failed"], "email": "a@b.c", "name": "A b"}, 'name: "A b" must be small letters'),
    ],
)
def test_a_wrong_hook_stops_the_start_with_one_line(entry: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        settings_of(entry)
    text = str(refused.value)
    assert text.startswith("WORKERPOOL_HOOKS: the list: entry 1")
    assert says in text
    assert "T0PS3CRET" not in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"WORKERPOOL_HOOKS": "[{"}, "WORKERPOOL_HOOKS: is not JSON"),
        ({"WORKERPOOL_HOOKS": "{}"}, "WORKERPOOL_HOOKS: the list: must be a list of hooks"),
        ({"WORKERPOOL_HOOKS": "[]", "WORKERPOOL_HOOKS_FILE": "x"}, "WORKERPOOL_HOOKS_FILE: set it or"),
        ({"WORKERPOOL_HOOKS_FILE": "nowhere.yaml"}, "WORKERPOOL_HOOKS_FILE: nowhere.yaml: cannot be read"),
        ({"WORKERPOOL_HOOK_TIMEOUT_SECONDS": "0"}, "WORKERPOOL_HOOK_TIMEOUT_SECONDS: "),
    ],
)
def test_a_wrong_setting_is_named(environ: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(environ)
    assert str(refused.value).startswith(says)


def test_a_secret_with_a_line_break_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_HOOK_SECRET", "T0PS3CRET\n")
    with pytest.raises(SettingsError, match="SHOP_HOOK_SECRET begins or ends with white space") as refused:
        settings_of({"on": ["failed"], "webhook": URL, "secretEnv": "SHOP_HOOK_SECRET"})
    assert "T0PS3CRET" not in str(refused.value)


def test_two_hooks_of_one_target_need_names() -> None:
    with pytest.raises(SettingsError, match="give each of them a name of its own"):
        settings_of({"on": ["failed"], "webhook": URL}, {"on": ["completed"], "webhook": URL})


def test_hooks_are_masked_where_settings_are_shown() -> None:
    environ = {"WORKERPOOL_HOOKS": json.dumps([{"on": ["failed"], "webhook": URL}])}
    assert "T0PS3CRET" not in repr(settings_table(load_settings(environ), environ))


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "169.254.0.1", "fe80::1", "[fe80::1%eth0]", "::ffff:169.254.169.254", "fd00:ec2::254",
     "100.100.100.200"],
)  # fmt: skip
def test_places_where_credentials_are(host: str) -> None:
    assert is_off_limits(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "example.org", "::1", "192.168.1.1"])
def test_other_places(host: str) -> None:
    assert not is_off_limits(host)


def test_a_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = []
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: answers)
    answers[:] = [(2, 1, 6, "", ("10.0.0.1", 443)), (2, 1, 6, "", ("169.254.169.254", 443))]
    with pytest.raises(PermanentError, match=r"metadata\.example is at 169\.254\.169\.254"):
        check_place("metadata.example", 443)
    answers[:] = answers[:1]
    check_place("metadata.example", 443)
    monkeypatch.undo()
    with pytest.raises(TransientError, match="cannot look"):
        check_place("no-such-host.invalid", 443)
