"""The invoice as a PDF: the same order gives the same bytes."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

from fpdf import FPDF
from fpdf.enums import XPos, YPos

from workerpool_worker.models import Order, money

SHOP = ("WorkerPool Shop", "1 Queue Street, 20121 Milano, Italy", "VAT IT00000000000")
_WIDTHS = (80, 20, 40, 40)


def render_invoice(order: Order, *, number: str, issued_at_s: float) -> bytes:
    """The PDF's bytes."""
    issued = datetime.fromtimestamp(issued_at_s, UTC)
    pdf = FPDF(format="A4")
    # Without it the file holds the time of writing and a repeat would differ.
    pdf.set_creation_date(issued)
    pdf.set_title(f"Invoice {number}")
    pdf.set_margin(20)
    pdf.add_page()
    _head(pdf, order, number, issued)
    _lines(pdf, order)
    _totals(pdf, order)
    return bytes(pdf.output())


def _head(pdf: FPDF, order: Order, number: str, issued: datetime) -> None:
    pdf.set_font("Helvetica", "B", 16)
    _cell_line(pdf, 0, 9, SHOP[0])
    pdf.set_font("Helvetica", size=10)
    for line in SHOP[1:]:
        _cell_line(pdf, 0, 5, line)
    pdf.ln(10)
    pdf.set_font("Helvetica", "B", 13)
    _cell_line(pdf, 0, 8, f"Invoice {number}")
    pdf.set_font("Helvetica", size=10)
    for label, value in (
        ("Date", f"{issued:%d %B %Y}"),
        ("Order", order.id),
        ("Customer", order.customer),
        ("Email", order.email),
    ):
        pdf.cell(30, 6, label)
        _cell_line(pdf, 0, 6, _printable(value))
    pdf.ln(8)


def _cell_line(pdf: FPDF, width: float, height: float, text: str, align: str = "L") -> None:
    pdf.cell(width, height, text, align=align, new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _lines(pdf: FPDF, order: Order) -> None:
    pdf.set_font("Helvetica", "B", 10)
    for width, title, align in zip(_WIDTHS, ("Article", "Qty", "Unit price", "Net"), "LRRR", strict=True):
        pdf.cell(width, 7, title, border="B", align=align)
    pdf.ln(8)
    pdf.set_font("Helvetica", size=10)
    for line in order.lines:
        texts = (
            _printable(f"{line.sku}  {line.description}".strip())[:48],
            str(line.quantity),
            money(line.unit_price_minor, order.currency),
            money(line.net_minor, order.currency),
        )
        for width, text, align in zip(_WIDTHS, texts, "LRRR", strict=True):
            pdf.cell(width, 6, text, align=align)
        pdf.ln(6)


def _totals(pdf: FPDF, order: Order) -> None:
    pdf.ln(3)
    percent = f"{order.vat_basis_points // 100}.{order.vat_basis_points % 100:02d}"
    for label, amount, style in (
        ("Net", order.net_minor, ""),
        (f"VAT {percent} %", order.vat_minor, ""),
        ("Total", order.total_minor, "B"),
    ):
        pdf.set_font("Helvetica", style, 10)
        pdf.cell(sum(_WIDTHS[:3]), 6, label, align="R")
        _cell_line(pdf, _WIDTHS[3], 6, money(amount, order.currency), align="R")


def _printable(text: str) -> str:
    # The PDF's built-in fonts know Latin-1 only; an accent it lacks is dropped, any other letter becomes "?".
    try:
        return text.encode("latin-1").decode("latin-1")
    except UnicodeEncodeError:
        plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
        return plain.encode("latin-1", "replace").decode("latin-1")
