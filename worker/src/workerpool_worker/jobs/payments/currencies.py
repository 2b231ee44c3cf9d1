"""Minor units. Ours are those of ISO 4217; a provider's may differ."""

from __future__ import annotations

from workerpool_worker.minor_units import digits_of
from workerpool_worker.runtime.errors import PermanentError

# Where Stripe counts otherwise (docs.stripe.com/currencies): krónur are sent in hundredths, ariary whole.
_STRIPE_DIGITS = {"ISK": 2, "MGA": 0}
# Stripe's page names the shilling both among the currencies without decimals and among those sent with two.
_STRIPE_UNCLEAR = ("UGX",)
_THREE_DIGITS = 3


def to_stripe(amount_minor: int, currency: str) -> int:
    """The amount in Stripe's unit.

    Raises:
        PermanentError: Stripe cannot charge this amount, or it is not sure what it would charge.
    """
    if currency in _STRIPE_UNCLEAR:
        raise PermanentError(f"{currency} is not charged through Stripe: its unit there is not sure")
    ours, theirs = _digits(currency)
    if theirs == _THREE_DIGITS and amount_minor % 10:
        raise PermanentError(f"Stripe charges {currency} in steps of 10 of the minor unit (got {amount_minor})")
    if theirs >= ours:
        return amount_minor * _power(theirs - ours)
    step = _power(ours - theirs)
    if amount_minor % step:
        raise PermanentError(f"Stripe charges {currency} in steps of {step} of the minor unit (got {amount_minor})")
    return amount_minor // step


def from_stripe(amount: int, currency: str) -> int:
    """The amount of Stripe's unit in our minor unit."""
    ours, theirs = _digits(currency)
    return amount // _power(theirs - ours) if theirs >= ours else amount * _power(ours - theirs)


def _digits(currency: str) -> tuple[int, int]:
    ours = digits_of(currency)
    return ours, _STRIPE_DIGITS.get(currency, ours)


def _power(digits: int) -> int:
    return int(10**digits)
