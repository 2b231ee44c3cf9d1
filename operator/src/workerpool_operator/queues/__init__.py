"""How jobs lie in Redis, one module a layout: all pools of a broker read in one round trip, and their workers told."""

from workerpool_operator.queues.readers import LayoutError, control_for, reader_for

__all__ = ["LayoutError", "control_for", "reader_for"]
