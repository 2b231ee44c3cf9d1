"""Amazon SNS as moto's server plays it, in a process of its own; signatures are checked when it is told to."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest
import urllib3

from tests.support.smtp import free_port

REGION = "eu-south-1"
_POLICY = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sns:Publish", "Resource": "*"}]}'


@dataclass(frozen=True, kw_only=True)
class Moto:
    url: str
    access_key_id: str
    secret_access_key: str

    def messages(self) -> list[tuple[str, str]]:
        """Numbers and texts that were published."""
        with urllib3.PoolManager() as http:
            answer = http.request("GET", f"{self.url}/moto-api/data.json", timeout=30)
        made = answer.json().get("sns", {}).get("SMS", [])
        return [(message["phone_number"], message["message"]) for message in made]


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """A server that takes only requests signed by an access key of its own."""
    if importlib.util.find_spec("moto") is None:
        pytest.fail("no moto: it plays Amazon SNS; `uv sync` installs it with the development group")
    port, log = free_port(), tmp_path_factory.mktemp("moto") / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=file,
            stderr=file,
            env={name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ},
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url, process, log)
        key, secret = _access_key(url)
        with urllib3.PoolManager() as http:
            # From now on every request is checked: the signature, and the right to do it.
            assert http.request("POST", f"{url}/moto-api/reset-auth", body=b"0").status == 200
        yield Moto(url=url, access_key_id=key, secret_access_key=secret)
    finally:
        process.kill()
        process.wait(10)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 90
    with urllib3.PoolManager() as http:
        while True:
            try:
                if http.request("GET", f"{url}/moto-api/data.json", retries=False, timeout=5).status == 200:
                    return
            except urllib3.exceptions.HTTPError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.1)


def _access_key(url: str) -> tuple[str, str]:
    _iam(url, Action="CreateUser", UserName="worker")
    _iam(url, Action="PutUserPolicy", UserName="worker", PolicyName="sms", PolicyDocument=_POLICY)
    made = _iam(url, Action="CreateAccessKey", UserName="worker")
    key, secret = (re.search(f"<{name}>(.*?)</{name}>", made) for name in ("AccessKeyId", "SecretAccessKey"))
    assert key, made
    assert secret, made
    return key[1], secret[1]


def _iam(url: str, **fields: str) -> str:
    scope = "Credential=AKID/20260101/us-east-1/iam/aws4_request"
    with urllib3.PoolManager() as http:
        answer = http.request(
            "POST",
            f"{url}/",
            body=urlencode({**fields, "Version": "2010-05-08"}),
            headers={
                "Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0",
                "Content-Type": "application/x-www-form-urlencoded",
            },
            timeout=60,
        )
    assert answer.status == 200, answer.data
    return answer.data.decode()
