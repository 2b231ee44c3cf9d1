from __future__ import annotations

import os
from pathlib import Path

import pytest

from workerpool_worker.jobs.email.render import render
from workerpool_worker.models import PaymentReceiptEmail, ShippingNotificationEmail, WelcomeEmail
from workerpool_worker.runtime.errors import InvalidJobError

pytestmark = pytest.mark.unit

RECEIPT = PaymentReceiptEmail(id="p1", to="a@b.c", customer="<b>", amount_minor=99, currency="EUR").arguments()


def test_html_is_escaped_and_text_is_not() -> None:
    content = render("payment_receipt", RECEIPT)
    assert content.subject.strip() == "Receipt for payment p1"
    assert content.html is not None
    assert "&lt;b&gt;" in content.html
    assert "<b>" in content.text


@pytest.mark.parametrize(
    ("template", "values"),
    [
        ("welcome", WelcomeEmail(id="c", to="a@b.c", customer="Ada").arguments()),
        (
            "shipping_notification",
            ShippingNotificationEmail(id="o", to="a@b.c", customer="A", carrier="P", tracking_code="T").arguments(),
        ),
        (
            "order_confirmation",
            {"id": "o", "customer": "A", "currency": "EUR", "net_minor": 1, "vat_minor": 0, "total_minor": 1}
            | {"invoice_number": "I", "lines": [{"quantity": 1, "sku": "tea", "description": "", "net_minor": 1}]},
        ),
    ],
)
def test_the_built_in_templates_are_whole(template: str, values: dict[str, object]) -> None:
    content = render(template, values)
    assert content.subject.strip()
    assert content.text.strip()
    assert content.html


def test_a_shop_replaces_what_it_brings_and_keeps_the_rest(tmp_path: Path) -> None:
    (tmp_path / "payment_receipt.txt.j2").write_text("Danke {{ customer }}: {{ amount_minor | money(currency) }}")
    content = render("payment_receipt", RECEIPT, tmp_path)
    assert content.text == "Danke <b>: 0.99 EUR"
    assert content.html is not None
    assert "Thank you" in content.html


def test_a_changed_template_is_used_at_once(tmp_path: Path) -> None:
    path = tmp_path / "payment_receipt.subject.j2"
    path.write_text("one")
    assert render("payment_receipt", RECEIPT, tmp_path).subject == "one"
    path.write_text("two")
    os.utime(path, (1, 1))
    assert render("payment_receipt", RECEIPT, tmp_path).subject == "two"


def test_a_template_of_the_shops_own_may_be_text_only(tmp_path: Path) -> None:
    (tmp_path / "back_in_stock.subject.j2").write_text("{{ article }} is back")
    (tmp_path / "back_in_stock.txt.j2").write_text("Come and get it.\n")
    content = render("back_in_stock", {"article": "Tea"}, tmp_path)
    assert (content.subject, content.text, content.html) == ("Tea is back", "Come and get it.\n", None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{ nobody }}", "'nobody' is undefined"),
        ("{% if %}", "TemplateSyntaxError"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{{ values.append(1) }}", "SecurityError"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ range(10 ** 9) | list }}", "OverflowError"),
        ("{% include 'missing.j2' %}", "missing.j2"),
        ("{% include '../secret.txt' %}", "secret.txt"),
    ],
)
def test_a_template_that_cannot_be_filled_in_is_refused_for_good(tmp_path: Path, text: str, says: str) -> None:
    folder = tmp_path / "templates"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "t.subject.j2").write_text("s")
    (folder / "t.txt.j2").write_text("t")
    (folder / "t.html.j2").write_text(text)
    with pytest.raises(InvalidJobError, match="template t: ") as refused:
        render("t", {"values": [1]}, folder)
    assert says in str(refused.value)


def test_a_missing_template_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(InvalidJobError, match="EMAIL_TEMPLATE_DIR is not set"):
        render("nothing", {})
    with pytest.raises(InvalidJobError, match="there is no nothing"):
        render("nothing", {}, tmp_path)
