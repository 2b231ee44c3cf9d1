"""The settings of the broker; `Settings` is made of them too, and a producer needs no others."""

from __future__ import annotations

import os
import ssl
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from workerpool_worker.settings.broker_url import BrokerUrl, parse_broker_url
from workerpool_worker.settings.declare import setting as _setting


class BrokerSettings(BaseModel):
    """Which Redis, and how it is spoken to. A file named here wins over the one that the URL names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    broker_url: str = _setting(
        "redis://127.0.0.1:6379/0",
        "WORKERPOOL_BROKER_URL",
        "BROKER_URL",
        meaning="Redis the jobs wait in: redis://, rediss://, redis+sentinel://, rediss+sentinel:// or unix://",
    )
    broker_ca_file: Path | None = _setting(
        None, "WORKERPOOL_BROKER_CA_FILE", meaning="authorities (PEM) to trust for it, instead of the system's"
    )
    broker_cert_file: Path | None = _setting(
        None, "WORKERPOOL_BROKER_CERT_FILE", meaning="certificate (PEM) to show it, where it asks for one"
    )
    broker_key_file: Path | None = _setting(None, "WORKERPOOL_BROKER_KEY_FILE", meaning="key (PEM) of that certificate")

    @field_validator("broker_url")
    @classmethod
    def _broker(cls, value: str) -> str:
        parse_broker_url(value.strip())
        return value.strip()

    @field_validator("broker_ca_file", "broker_cert_file", "broker_key_file")
    @classmethod
    def _broker_file(cls, value: Path | None) -> Path | None:
        if value is not None and not (value.is_file() and os.access(value, os.R_OK)):
            raise ValueError("is not a file that can be read")
        return value

    @model_validator(mode="after")
    def _broker_tls(self) -> BrokerSettings:
        broker = self.broker
        files = {
            "WORKERPOOL_BROKER_CA_FILE": self.broker_ca_file,
            "WORKERPOOL_BROKER_CERT_FILE": self.broker_cert_file,
            "WORKERPOOL_BROKER_KEY_FILE": self.broker_key_file,
        }
        for variable, file in files.items():
            if file is not None and not broker.tls:
                raise ValueError(f"{variable}: is of no use without TLS; begin WORKERPOOL_BROKER_URL with rediss")
        if broker.key_file is not None and broker.cert_file is None:
            raise ValueError("WORKERPOOL_BROKER_CERT_FILE: is needed with WORKERPOOL_BROKER_KEY_FILE")
        if broker.tls:
            self._broker_files_hold(broker)
        return self

    def _broker_files_hold(self, broker: BrokerUrl) -> None:
        """What the files hold is looked at now: later it would be one more way not to reach the broker."""
        if broker.ca_file is not None:
            variable = "WORKERPOOL_BROKER_CA_FILE" if self.broker_ca_file else "WORKERPOOL_BROKER_URL"
            try:
                ssl.create_default_context(cafile=broker.ca_file)
            except (ssl.SSLError, OSError) as error:
                raise ValueError(f"{variable}: {broker.ca_file} holds no certificates ({_why(error)})") from error
        if broker.cert_file is not None:
            variable = "WORKERPOOL_BROKER_CERT_FILE" if self.broker_cert_file else "WORKERPOOL_BROKER_URL"
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(broker.cert_file, broker.key_file, password="")
            except (ssl.SSLError, OSError) as error:
                key = f" with {broker.key_file}" if broker.key_file else ""
                text = f"{variable}: {broker.cert_file}{key} is no certificate and its key, unencrypted"
                raise ValueError(f"{text} ({_why(error)})") from error

    @property
    def broker(self) -> BrokerUrl:
        """The broker's address, with the files that win over those of the URL."""
        url = parse_broker_url(self.broker_url)
        return replace(
            url,
            ca_file=str(self.broker_ca_file) if self.broker_ca_file else url.ca_file,
            cert_file=str(self.broker_cert_file) if self.broker_cert_file else url.cert_file,
            key_file=str(self.broker_key_file) if self.broker_key_file else url.key_file,
        )


def _why(error: OSError) -> str:
    reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return (reason or "not in PEM form").replace("_", " ").lower()
