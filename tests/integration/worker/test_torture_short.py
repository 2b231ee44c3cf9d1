"""A few hundred jobs of all kinds while everything is killed, cut and stopped. `make torture` does it for longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.short import short_run

pytestmark = [pytest.mark.integration, pytest.mark.timeout(420)]

SEED = 20
ITEMS = 100  # an order is four jobs, so this is about 300


def test_everything_happens_once_whatever_is_killed_meanwhile(tmp_path: Path) -> None:
    checks, text = short_run(tmp_path, seed=SEED, items=ITEMS)
    assert [check.name for check in checks if not check.right] == [], text
