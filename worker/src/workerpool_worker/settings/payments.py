"""The settings of payments; `Settings` is made of them too."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, field_validator, model_validator

from workerpool_worker.settings.declare import known_url
from workerpool_worker.settings.declare import setting as _setting

# What fits into a header: the line break at the end of a mounted secret does not.
_KEY = r"^[\x21-\x7e]*$"


class PaymentSettings(BaseModel):
    """Who is asked for the money, and how. Secrets are masked wherever settings are shown."""

    payment_provider: Literal["sandbox", "stripe", "paystack"] = _setting(
        "sandbox", "PAYMENT_PROVIDER", meaning="who is asked for the money"
    )
    payment_timeout_seconds: float = _setting(
        30, "PAYMENT_TIMEOUT_SECONDS", meaning="wait for one answer of the payment provider", gt=0, le=120
    )
    payment_pending_seconds: float = _setting(
        86_400, "PAYMENT_PENDING_SECONDS", meaning="a pending charge is given up after this", ge=60, le=2_592_000
    )
    payment_reference_prefix: str = _setting(
        "", "PAYMENT_REFERENCE_PREFIX", meaning="put before our ids at the provider", pattern=r"^[A-Za-z0-9.-]{0,32}$"
    )
    stripe_api_key: str = _setting("", "STRIPE_API_KEY", meaning="Stripe's secret key", secret=True, pattern=_KEY)
    stripe_api_url: str = _setting("https://api.stripe.com", "STRIPE_API_URL", meaning="where Stripe's API is")
    stripe_off_session: bool = _setting(
        False, "STRIPE_OFF_SESSION", meaning="customers are not there: a card that asks to confirm is declined"
    )
    paystack_secret_key: str = _setting(
        "", "PAYSTACK_SECRET_KEY", meaning="Paystack's secret key", secret=True, pattern=_KEY
    )
    paystack_api_url: str = _setting("https://api.paystack.co", "PAYSTACK_API_URL", meaning="where Paystack's API is")
    paystack_refund_settle_seconds: float = _setting(
        300,
        "PAYSTACK_REFUND_SETTLE_SECONDS",
        meaning="a refund asked for without an answer is not asked for again before",
        ge=0,
        le=86_400,
    )

    @field_validator("stripe_api_url", "paystack_api_url")
    @classmethod
    def _api(cls, value: str) -> str:
        return known_url(value, ("https", "http"), "https://api.stripe.com").rstrip("/")

    @model_validator(mode="after")
    def _provider_has_its_key(self) -> PaymentSettings:
        of = {
            "stripe": ("STRIPE", "STRIPE_API_KEY", self.stripe_api_key, self.stripe_api_url),
            "paystack": ("PAYSTACK", "PAYSTACK_SECRET_KEY", self.paystack_secret_key, self.paystack_api_url),
        }
        for name, (stem, variable, key, url) in of.items():
            if name == self.payment_provider and not key:
                raise ValueError(f"{variable}: must be set where PAYMENT_PROVIDER is {name}")
            if "_live_" in key and not url.startswith("https://"):
                raise ValueError(f"{stem}_API_URL: a live key goes over https only")
        return self
