"""HTTPS to a provider is checked, and the check can fail."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.support.providers import fake_stripe
from workerpool_worker.jobs.payments.stripe import StripeProvider
from workerpool_worker.runtime import http
from workerpool_worker.runtime.errors import ProviderTimeoutError, TransientError

pytestmark = pytest.mark.integration


@pytest.fixture
def authority(tmp_path: Path) -> tuple[trustme.CA, Path]:
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return made, tmp_path / "ca.pem"


@pytest.fixture(autouse=True)
def fresh_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_pools", {})


@pytest.fixture
def stripe(request: pytest.FixtureRequest, authority: tuple[trustme.CA, Path]) -> Iterator[fake_stripe.FakeStripe]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority[0].issue_cert(request.param).configure_cert(context)
    fake = fake_stripe.FakeStripe()
    fake.web.encrypt(context)
    with fake.web:
        yield fake


def pay(fake: fake_stripe.FakeStripe) -> str:
    provider = StripeProvider(api_key=fake_stripe.KEY, api_url=fake.web.url, timeout_s=5)
    return provider.charge(key="p1", amount_minor=5, currency="EUR", token="tok_visa").status


@pytest.mark.parametrize("stripe", ["127.0.0.1"], indirect=True)
def test_an_authority_of_ones_own_is_trusted_by_ssl_cert_file(
    stripe: fake_stripe.FakeStripe, authority: tuple[trustme.CA, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TransientError, match="is not trusted") as refused:
        pay(stripe)
    assert not isinstance(refused.value, ProviderTimeoutError)
    assert stripe.web.asked == []
    monkeypatch.setenv("SSL_CERT_FILE", str(authority[1]))
    monkeypatch.setattr(http, "_pools", {})
    assert pay(stripe) == "succeeded"


@pytest.mark.parametrize("stripe", ["stripe.example"], indirect=True)
def test_a_certificate_of_another_name_is_not_trusted(
    stripe: fake_stripe.FakeStripe, authority: tuple[trustme.CA, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority[1]))
    with pytest.raises(TransientError, match="is not trusted"):
        pay(stripe)
    assert stripe.web.asked == []
