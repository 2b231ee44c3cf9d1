"""Paystack: a saved card (an authorization) charged under a reference that is unique, and refunds that are not.

A reference is charged once: asked for again, Paystack refuses, and its books tell what the first request did.
A refund has no such key. Each carries our id in its note; it is looked for before every request, and after a request
without an answer none is made for a while, so that one still on its way can show up in the list.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from workerpool_worker.jobs.payments.paystack_answers import (
    RefusedError,
    amount_of,
    as_charge,
    as_refund,
    counts,
    error_of,
    is_ours,
    not_found,
)
from workerpool_worker.jobs.payments.provider import Charge, Record, RefundAnswer
from workerpool_worker.runtime import http
from workerpool_worker.runtime.errors import PermanentError, TransientError

API_URL = "https://api.paystack.co"
CURRENCIES = ("NGN", "GHS", "ZAR", "KES", "USD")
_OK, _CREATED = 200, 201
_PAGE = 100


@dataclass(frozen=True, kw_only=True)
class PaystackProvider:
    """Implements PaymentProvider on Paystack's API.

    Attributes:
        prefix: Put before our ids, so that two shops can share an account.
        settle_s: How long a refund that was asked for without an answer may take to show up in the list.
    """

    secret_key: str = field(repr=False)
    api_url: str = API_URL
    prefix: str = ""
    settle_s: float = 300.0
    timeout_s: float = 30.0
    now_s: Callable[[], float] = time.time

    def charge(
        self,
        *,
        key: str,
        amount_minor: int,
        currency: str,
        token: str,
        email: str | None = None,
        asked_s: float | None = None,  # noqa: ARG002 - a reference is unique for ever
    ) -> Charge:
        """Charge the authorization, or find what the reference was used for."""
        _check(key, currency, token, email)
        fields = {
            "authorization_code": token,
            "email": email,
            "amount": amount_minor,
            "currency": currency,
            "reference": self._reference(key),
            "metadata": {"payment_id": f"{self.prefix}{key}"},
        }
        try:
            data = self._post("/transaction/charge_authorization", fields, hide=token)
            charge = as_charge(data, amount_minor, currency)
        except RefusedError:
            # Most likely the reference was used before, by us. Whatever the text says, the books are what counts.
            found = self._transaction(key)
            if found is None:
                raise
            charge = as_charge(found)
            if (amount_of(found), charge.currency) != (amount_minor, currency):
                raise PermanentError(f"payment {key}: charged before with another amount ({charge.id})") from None
        return charge

    def refund(
        self,
        *,
        key: str,
        payment: str,
        amount_minor: int | None,
        charge_id: str | None = None,  # noqa: ARG002 - the reference is made of our id
        asked_s: float | None = None,
    ) -> RefundAnswer:
        """Look for the refund, and ask for it when it is surely not there."""
        paid = self._transaction(payment)
        if paid is None:
            return RefundAnswer(id="", status="refused", amount_minor=amount_minor or 0, reason="no such charge")
        charge = as_charge(paid)
        if charge.status == "pending":
            raise TransientError(f"refund {key}: payment {payment} is pending ({charge.reason})")
        note = f"refund {self.prefix}{key}"
        refunds = self._refunds(paid)
        if made := _with_note(refunds, note):
            return as_refund(made)
        self._wait_for_the_list(key, asked_s)
        left = charge.amount_minor - _total(refunds) if charge.status == "succeeded" else 0
        wanted = left if amount_minor is None else amount_minor
        if not 0 < wanted <= left:
            return RefundAnswer(id="", status="refused", amount_minor=wanted, reason=f"{left} left of the charge")
        fields = {"transaction": paid["id"], "amount": wanted, "currency": charge.currency, "merchant_note": note}
        try:
            return as_refund(self._post("/refund", fields))
        except RefusedError as error:
            refunds = self._refunds(paid)
            if made := _with_note(refunds, note):
                return as_refund(made)
            left = charge.amount_minor - _total(refunds)
            if wanted <= left:
                raise
            reason = f"{left} left of the charge ({error})"
            return RefundAnswer(id="", status="refused", amount_minor=wanted, reason=reason)

    def lookup(self, payment: str, *, charge_id: str | None = None) -> Record | None:  # noqa: ARG002 - see refund
        """The transaction of our reference, and its refunds."""
        paid = self._transaction(payment)
        if paid is None:
            return None
        charge = as_charge(paid)
        refunded = _total(self._refunds(paid)) if charge.status == "succeeded" else 0
        return Record(charge=charge, refunded_minor=refunded)

    def cancel(self, payment: str, *, charge_id: str | None = None) -> Record | None:
        """Paystack cannot cancel: a transaction that the customer left alone counts as declined from now on."""
        record = self.lookup(payment, charge_id=charge_id)
        if record is None or record.charge.reason != "abandoned":
            return record
        declined = Charge(
            id=record.charge.id,
            status="declined",
            amount_minor=record.charge.amount_minor,
            currency=record.charge.currency,
            reason="abandoned",
        )
        return Record(charge=declined, refunded_minor=0)

    def _reference(self, payment: str) -> str:
        return reference_of(f"{self.prefix}{payment}")

    def _transaction(self, payment: str) -> dict[str, Any] | None:
        reference = self._reference(payment)
        answer = self._get(f"/transaction/verify/{quote(reference, safe='')}", {})
        if not_found(answer):
            return None
        found: dict[str, Any] = _data(answer)
        # References are compared by Paystack, and it is not said that it minds capitals.
        if found["reference"] != reference or not is_ours(found, f"{self.prefix}{payment}"):
            raise PermanentError(f"payment {payment}: Paystack's reference {reference} is another's; use another id")
        return found

    def _refunds(self, paid: Mapping[str, Any]) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = []
        page = 1
        while True:
            query = {"transaction": paid["id"], "perPage": _PAGE, "page": page}
            listed = _data(self._get("/refund", query))
            made += [refund for refund in listed if _transaction_of(refund) == paid["id"]]
            if len(listed) < _PAGE:
                return made
            page += 1

    def _wait_for_the_list(self, key: str, asked_s: float | None) -> None:
        remaining_s = 0.0 if asked_s is None else asked_s + self.settle_s - self.now_s()
        if remaining_s > 0:
            text = f"refund {key}: asked for without an answer; not asked again before Paystack would list it"
            raise TransientError(text, retry_after_s=remaining_s)

    def _get(self, path: str, query: Mapping[str, object]) -> http.Answer:
        url = f"{self.api_url}{path}{'?' if query else ''}{urlencode(query)}"
        return http.request("GET", url, headers=self._headers(), timeout_s=self.timeout_s)

    def _post(self, path: str, fields: Mapping[str, object], *, hide: str = "") -> dict[str, Any]:
        answer = http.request(
            "POST",
            f"{self.api_url}{path}",
            headers=self._headers() | {"Content-Type": "application/json"},
            body=json.dumps(fields),
            timeout_s=self.timeout_s,
        )
        data: dict[str, Any] = _data(answer, hide=hide)
        return data

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret_key}", "User-Agent": "workerpool"}


def reference_of(payment: str) -> str:
    """A reference takes letters, digits and `-.=`; our ids have `_` and never `=`, so the one stands for the other."""
    return payment.replace("_", "=")


def payment_of(reference: str) -> str:
    """The id that `reference_of` made a reference of."""
    return reference.replace("=", "_")


def _check(key: str, currency: str, token: str, email: str | None) -> None:
    if currency not in CURRENCIES:
        raise PermanentError(f"payment {key}: Paystack takes {', '.join(CURRENCIES)}, not {currency}")
    if not email:
        raise PermanentError(f"payment {key}: Paystack needs the customer's email")
    if not token.startswith("AUTH_"):
        raise PermanentError(f"payment {key}: the token is no authorization of Paystack's (AUTH_...)")


def _data(answer: http.Answer, *, hide: str = "") -> Any:
    body = answer.body
    if answer.status in {_OK, _CREATED} and isinstance(body, dict) and body.get("status") is True and "data" in body:
        return body["data"]
    raise error_of(answer, hide=hide)


def _with_note(refunds: list[dict[str, Any]], note: str) -> dict[str, Any] | None:
    return next((refund for refund in refunds if refund.get("merchant_note") == note), None)


def _total(refunds: list[dict[str, Any]]) -> int:
    return sum(int(refund["amount"]) for refund in refunds if counts(refund))


def _transaction_of(refund: Mapping[str, Any]) -> object:
    # An id in lists, the whole transaction in the answer to a new one.
    transaction = refund["transaction"]
    return transaction["id"] if isinstance(transaction, dict) else transaction
