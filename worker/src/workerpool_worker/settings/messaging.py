"""The settings of mail and text messages; `Settings` is made of them too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, field_validator, model_validator

from workerpool_worker.settings.declare import known_url
from workerpool_worker.settings.declare import setting as _setting

# In ASCII: every server takes it, and SMTPUTF8 is not spoken.
_ADDRESS = r"^[!#-'*+\x2d-9=?A-Z^-~]+@[A-Za-z0-9.-]+$"
_ASCII = r"^[\x20-\x7e]*$"
# What fits into a header: the line break at the end of a mounted secret does not.
_KEY = r"^[\x21-\x7e]*$"
_PRINTABLE = r"^[^\x00-\x1f\x7f]*$"


class MessagingSettings(BaseModel):
    """Who sends mail and text messages, and how. Secrets are masked wherever settings are shown."""

    email_transport: Literal["smtp", "sendgrid"] = _setting("smtp", "EMAIL_TRANSPORT", meaning="who takes the mail")
    email_template_dir: Path | None = _setting(
        None, "EMAIL_TEMPLATE_DIR", meaning="folder of mail templates; they win over the built-in ones of their name"
    )
    email_attachment_bytes: int = _setting(
        5_000_000, "EMAIL_MAX_ATTACHMENT_BYTES", meaning="attachments of one mail, together", ge=0, le=20_000_000
    )
    mail_from: str = _setting(
        "shop@workerpool.example", "MAIL_FROM", meaning="sender of every mail", pattern=_ADDRESS, max_length=254
    )
    mail_from_name: str = _setting(
        "", "MAIL_FROM_NAME", meaning="name shown with the sender's address", pattern=_PRINTABLE, max_length=200
    )
    mail_reply_to: str = _setting("", "MAIL_REPLY_TO", meaning="where answers go, if not to the sender")
    smtp_host: str = _setting("127.0.0.1", "SMTP_HOST", meaning="mail server", min_length=1)
    smtp_port: int = _setting(1025, "SMTP_PORT", meaning="its port", ge=1, le=65_535)
    smtp_username: str = _setting("", "SMTP_USERNAME", meaning="user to log in as; none: no login", pattern=_ASCII)
    smtp_password: str = _setting("", "SMTP_PASSWORD", meaning="its password", secret=True, pattern=_ASCII)
    smtp_tls: Literal["none", "starttls", "implicit"] = _setting("none", "SMTP_TLS", meaning="how mail is encrypted")
    smtp_ca_file: Path | None = _setting(
        None, "SMTP_CA_FILE", meaning="authorities (PEM) to trust for the mail server, instead of the system's"
    )
    smtp_timeout_seconds: float = _setting(10, "SMTP_TIMEOUT_SECONDS", meaning="wait for one SMTP answer", gt=0, le=300)
    smtp_idle_seconds: float = _setting(
        60, "SMTP_IDLE_SECONDS", meaning="a connection unused for longer is not used again", ge=0, le=3_600
    )
    smtp_mails_per_connection: int = _setting(
        100, "SMTP_MAILS_PER_CONNECTION", meaning="mails before a fresh connection is made", ge=1, le=100_000
    )
    sendgrid_api_key: str = _setting(
        "", "SENDGRID_API_KEY", meaning="key of the SendGrid API", secret=True, pattern=_KEY
    )
    sendgrid_url: str = _setting("https://api.sendgrid.com", "SENDGRID_URL", meaning="where the SendGrid API is")
    sendgrid_timeout_seconds: float = _setting(
        10, "SENDGRID_TIMEOUT_SECONDS", meaning="longest wait for SendGrid's answer", gt=0, le=120
    )

    sms_provider: Literal["sandbox", "twilio", "sns"] = _setting(
        "sandbox", "SMS_PROVIDER", meaning="who sends text messages"
    )
    sms_from: str = _setting(
        "", "SMS_FROM", meaning="sender: a number (+…) or a name of up to 11 letters and digits", pattern=_PRINTABLE
    )
    sms_max_segments: int = _setting(
        6, "SMS_MAX_SEGMENTS", meaning="longest text in billed segments; a longer one is refused", ge=1, le=10
    )
    sms_timeout_seconds: float = _setting(
        10, "SMS_TIMEOUT_SECONDS", meaning="longest wait for the SMS provider's answer", gt=0, le=120
    )
    twilio_account_sid: str = _setting(
        "", "TWILIO_ACCOUNT_SID", meaning="Twilio account", pattern=r"^(AC[0-9a-fA-F]{32})?$"
    )
    twilio_auth_token: str = _setting(
        "", "TWILIO_AUTH_TOKEN", meaning="its token; or an API key", secret=True, pattern=_KEY
    )
    twilio_api_key: str = _setting(
        "", "TWILIO_API_KEY", meaning="API key (SK…), instead of the token", pattern=r"^(SK[0-9a-fA-F]{32})?$"
    )
    twilio_api_secret: str = _setting(
        "", "TWILIO_API_SECRET", meaning="secret of the API key", secret=True, pattern=_KEY
    )
    twilio_messaging_service_sid: str = _setting(
        "",
        "TWILIO_MESSAGING_SERVICE_SID",
        meaning="messaging service that picks the sender, instead of SMS_FROM",
        pattern=r"^(MG[0-9a-fA-F]{32})?$",
    )
    twilio_status_callback_url: str = _setting("", "TWILIO_STATUS_CALLBACK", meaning="URL Twilio tells of deliveries")
    twilio_url: str = _setting("https://api.twilio.com", "TWILIO_URL", meaning="where the Twilio API is")
    aws_region: str = _setting(
        "", "AWS_REGION", "AWS_DEFAULT_REGION", meaning="region of Amazon SNS", pattern=r"^[a-z0-9-]*$"
    )
    aws_access_key_id: str = _setting(
        "", "AWS_ACCESS_KEY_ID", meaning="access key that may call sns:Publish", pattern=r"^\w*$"
    )
    aws_secret_access_key: str = _setting("", "AWS_SECRET_ACCESS_KEY", meaning="its secret", secret=True, pattern=_KEY)
    aws_session_token: str = _setting(
        "", "AWS_SESSION_TOKEN", meaning="token of temporary credentials", secret=True, pattern=_KEY
    )
    sns_url: str = _setting(
        "", "AWS_ENDPOINT_URL_SNS", "AWS_ENDPOINT_URL", meaning="where Amazon SNS is, if not in its region"
    )
    sns_sms_type: Literal["Transactional", "Promotional"] = _setting(
        "Transactional", "SNS_SMS_TYPE", meaning="how Amazon SNS routes and bills text messages"
    )

    @field_validator("sendgrid_url", "twilio_url", "sns_url", "twilio_status_callback_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        return known_url(value, ("https", "http"), "https://api.example.org").rstrip("/") if value else value

    @field_validator("smtp_ca_file")
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        if value is not None and not (value.is_file() and os.access(value, os.R_OK)):
            raise ValueError("is not a file that can be read")
        return value

    @field_validator("email_template_dir")
    @classmethod
    def _folder(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError("is not a folder")
        return value

    @field_validator("mail_reply_to")
    @classmethod
    def _one_address(cls, value: str) -> str:
        if value and (value.count("@") != 1 or any(c in value for c in ' \t\r\n<>,;:"') or not value.isprintable()):
            raise ValueError("must be one bare address such as help@example.org")
        return value

    @model_validator(mode="after")
    def _complete(self) -> MessagingSettings:
        for variable, missing, why in self._needs():
            if missing:
                raise ValueError(f"{variable}: {why}")
        return self

    def _needs(self) -> tuple[tuple[str, bool, str], ...]:
        twilio, sns = self.sms_provider == "twilio", self.sms_provider == "sns"
        key = bool(self.twilio_api_key and self.twilio_api_secret)
        half = bool(self.twilio_api_key) != bool(self.twilio_api_secret)
        return (
            (
                "SENDGRID_API_KEY",
                self.email_transport == "sendgrid" and not self.sendgrid_api_key,
                "is needed for EMAIL_TRANSPORT=sendgrid",
            ),
            (
                "SMTP_CA_FILE",
                self.smtp_ca_file is not None and self.smtp_tls == "none",
                "is of no use with SMTP_TLS=none; set SMTP_TLS to starttls or implicit",
            ),
            ("TWILIO_ACCOUNT_SID", twilio and not self.twilio_account_sid, "is needed for SMS_PROVIDER=twilio"),
            ("TWILIO_API_SECRET", twilio and half, "TWILIO_API_KEY and TWILIO_API_SECRET go together; one is missing"),
            (
                "TWILIO_AUTH_TOKEN",
                twilio and not (self.twilio_auth_token or key),
                "is needed for SMS_PROVIDER=twilio, or TWILIO_API_KEY and TWILIO_API_SECRET",
            ),
            (
                "SMS_FROM",
                twilio and not (self.sms_from or self.twilio_messaging_service_sid),
                "is needed for SMS_PROVIDER=twilio, or TWILIO_MESSAGING_SERVICE_SID",
            ),
            ("AWS_REGION", sns and not self.aws_region, "is needed for SMS_PROVIDER=sns"),
            ("AWS_ACCESS_KEY_ID", sns and not self.aws_access_key_id, "is needed for SMS_PROVIDER=sns"),
            ("AWS_SECRET_ACCESS_KEY", sns and not self.aws_secret_access_key, "is needed for SMS_PROVIDER=sns"),
        )
