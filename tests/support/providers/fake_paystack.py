"""Paystack with books in memory.

There is no server of Paystack's for tests. The shapes are those that its public documentation shows (paystack.com/docs
and its samples in PaystackOSS/doc-code-snippets), cut down to what is read, with made-up values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.providers.fake_web import Asked, FakeWeb, Reply

KEY = "sk_test_fake"
_DECLINED = {"AUTH_declined": "Declined", "AUTH_poor": "Insufficient Funds"}


class FakePaystack:
    """`transactions` (by reference) and `refunds` are the books; `listing` is False while the list lags behind."""

    def __init__(self) -> None:
        self.transactions: dict[str, dict[str, Any]] = {}
        self.refunds: list[dict[str, Any]] = []
        self.listing = True
        self.web = FakeWeb(self._answer)

    def succeeded(self, payment: str) -> list[dict[str, Any]]:
        transaction = self.transactions.get(payment)
        return [transaction] if transaction and transaction["status"] == "success" else []

    def confirm(self, payment: str, status: str = "success") -> None:
        """Be the customer at the bank's page."""
        self.transactions[payment]["status"] = status

    def _answer(self, asked: Asked) -> Reply:
        if asked.headers.get("Authorization") != f"Bearer {KEY}":
            return Reply(status=401, body={"status": False, "message": "Invalid key"})
        if asked.path == "/transaction/charge_authorization":
            return self._charge(asked.fields)
        if asked.path.startswith("/transaction/verify/"):
            found = self.transactions.get(asked.path.rpartition("/")[2])
            return _ok("Verification successful", found) if found else _no(404, "transaction_not_found", "not found")
        if asked.method == "POST":
            return self._refund(asked.fields)
        start, size = (int(asked.fields["page"]) - 1) * int(asked.fields["perPage"]), int(asked.fields["perPage"])
        listed = [it for it in self.refunds if str(it["transaction"]) == asked.fields["transaction"]]
        return _ok("Refunds retrieved", listed[start : start + size] if self.listing else [])

    def _charge(self, fields: Mapping[str, Any]) -> Reply:
        reference, token = fields["reference"], fields["authorization_code"]
        if token == "AUTH_nonsense":
            return _no(400, "invalid_params", f"Authorization code {token} does not exist or has been deactivated")
        if reference in self.transactions:
            return _no(400, "duplicate_reference", "Duplicate Transaction Reference")
        status = "failed" if token in _DECLINED else "abandoned" if token == "AUTH_confirm" else "success"
        transaction = {
            "id": 4_099_000_000 + len(self.transactions),
            "domain": "test",
            "status": status,
            "reference": reference,
            "amount": fields["amount"],
            "requested_amount": fields["amount"],
            "currency": fields["currency"],
            "message": None,
            "gateway_response": _DECLINED.get(token, "Approved"),
            "metadata": fields["metadata"],
        }
        self.transactions[reference] = transaction
        if status == "abandoned":
            where = "https://checkout.paystack.com/resume/0744ub5o065nwyz"
            waiting = {"authorization_url": where, "reference": reference, "access_code": "x", "paused": True}
            return _ok("Please, redirect your customer to the authorization url provided", waiting)
        # The answer to a charge says no metadata and no requested amount.
        told = {name: it for name, it in transaction.items() if name != "requested_amount"} | {"metadata": ""}
        return _ok("Charge attempted", told)

    def _refund(self, fields: Mapping[str, Any]) -> Reply:
        transaction = next(it for it in self.transactions.values() if it["id"] == fields["transaction"])
        before = sum(it["amount"] for it in self.refunds if it["transaction"] == transaction["id"])
        if fields["amount"] > transaction["amount"] - before:
            return _no(400, "invalid_params", "Refund amount cannot be more than transaction amount")
        made = {
            "id": 3_018_284 + len(self.refunds),
            "transaction": transaction["id"],
            "amount": fields["amount"],
            "currency": fields["currency"],
            "status": "pending",
            "customer_note": None,
            "merchant_note": fields["merchant_note"],
        }
        self.refunds.append(made)
        return _ok("Refund has been queued for processing", made | {"transaction": transaction})


def _ok(message: str, data: Any) -> Reply:
    return Reply(body={"status": True, "message": message, "data": data})


def _no(status: int, code: str, message: str) -> Reply:
    body = {"status": False, "message": message, "meta": {"nextStep": ""}, "type": "validation_error", "code": code}
    return Reply(status=status, body=body)
