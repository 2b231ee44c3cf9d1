"""SIGTERM and SIGINT, from the first moment on: a process that is asked to stop while it starts stops in order too."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine, Iterator

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
TAKE_BACK_S = 0.01


@contextlib.contextmanager
def listening(asked: asyncio.Event) -> Iterator[None]:
    """Set ``asked`` at either signal."""
    _listen(asked)
    try:
        yield
    finally:
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


async def take_back(asked: asyncio.Event, ready: asyncio.Event) -> None:
    """Kopf takes the signals at some moment of its start: take them back until it is ``ready``, and once more then.

    One that arrives in between ends Kopf, some seconds later and then everything.
    """
    while not ready.is_set():
        _listen(asked)
        await asyncio.sleep(TAKE_BACK_S)
    _listen(asked)


async def unless_asked(asked: asyncio.Event, doing: Coroutine[None, None, None]) -> bool:
    """Do something that may take long; False when the process was asked to stop before it was done."""
    task, stop = asyncio.create_task(doing), asyncio.create_task(asked.wait())
    await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if task.done():
        task.result()
        return True
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return False


def _listen(asked: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, asked.set)
