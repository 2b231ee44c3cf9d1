"""Stripe with books in memory: PaymentIntents, Refunds and idempotency keys as docs.stripe.com/api describes them.

What it answers is held to the shapes of Stripe's own stripe-mock by test_payment_providers_stripe_mock.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tests.support.providers.fake_web import Asked, FakeWeb, Reply

KEY = "sk_test_fake"
_SEARCH = re.compile(r"metadata\['payment_id'\]:'(.*)'")
_DECLINED = {"tok_chargeDeclined": "generic_decline", "tok_chargeDeclinedInsufficientFunds": "insufficient_funds"}
_CONFIRM = "tok_threeDSecureRequired"


class FakeStripe:
    """`intents` and `refunds` are the books; `searchable` is False while the search index lags behind."""

    def __init__(self) -> None:
        self.intents: dict[str, dict[str, Any]] = {}
        self.methods: dict[str, str] = {}
        self.refunds: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, tuple[Mapping[str, Any], Reply]] = {}
        self.searchable = True
        self.web = FakeWeb(self._answer)

    def succeeded(self, payment: str) -> list[dict[str, Any]]:
        intents = self.intents.values()
        return [it for it in intents if it["metadata"]["payment_id"] == payment and it["status"] == "succeeded"]

    def confirm(self, payment: str, status: str = "succeeded") -> None:
        """Be the customer at the bank's page."""
        for intent in self.intents.values():
            if intent["metadata"]["payment_id"] == payment and intent["status"] == "requires_action":
                _to(intent, status)

    def break_refund(self, refund_id: str) -> None:
        """A refund that the bank sends back."""
        made = self.refunds[refund_id]
        made["status"], made["failure_reason"] = "failed", "lost_or_stolen_card"
        self.intents[made["payment_intent"]]["latest_charge"]["amount_refunded"] -= made["amount"]

    def _answer(self, asked: Asked) -> Reply:
        if asked.headers.get("Authorization") != f"Bearer {KEY}":
            return _error(401, "invalid_request_error", None, "Invalid API Key provided: sk_****")
        if asked.method == "GET":
            return self._read(asked)
        key = asked.headers["Idempotency-Key"]
        if key in self.keys:
            params, reply = self.keys[key]
            if params != asked.fields:
                text = (
                    "Keys for idempotent requests can only be used with the same parameters they were first used with."
                )
                return _error(400, "idempotency_error", None, text)
            return Reply(status=reply.status, body=reply.body, headers={"Idempotent-Replayed": "true"})
        reply = self._change(asked)
        # As Stripe has it, refusals before the work began are not kept.
        if reply.status != 400:
            self.keys[key] = (asked.fields, reply)
        return reply

    def keep_failure(self, key: str) -> None:
        """What Stripe does after a 500 in the middle: the 500 is the key's answer from now on."""
        params, _ = self.keys[key]
        self.keys[key] = (params, _error(500, "api_error", None, "An unknown error occurred"))

    def _read(self, asked: Asked) -> Reply:
        if asked.path == "/v1/payment_intents/search":
            found = _SEARCH.fullmatch(asked.fields["query"])
            assert found is not None
            hits = (
                [it for it in self.intents.values() if it["metadata"]["payment_id"].lower() == found[1].lower()]
                if self.searchable
                else []
            )
            return Reply(body={"object": "search_result", "data": hits, "has_more": False, "url": asked.path})
        if asked.path == "/v1/refunds":
            made = [it for it in self.refunds.values() if it["payment_intent"] == asked.fields["payment_intent"]]
            return Reply(body={"object": "list", "data": made, "has_more": False, "url": asked.path})
        intent = self.intents.get(asked.path.rpartition("/")[2])
        if intent and asked.fields.get("expand[]") == "latest_charge":
            return Reply(body=intent)
        return (
            Reply(body=_brief(intent))
            if intent
            else _error(404, "invalid_request_error", "resource_missing", "No such")
        )

    def _change(self, asked: Asked) -> Reply:
        if asked.path == "/v1/payment_methods":
            return self._method(asked.fields)
        if asked.path == "/v1/payment_intents":
            return self._charge(asked.fields)
        if asked.path == "/v1/refunds":
            return self._refund(asked.fields)
        intent = self.intents[asked.path.split("/")[3]]
        if intent["status"] not in {"requires_action", "requires_payment_method"}:
            return _error(400, "invalid_request_error", "payment_intent_unexpected_state", "too late")
        intent["status"], intent["cancellation_reason"] = "canceled", "abandoned"
        return Reply(body=_brief(intent))

    def _method(self, fields: Mapping[str, str]) -> Reply:
        token = fields["card[token]"]
        if token == "tok_nonsense":
            return _error(400, "invalid_request_error", "resource_missing", f"No such token: '{token}'")
        made = f"pm_{len(self.methods) + 1:04d}"
        self.methods[made] = token
        return Reply(body={"id": made, "object": "payment_method", "type": "card"})

    def _charge(self, fields: Mapping[str, str]) -> Reply:
        token = self.methods.get(fields["payment_method"], "tok_visa")
        number = f"{len(self.intents) + 1:04d}"
        intent = {
            "id": f"pi_{number}",
            "object": "payment_intent",
            "amount": int(fields["amount"]),
            "currency": fields["currency"],
            "metadata": {"payment_id": fields["metadata[payment_id]"]},
            "last_payment_error": None,
            "cancellation_reason": None,
            "next_action": None,
            "latest_charge": None,
        }
        self.intents[f"pi_{number}"] = intent
        if token in _DECLINED:
            _to(intent, "requires_payment_method", _DECLINED[token])
            reply = _error(402, "card_error", "card_declined", "Your card was declined.", decline_code=_DECLINED[token])
            reply.body["error"]["payment_intent"] = _brief(intent)
            return reply
        _to(intent, "requires_action" if token == _CONFIRM else "succeeded")
        return Reply(body=_brief(intent))

    def _refund(self, fields: Mapping[str, str]) -> Reply:
        intent = self.intents[fields["payment_intent"]]
        charge = intent["latest_charge"]
        if intent["status"] != "succeeded":
            return _error(400, "invalid_request_error", None, "does not have a successful charge to refund")
        left = intent["amount"] - charge["amount_refunded"]
        amount = int(fields.get("amount", left))
        if not left:
            return _error(400, "invalid_request_error", "charge_already_refunded", "already refunded")
        if amount > left:
            return _error(400, "invalid_request_error", None, "greater than unrefunded amount on charge")
        charge["amount_refunded"] += amount
        made = {
            "id": f"re_{len(self.refunds) + 1:04d}",
            "object": "refund",
            "amount": amount,
            "currency": intent["currency"],
            "payment_intent": intent["id"],
            "metadata": {name: fields[f"metadata[{name}]"] for name in ("refund_id", "payment_id")},
            "status": "succeeded",
        }
        self.refunds[str(made["id"])] = made
        return Reply(body=made)


def _brief(intent: dict[str, Any]) -> dict[str, Any]:
    """As Stripe shows it unless asked to expand: the charge's id alone."""
    charge = intent["latest_charge"]
    return intent | {"latest_charge": charge and charge["id"]}


def _to(intent: dict[str, Any], status: str, decline_code: str | None = None) -> None:
    intent["status"] = status
    if status == "succeeded":
        intent["latest_charge"] = {"id": f"ch_{intent['id'][3:]}", "object": "charge", "amount_refunded": 0}
    elif status == "requires_payment_method":
        intent["last_payment_error"] = {"type": "card_error", "code": "card_declined", "message": "declined"}
        intent["last_payment_error"]["decline_code"] = decline_code or "authentication_failure"


def _error(status: int, kind: str, code: str | None, message: str, **more: str) -> Reply:
    error: dict[str, Any] = {"type": kind, "message": message} | more
    if code is not None:
        error["code"] = code
    return Reply(status=status, body={"error": error}, headers={"Request-Id": "req_fake"})
