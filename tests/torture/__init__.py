"""The worker under torture: real jobs through real workers while everything they stand on is killed, cut and stopped.

`make torture` runs it; nothing in here is collected by pytest. docs/torture.md says what it shows.
"""
