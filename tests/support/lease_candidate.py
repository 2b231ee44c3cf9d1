"""A candidate for a Lease as a process of its own: ``python -m tests.support.lease_candidate KUBECONFIG NS ID FILE``.

A thread, not the event loop, asks it all the time whether it leads, and appends a line a question to the file: the
reading of CLOCK_MONOTONIC, which all processes of a machine share, and 1 or 0. So what it believes in the first moment
after a pause is on record. SIGTERM stops it gracefully.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from pathlib import Path

from workerpool_operator.kube.api import KubeApi
from workerpool_operator.kube.lease import Leadership

EVERY_S = 0.005


async def main(kubeconfig: str, namespace: str, identity: str, path: str) -> None:
    """Be a candidate until SIGTERM."""
    stop, asking = asyncio.Event(), threading.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with KubeApi(kubeconfig=kubeconfig) as api:
        leadership = Leadership(api, namespace=namespace, identity=identity)
        thread = threading.Thread(target=_ask, args=(leadership, Path(path), asking), daemon=True)
        thread.start()
        running = asyncio.create_task(leadership.run())
        await stop.wait()
        await leadership.release()
        await running
        asking.set()
        thread.join()


def _ask(leadership: Leadership, path: Path, stop: threading.Event) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    while not stop.is_set():
        at_s = time.monotonic()  # before it asks: a pause in between must not date a yes to after the pause
        leads = leadership.is_leader()
        os.write(file, f"{at_s:.6f} {leads:d}\n".encode())
        stop.wait(EVERY_S)
    os.close(file)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
