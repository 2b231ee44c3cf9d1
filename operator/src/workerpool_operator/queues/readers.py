"""Which reader reads which layout, and which control speaks to its workers."""

from __future__ import annotations

from workerpool_operator.ports import QueueReader, WorkerControl
from workerpool_operator.queues.celery import CeleryControl, CeleryReader

_PLANNED = ("BullMQ", "RQ", "List")


class LayoutError(ValueError):
    """No reader is built for a layout; the text names the field."""


def reader_for(
    layout: str,
    url: str,
    *,
    ca_pem: str | None = None,
    connect_timeout_s: float = 1.0,
    read_timeout_s: float = 2.0,
) -> QueueReader:
    """Make the reader of one broker.

    Args:
        layout: ``spec.broker.layout``.
        url: The broker's URL; one that cannot be used is reported by the readings, not here.
        ca_pem: Certificates to trust instead of the system's, for ``rediss://``.
        connect_timeout_s: Bound for connecting, and once more for the TLS handshake.
        read_timeout_s: Bound for one round trip.

    Raises:
        LayoutError: The layout is unknown, or not built yet.
    """
    if layout == "Celery":
        return CeleryReader(url, ca_pem=ca_pem, connect_timeout_s=connect_timeout_s, read_timeout_s=read_timeout_s)
    state = "is not supported yet" if layout in _PLANNED else "is no layout"
    raise LayoutError(f"broker.layout: {layout} {state}; use Celery")


def control_for(
    layout: str,
    url: str,
    *,
    ca_pem: str | None = None,
    connect_timeout_s: float = 1.0,
    read_timeout_s: float = 2.0,
) -> WorkerControl | None:
    """Make what speaks to the workers of one broker; None for a layout whose workers cannot be spoken to.

    Args: as of :func:`reader_for`.
    """
    if layout != "Celery":
        return None
    return CeleryControl(url, ca_pem=ca_pem, connect_timeout_s=connect_timeout_s, read_timeout_s=read_timeout_s)
