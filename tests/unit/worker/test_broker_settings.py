"""The broker's URL and files: what is understood, and what is refused in one line without a secret in it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from workerpool_worker.broker.connect import connection_options
from workerpool_worker.settings import SettingsError, load_settings, without_password
from workerpool_worker.settings.broker import BrokerSettings
from workerpool_worker.settings.broker_url import BrokerUrl, parse_broker_url

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        ("redis://h", BrokerUrl(hosts=(("h", 6379),))),
        ("redis://h:1/2", BrokerUrl(hosts=(("h", 1),), database=2)),
        ("redis://h?db=3", BrokerUrl(hosts=(("h", 6379),), database=3)),
        ("redis://[fd00::1]:1/0", BrokerUrl(hosts=(("fd00::1", 1),))),
        ("redis://shop:p%40%2F%3A@h/0", BrokerUrl(hosts=(("h", 6379),), user="shop", password="p@/:")),
        ("redis://:p:q@h", BrokerUrl(hosts=(("h", 6379),), password="p:q")),
        ("rediss://h/0", BrokerUrl(hosts=(("h", 6379),), tls=True)),
        (
            "rediss://h?ssl_cert_reqs=CERT_NONE&ssl_check_hostname=false&ssl_ca_certs=/ca",
            BrokerUrl(hosts=(("h", 6379),), tls=True, verify=False, verify_host=False, ca_file="/ca"),
        ),
        (
            "rediss+sentinel://u:p@a,b:1/mymaster/4?sentinel_username=w&sentinel_password=x%26",
            BrokerUrl(
                hosts=(("a", 26379), ("b", 1)),
                service="mymaster",
                database=4,
                user="u",
                password="p",
                tls=True,
                sentinel_user="w",
                sentinel_password="x&",
            ),
        ),
        ("redis+sentinel://a/mymaster", BrokerUrl(hosts=(("a", 26379),), service="mymaster")),
        ("unix://:p@/run/r.sock?db=1", BrokerUrl(hosts=(), path="/run/r.sock", database=1, password="p")),
    ],
)
def test_what_a_url_says(url: str, parsed: BrokerUrl) -> None:
    assert parse_broker_url(url) == parsed


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("h:6379", "must be a URL such as redis://host:6379/0"),
        ("http://:hunter2@h", "must be a URL such as redis://host:6379/0"),
        ("redis://:hunter2@", "names no host"),
        ("redis://:hunter2@h:0", "not a number from 1 to 65535"),
        ("redis://:hunter2@h:x", "its port is not a number"),
        ("redis://:hunter2@h:65536", "its port is not a number"),
        ("redis://:hunter2@h/zero", "its database is not a number"),
        ("redis://:hunter2@h/0/1", "must be a URL"),
        ("redis://:hun/ter2@h/0", "percent-encode"),
        ("redis://:hun#ter2@h/0", "percent-encode"),
        ("redis://:hun?ter2@h/0", "percent-encode"),
        ("redis://:hun ter2@h/0", "percent-encode"),
        ("redis://:hunter2@[h/0", "percent-encode"),
        ("redis://hunter2@h/0", "has a user and no password"),
        ("redis://:hunter2@a,b/0", "must be a URL"),
        ("redis://h?timeout=hunter2", "an option after ? that is not known"),
        ("rediss://h?ssl_cert_reqs=optional", "must be required or none"),
        ("rediss://h?ssl_check_hostname=maybe", "must be true or false"),
        ("sentinel://:hunter2@h:26379", "write Sentinels as redis+sentinel://host:26379,host:26379/service/0"),
        ("redis://:hunter2@h;redis://g", "write Sentinels as"),
        ("redis+sentinel://:hunter2@h:26379", "must name the service"),
        ("redis+sentinel://:hunter2@h/mymaster/0/1", "must name the service"),
        ("unix://", "must name a socket"),
        ("unix://:hunter2@run/r.sock", "must name a socket"),
    ],
)
def test_what_is_refused(url: str, words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings({"WORKERPOOL_BROKER_URL": url})
    text = str(refused.value)
    assert text.startswith("WORKERPOOL_BROKER_URL: ")
    assert words in text
    assert "\n" not in text
    assert "hun" not in text
    assert "ter2" not in text


SECRETS = st.text(st.characters(codec="ascii", exclude_characters="\x00"), min_size=6, max_size=20).filter(
    lambda text: not any(text in known for known in ("redis://u:***@h:6379/0", "redis://***", "percent-encode"))
)


@given(secret=SECRETS)
def test_no_password_gets_into_a_message_encoded_or_not(secret: str) -> None:
    url = f"redis://u:{secret}@h:6379/0"
    assert secret not in without_password(url)
    try:
        load_settings({"WORKERPOOL_BROKER_URL": url})
    except SettingsError as error:
        assert secret not in str(error).partition("(got ")[2]  # noqa: PT017 - it may be fine as well


@given(secret=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_any_password_can_be_encoded(secret: str) -> None:
    from urllib.parse import quote  # noqa: PLC0415

    url = f"redis+sentinel://u:{quote(secret, safe='')}@h/m/0?sentinel_password={quote(secret, safe='')}"
    parsed = parse_broker_url(url)
    assert (parsed.password, parsed.sentinel_password) == (secret, secret)
    assert "password" not in repr(parsed), "neither of them is shown"


def test_what_celery_is_told_holds_the_login_in_its_url_only() -> None:
    options = connection_options(BrokerSettings(broker_url="redis+sentinel://u:p%2Fw@h:1/m/2?sentinel_password=q%2Fw"))
    assert options["broker_url"] == "redis://u:p%2Fw@h:1/2"
    assert "p/w" not in repr(options)
    assert "q/w" not in repr(options)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Files of one authority by variable, and one file that is none of them."""
    authority = trustme.CA()
    issued = authority.issue_cert("worker")
    other = trustme.CA().issue_cert("worker")
    named = {
        "CA": authority.cert_pem.bytes(),
        "CERT": issued.cert_chain_pems[0].bytes(),
        "KEY": issued.private_key_pem.bytes(),
        "OTHER_KEY": other.private_key_pem.bytes(),
        "JUNK": b"no certificate",
    }
    for name, content in named.items():
        (tmp_path / name).write_bytes(content)
    return {name: str(tmp_path / name) for name in named}


def test_the_files_are_taken_and_win_over_those_of_the_url(files: dict[str, str]) -> None:
    settings = load_settings(
        {
            "WORKERPOOL_BROKER_URL": "rediss://h?ssl_ca_certs=/nowhere&ssl_certfile=/nowhere",
            "WORKERPOOL_BROKER_CA_FILE": files["CA"],
            "WORKERPOOL_BROKER_CERT_FILE": files["CERT"],
            "WORKERPOOL_BROKER_KEY_FILE": files["KEY"],
        }
    )
    broker = settings.broker
    assert (broker.ca_file, broker.cert_file, broker.key_file) == (files["CA"], files["CERT"], files["KEY"])
    assert broker.verify
    assert broker.verify_host


@pytest.mark.parametrize(
    ("url", "given_files", "words"),
    [
        ("rediss://h", {"CA": "/no/such"}, "WORKERPOOL_BROKER_CA_FILE: is not a file that can be read"),
        ("rediss://h", {"CA": "JUNK"}, "WORKERPOOL_BROKER_CA_FILE: "),
        ("rediss://h?ssl_ca_certs=/no/such", {}, "WORKERPOOL_BROKER_URL: /no/such holds no certificates"),
        ("rediss://h", {"CERT": "/no/such"}, "WORKERPOOL_BROKER_CERT_FILE: is not a file that can be read"),
        ("rediss://h", {"CERT": "CERT", "KEY": "OTHER_KEY"}, "(key values mismatch)"),
        ("rediss://h", {"CERT": "CERT"}, "is no certificate and its key, unencrypted"),
        ("rediss://h", {"KEY": "KEY"}, "WORKERPOOL_BROKER_CERT_FILE: is needed with WORKERPOOL_BROKER_KEY_FILE"),
        ("redis://h", {"CA": "CA"}, "WORKERPOOL_BROKER_CA_FILE: is of no use without TLS"),
    ],
)
def test_files_that_cannot_be_used_stop_the_start(
    url: str, given_files: dict[str, str], words: str, files: dict[str, str]
) -> None:
    named = {f"WORKERPOOL_BROKER_{name}_FILE": files.get(file, file) for name, file in given_files.items()}
    with pytest.raises(SettingsError) as refused:
        load_settings({"WORKERPOOL_BROKER_URL": url} | named)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
