"""What a demo may empty, and what it says when it cannot write."""

from __future__ import annotations

from pathlib import Path

import pytest

from workerpool_operator.demo.folder import DemoError, prepare
from workerpool_operator.demo.run import _stock_shelves
from workerpool_operator.local.folder_lock import locked

pytestmark = pytest.mark.unit


def test_a_demo_that_runs_keeps_its_folder(tmp_path: Path) -> None:
    prepare(tmp_path)
    data = tmp_path / "state" / "redis"
    data.mkdir(parents=True)
    with locked(data), pytest.raises(DemoError, match="a demo still runs there"):
        prepare(tmp_path)
    assert data.is_dir()
    prepare(tmp_path)
    assert not data.exists()


def test_a_database_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "shop.db").mkdir()
    with pytest.raises(DemoError, match=r"cannot write sqlite:.*shop\.db: unable to open") as caught:
        _stock_shelves(f"sqlite:///{tmp_path / 'shop.db'}")
    assert "\n" not in str(caught.value)
