"""Which provider a payment goes to. A provider's code is imported when it is first asked."""

# ruff: noqa: PLC0415 - see above

from __future__ import annotations

from workerpool_worker.jobs.payments import books
from workerpool_worker.jobs.payments.provider import PaymentProvider
from workerpool_worker.runtime.context import JobContext
from workerpool_worker.runtime.errors import TransientError


def provider_of(context: JobContext, payment_id: str) -> PaymentProvider:
    """The provider that a payment was asked of, else the one of the settings."""
    row = books.known(context.engine, payment_id)
    return provider_named(context, row.provider if row else context.settings.payment_provider)


def provider_named(context: JobContext, name: str) -> PaymentProvider:
    """A provider with what the settings say of it.

    Raises:
        TransientError: an earlier payment was asked of it, and its key is no longer set.
    """
    settings = context.settings
    if name == "stripe":
        from workerpool_worker.jobs.payments.stripe import StripeProvider

        _need(settings.stripe_api_key, "STRIPE_API_KEY", name)
        return StripeProvider(
            api_key=settings.stripe_api_key,
            api_url=settings.stripe_api_url,
            prefix=settings.payment_reference_prefix,
            off_session=settings.stripe_off_session,
            timeout_s=settings.payment_timeout_seconds,
        )
    if name == "paystack":
        from workerpool_worker.jobs.payments.paystack import PaystackProvider

        _need(settings.paystack_secret_key, "PAYSTACK_SECRET_KEY", name)
        return PaystackProvider(
            secret_key=settings.paystack_secret_key,
            api_url=settings.paystack_api_url,
            prefix=settings.payment_reference_prefix,
            settle_s=settings.paystack_refund_settle_seconds,
            timeout_s=settings.payment_timeout_seconds,
        )
    from workerpool_worker.jobs.payments.sandbox import SandboxProvider

    return SandboxProvider(engine=context.engine, latency_s=settings.sandbox_latency_ms / 1000)


def _need(key: str, variable: str, name: str) -> None:
    if not key:
        raise TransientError(f"{variable} is not set, and this payment was made through {name}")
