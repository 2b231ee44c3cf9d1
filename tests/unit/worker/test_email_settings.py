"""Settings of mail and text messages that cannot be used stop the start with a line that names the variable."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.providers.sms import SNS, TWILIO
from workerpool_worker.registry import JOBS
from workerpool_worker.settings import KNOWN_QUEUES, SettingsError, load_settings, settings_table

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("variable", "environ", "says"),
    [
        ("SENDGRID_API_KEY", {"EMAIL_TRANSPORT": "sendgrid"}, "is needed"),
        ("SENDGRID_API_KEY", {"SENDGRID_API_KEY": "SG.abc\n"}, "pattern"),
        ("EMAIL_TRANSPORT", {"EMAIL_TRANSPORT": "pigeon"}, "'smtp' or 'sendgrid'"),
        ("EMAIL_TEMPLATE_DIR", {"EMAIL_TEMPLATE_DIR": "nowhere-at-all"}, "is not a folder"),
        ("EMAIL_MAX_ATTACHMENT_BYTES", {"EMAIL_MAX_ATTACHMENT_BYTES": "30000000"}, "less than or equal"),
        ("SMTP_CA_FILE", {"SMTP_CA_FILE": "nowhere.pem", "SMTP_TLS": "starttls"}, "is not a file"),
        ("SMTP_CA_FILE", {"SMTP_CA_FILE": __file__}, "of no use with SMTP_TLS=none"),
        ("MAIL_FROM", {"MAIL_FROM": "Shop <shop@x.y>"}, "pattern"),
        ("MAIL_FROM", {"MAIL_FROM": "söp@x.example"}, "pattern"),
        ("SMTP_PASSWORD", {"SMTP_PASSWORD": "of-a-test\n"}, "pattern"),
        ("MAIL_FROM_NAME", {"MAIL_FROM_NAME": "Shop\r\nBcc: x"}, "pattern"),
        ("MAIL_REPLY_TO", {"MAIL_REPLY_TO": "a@b.c\nBcc: x"}, "one bare address"),
        ("SENDGRID_URL", {"SENDGRID_URL": "api.sendgrid.com"}, "must be a URL"),
        ("TWILIO_ACCOUNT_SID", {**TWILIO, "TWILIO_ACCOUNT_SID": ""}, "is needed"),
        ("TWILIO_ACCOUNT_SID", {**TWILIO, "TWILIO_ACCOUNT_SID": "AC/../x"}, "pattern"),
        ("TWILIO_AUTH_TOKEN", {**TWILIO, "TWILIO_AUTH_TOKEN": ""}, "TWILIO_API_KEY and TWILIO_API_SECRET"),
        ("TWILIO_API_SECRET", {**TWILIO, "TWILIO_API_KEY": "SK" + "a" * 32}, "go together"),
        ("SMS_FROM", {**TWILIO, "SMS_FROM": ""}, "TWILIO_MESSAGING_SERVICE_SID"),
        ("AWS_REGION", {**SNS, "AWS_REGION": ""}, "is needed"),
        ("AWS_ACCESS_KEY_ID", {**SNS, "AWS_ACCESS_KEY_ID": ""}, "is needed"),
        ("AWS_SECRET_ACCESS_KEY", {**SNS, "AWS_SECRET_ACCESS_KEY": ""}, "is needed"),
        ("AWS_ENDPOINT_URL_SNS", {**SNS, "AWS_ENDPOINT_URL_SNS": "ftp://x"}, "must be a URL"),
        ("SMS_MAX_SEGMENTS", {"SMS_MAX_SEGMENTS": "11"}, "less than or equal to 10"),
    ],
)
def test_a_refused_value_is_one_line_that_names_its_variable(variable: str, environ: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(environ)
    text = str(refused.value)
    assert text.startswith(f"{variable}: ")
    assert says in text
    assert "\n" not in text
    assert "of-a-test" not in text
    assert "SG.abc" not in text


def test_no_secret_is_shown() -> None:
    names = ("SMTP_PASSWORD", "SENDGRID_API_KEY", "TWILIO_AUTH_TOKEN", "TWILIO_API_SECRET", "AWS_SECRET_ACCESS_KEY")
    environ = dict.fromkeys((*names, "AWS_SESSION_TOKEN"), "hunter2")
    environ["TWILIO_STATUS_CALLBACK"] = "https://u:hunter2@shop.example/x?token=hunter2"
    assert "hunter2" not in repr(settings_table(load_settings(environ), environ))


def test_every_job_is_on_a_known_queue_and_text_messages_are_consumed_when_asked_for() -> None:
    assert {spec.message.queue for spec in JOBS} == set(KNOWN_QUEUES)
    assert load_settings({}).queues == ("email", "order", "payment", "maintenance")


def test_every_setting_is_documented() -> None:
    text = (Path(__file__).parents[3] / "docs" / "email-and-sms.md").read_text()
    names = ("MAIL_", "SMTP_", "EMAIL_", "SENDGRID_", "SMS_", "TWILIO_", "AWS_", "SNS_")
    rows = [row for row in settings_table(load_settings({}), {}) if row.variable.startswith(names)]
    assert len(rows) > 30
    assert [row.variable for row in rows if f"`{row.variable}`" not in text] == []
