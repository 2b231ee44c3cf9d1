"""Local mode: the same loop with processes as replicas and a Redis that is started where none is named."""
