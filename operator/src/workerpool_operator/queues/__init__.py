"""One module a queue layout: how jobs lie in Redis, and how to read all pools of a broker in one round trip."""

from workerpool_operator.queues.readers import LayoutError, reader_for

__all__ = ["LayoutError", "reader_for"]
