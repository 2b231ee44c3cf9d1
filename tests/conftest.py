"""Fixtures that every test may ask for."""

from __future__ import annotations

pytest_plugins = [
    "tests.support.redis",
    "tests.support.postgres",
    "tests.support.control_plane.not_run",  # before the fixtures, which import it
    "tests.support.control_plane.plugin",
]
