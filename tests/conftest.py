"""Fixtures that every test may ask for."""

from __future__ import annotations

from hypothesis import settings

# how long an example takes depends on what else the machine does; no test asserts speed
settings.register_profile("workerpool", deadline=None)
settings.load_profile("workerpool")

pytest_plugins = [
    "tests.support.redis",
    "tests.support.postgres",
    "tests.support.databases",
    "tests.support.control_plane.not_run",  # before the fixtures, which import it
    "tests.support.control_plane.plugin",
]
