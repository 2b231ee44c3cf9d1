"""Sinks: the same record of a cycle as a log line, a live terminal view, a page. Nothing here feeds back."""
