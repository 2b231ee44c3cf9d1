"""Stripe: a PaymentIntent a payment, created and confirmed in one request under a key of its own.

Stripe keeps the answer of a key for at least 24 hours, a 500 included, and compares the parameters. So a request is
made of the message alone; a repeat after that time, or of a 500, looks into Stripe's books first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from workerpool_worker.jobs.payments.currencies import to_stripe
from workerpool_worker.jobs.payments.provider import Charge, Record, RefundAnswer
from workerpool_worker.jobs.payments.stripe_answers import (
    FailedError,
    KeyUsedError,
    RefusedError,
    as_charge,
    as_record,
    as_refund,
    declined_of,
    error_of,
    said_in,
    status_of,
)
from workerpool_worker.runtime import http
from workerpool_worker.runtime.errors import PermanentError, TransientError

API_URL = "https://api.stripe.com"
_VERSION = "2024-06-20"
# Below the 24 hours that Stripe keeps a key, with room for clocks that differ.
_KEYS_KEPT_S = 20 * 3600
_OK, _DECLINED = 200, 402


@dataclass(frozen=True, kw_only=True)
class StripeProvider:
    """Implements PaymentProvider on Stripe's API.

    Attributes:
        prefix: Put before our ids, so that two shops can share an account.
        off_session: The customer is not there; a card that asks for confirmation is declined.
    """

    api_key: str = field(repr=False)
    api_url: str = API_URL
    prefix: str = ""
    off_session: bool = False
    timeout_s: float = 30.0
    now_s: Callable[[], float] = time.time

    def charge(
        self,
        *,
        key: str,
        amount_minor: int,
        currency: str,
        token: str,
        email: str | None = None,  # noqa: ARG002 - Stripe would send a receipt of its own; ours is enough
        asked_s: float | None = None,
    ) -> Charge:
        """Create and confirm the PaymentIntent, or find the one that was."""
        amount = to_stripe(amount_minor, currency)
        if asked_s is not None and self.now_s() - asked_s > _KEYS_KEPT_S and (found := self._find(key)):
            return _same(as_charge(found), key, amount_minor, currency)
        try:
            answer = self._confirmed(key, amount, currency, token)
        except (KeyUsedError, FailedError) as error:
            # A key used before (perhaps with other settings), or a 500 repeated: only the books can tell.
            if asked_s is None and isinstance(error, FailedError):
                raise
            found = self._find(key)
            if found is None:
                raise
            return _same(as_charge(found), key, amount_minor, currency)
        if answer.status == _DECLINED:
            return declined_of(answer.body["error"], amount_minor, currency)
        return as_charge(answer.body)

    def refund(
        self,
        *,
        key: str,
        payment: str,
        amount_minor: int | None,
        charge_id: str | None = None,
        asked_s: float | None = None,
    ) -> RefundAnswer:
        """Create the Refund, or find the one that was."""
        intent = self._read(charge_id) if charge_id else self._find(payment)
        if intent is None:
            return RefundAnswer(id="", status="refused", amount_minor=amount_minor or 0, reason="no such charge")
        record = as_record(intent)
        if record.charge.status == "pending":
            raise TransientError(f"refund {key}: payment {payment} is pending ({record.charge.reason})")
        if asked_s is not None and (made := self._find_refund(intent["id"], key)):
            return as_refund(made, record.charge.currency)
        fields = {"payment_intent": intent["id"], "metadata[refund_id]": f"{self.prefix}{key}"}
        fields["metadata[payment_id]"] = f"{self.prefix}{payment}"
        if amount_minor is not None:
            fields["amount"] = str(to_stripe(amount_minor, record.charge.currency))
        try:
            answer = self._post("/v1/refunds", fields, f"refund:{self.prefix}{key}")
        except RefusedError as error:
            # Refused because of the amount is an answer; anything else is a failure.
            left = as_record(self._read(intent["id"])).left_minor
            if left >= (amount_minor or 1):
                raise
            reason = f"{left} left of the charge ({error})"
            return RefundAnswer(id="", status="refused", amount_minor=amount_minor or left, reason=reason)
        return as_refund(answer.body, record.charge.currency)

    def lookup(self, payment: str, *, charge_id: str | None = None) -> Record | None:
        """The PaymentIntent, by its id or by the payment id in its metadata."""
        intent = self._read(charge_id) if charge_id else self._find(payment)
        return None if intent is None else as_record(intent)

    def cancel(self, payment: str, *, charge_id: str | None = None) -> Record | None:
        """Cancel the PaymentIntent if it is not too late."""
        before = self.lookup(payment, charge_id=charge_id)
        if before is None or before.charge.status != "pending":
            return before
        try:
            self._post(f"/v1/payment_intents/{_part(before.charge.id)}/cancel", {}, f"cancel:{self.prefix}{payment}")
        except RefusedError:
            # Paid, or being paid, in the meantime: what it is now is the answer.
            return self.lookup(payment, charge_id=before.charge.id)
        return self.lookup(payment, charge_id=before.charge.id)

    def _confirmed(self, key: str, amount: int, currency: str, token: str) -> http.Answer:
        """Create and confirm a PaymentIntent; an answer with status 402 is a card that was declined."""
        fields = {
            "amount": str(amount),
            "currency": currency.lower(),
            "confirm": "true",
            # Named, because methods chosen by Stripe may need a page to return to.
            "payment_method_types[]": "card",
            "metadata[payment_id]": f"{self.prefix}{key}",
        }
        if self.off_session:
            fields["off_session"] = "true"
        customer, _, method = token.rpartition(":")
        if customer:
            fields["customer"] = customer
        if method.startswith("tok_"):
            # A PaymentIntent takes no token. The key makes it the same PaymentMethod, and so the same request, again.
            card = {"type": "card", "card[token]": method}
            made = self._post("/v1/payment_methods", card, f"method:{self.prefix}{key}", hide=token)
            if made.status == _DECLINED:
                return made
            method = made.body["id"]
        elif not method.startswith(("pm_", "card_", "src_")):
            raise PermanentError(f"payment {key}: the token is none of Stripe's (tok_..., pm_..., cus_...:pm_...)")
        return self._post(
            "/v1/payment_intents", fields | {"payment_method": method}, f"charge:{self.prefix}{key}", hide=token
        )

    def _find(self, payment: str) -> dict[str, Any] | None:
        """The PaymentIntent of a payment whose id at Stripe we do not know."""
        wanted = f"{self.prefix}{payment}"
        query = {"query": f"metadata['payment_id']:'{wanted}'", "limit": "100", "expand[]": "data.latest_charge"}
        found = self._get("/v1/payment_intents/search", query)["data"]
        # The search does not tell capitals from small letters.
        exact: list[dict[str, Any]] = [intent for intent in found if intent["metadata"].get("payment_id") == wanted]
        paid = [intent for intent in exact if status_of(intent) == "succeeded"]
        if len(paid) > 1:
            ids = ", ".join(intent["id"] for intent in paid)
            raise PermanentError(f"payment {payment} was charged more than once at Stripe: {ids}; refund by hand")
        pending = [intent for intent in exact if status_of(intent) == "pending"]
        return next(iter([*paid, *pending, *exact]), None)

    def _find_refund(self, intent_id: str, key: str) -> dict[str, Any] | None:
        listed = self._get("/v1/refunds", {"payment_intent": intent_id, "limit": "100"})["data"]
        wanted = f"{self.prefix}{key}"
        return next((made for made in listed if (made["metadata"] or {}).get("refund_id") == wanted), None)

    def _read(self, intent_id: str) -> dict[str, Any]:
        return self._get(f"/v1/payment_intents/{_part(intent_id)}", {"expand[]": "latest_charge"})

    def _get(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        answer = http.request(
            "GET", f"{self.api_url}{path}?{urlencode(query)}", headers=self._headers(), timeout_s=self.timeout_s
        )
        if answer.status != _OK or not isinstance(answer.body, dict):
            raise error_of(answer, hide="")
        return answer.body

    def _post(self, path: str, fields: Mapping[str, str], key: str, *, hide: str = "") -> http.Answer:
        headers = {"Idempotency-Key": key, "Content-Type": "application/x-www-form-urlencoded"}
        answer = http.request(
            "POST",
            f"{self.api_url}{path}",
            headers=self._headers() | headers,
            body=urlencode(fields),
            timeout_s=self.timeout_s,
        )
        declined = answer.status == _DECLINED and said_in(answer).get("type") == "card_error"
        if (answer.status != _OK and not declined) or not isinstance(answer.body, dict):
            raise error_of(answer, hide=hide)
        return answer

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key}", "Stripe-Version": _VERSION, "User-Agent": "workerpool"}


def _part(text: str) -> str:
    return quote(text, safe="")


def _same(charge: Charge, key: str, amount_minor: int, currency: str) -> Charge:
    if (charge.amount_minor, charge.currency) != (amount_minor, currency):
        raise PermanentError(f"payment {key}: charged before with another amount ({charge.id})")
    return charge
