"""``workerpool`` started without standard streams, as a daemon or a careless script does."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.local_run import SCRIPTS, pool_yaml
from workerpool_operator.local.redis_server import RedisServer

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_standard_streams(tmp_path: Path, redis_server: RedisServer, closed: str) -> None:
    (tmp_path / "pools.yaml").write_text(
        pool_yaml(
            "email",
            url=redis_server.url,
            worker="{command: [sh, -c, 'echo out; echo err >&2; exec sleep 1000']}",
            spec="minReplicas: 1",
        )
    )
    # The shell stays and hands its own standard error on, where an error of ours would show.
    script = (
        f"'{SCRIPTS / 'workerpool'}' local -f pools.yaml --log log.jsonl {closed} & pid=$!; "
        "until grep -q '\"current\": 1' log.jsonl 2>/dev/null; do kill -0 $pid || exit 9; sleep 0.1; done; "
        "kill -TERM $pid; wait $pid"
    )
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / ".workerpool" / "logs" / "email-1.log").read_text() == "out\nerr\n"
    assert all(line.startswith("{") for line in (tmp_path / "log.jsonl").read_text().splitlines())
